"""What an operator can set: one frozen model, read from a TOML file, then the environment.

Only `bootstrap` and `cli` read it and hand plain values on. Unknown keys are refused, so that a
typing error is not silently the default. The `edge-agent` part of `docs/SETTINGS.md` is
`reference()`, kept by a test.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from protocols.errors import Rejected

ENV_PREFIX = "PACKLINE_EDGE_"

Port = Annotated[int, Meta(ge=0, le=65_535)]
Identity = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,48}$(?!\n)")]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}$(?!\n)")]


class PrinterSetting(Struct, frozen=True, forbid_unknown_fields=True):
    """`[[printers]]`: one printer: `host` (network) or `device` (`/dev/usb/lp0`, `usb:1-1.2`).

    A `device` with `baud` is a serial port. `templates`: papers beside the ones of the same stock.
    `spare`: the printer that takes its labels while this one cannot print.
    """

    name: Name
    host: str = ""
    port: Port = 0
    device: Annotated[str, Meta(max_length=200)] = ""
    baud: Annotated[int, Meta(ge=0, le=921_600)] = 0
    profile: str = "tspl-203"
    template: str = "waybill-100x150"
    templates: tuple[str, ...] = ()
    spare: str = ""


class ScannerSetting(Struct, frozen=True, forbid_unknown_fields=True):
    """`[[scanners]]`: one scanner at a port (`path`), by path and never by name.

    `station` "" is bound later; `baud`, `suffix`, `prefix` unset are those of the `profile`.
    """

    source: Name
    path: Annotated[str, Meta(min_length=1, max_length=200)]
    station: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{0,32}$(?!\n)")] = ""
    kind: Literal["serial", "hid"] = "serial"
    profile: str = ""
    baud: Annotated[int, Meta(ge=0, le=921_600)] = 0
    suffix: Literal[
        "", "any", "CR", "LF", "CRLF", "ETX", "ENTER", "KP_ENTER", "TAB", "DOWN", "NONE"
    ] = ""
    prefix: Annotated[str, Meta(max_length=8)] = ""

    @property
    def changes(self) -> dict[str, Any]:
        """What is set here instead of what the profile says."""
        chosen = {"baud": self.baud, "suffix": self.suffix, "prefix": self.prefix}
        return {key: value for key, value in chosen.items() if value}


class StationSetting(Struct, frozen=True, forbid_unknown_fields=True):
    """`[[stations]]`: one bench; `printer` "" = the first printer."""

    id: Name
    printer: str = ""


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Every setting of `edge-agent`; the string under a field is its line in the reference."""

    site: Identity
    """仓库标识，与云端一致。The warehouse as it stands in topics."""
    agent: Identity
    """本机标识，与云端一致。This agent, as the core knows it."""
    warehouse_name: Annotated[str, Meta(max_length=60)] = ""
    """面单上的仓库名称；云端下发的优先。Name on labels; the core's own wins."""
    data_dir: str = "var/edge"
    """数据目录：日志数据库。Folder of the journal."""
    mqtt_host: str = "127.0.0.1"
    """MQTT 代理地址。Broker address."""
    mqtt_port: Port = 1883
    """MQTT 代理端口。Broker port."""
    mqtt_username: str = ""
    """连接代理的用户名；空 = 本机标识。User name at the broker; empty = the agent's id."""
    mqtt_password_file: str = ""
    """存放代理密码的文件（0600）；空 = 不用密码。File with the broker password."""
    mqtt_tls_ca_file: str = ""
    """代理证书的 CA 文件；空 = 不加密。CA of the broker's certificate; empty = no TLS."""
    mqtt_tls_cert_file: str = ""
    """本机证书（双向 TLS）。Our certificate for mutual TLS."""
    mqtt_tls_key_file: str = ""
    """本机私钥（双向 TLS）。Our private key for mutual TLS."""
    mqtt_version: Literal["3.1.1", "5"] = "3.1.1"
    """MQTT 协议版本。MQTT version."""
    mqtt_keepalive_s: Annotated[int, Meta(ge=5, le=120)] = 15
    """MQTT 保活间隔（秒）。Keep-alive interval."""
    page_enabled: bool = True
    """是否提供本机状态页。Serve the local status page."""
    page_host: str = "127.0.0.1"
    """状态页监听地址。Address the status page listens on."""
    page_port: Port = 8090
    """状态页端口；0 = 任意空闲端口。Port of the status page; 0 = any free one."""
    page_names: tuple[str, ...] = ("127.0.0.1", "localhost")
    """浏览器可用的主机名，防 DNS 重绑定。Host names a browser may use (DNS rebinding)."""
    pda_enabled: bool = False
    """是否提供 PDA 页面（另一个端口，手持终端用）。Serve the page for handhelds."""
    pda_host: str = "0.0.0.0"  # noqa: S104  an aisle's device is never on this machine
    """PDA 页面监听地址。Address the handhelds' page listens on."""
    pda_port: Port = 8091
    """PDA 页面端口。Port of the handhelds' page."""
    pda_names: tuple[str, ...] = ()
    """PDA 访问本机用的主机名或 IP；第一个进二维码。Names handhelds use; the QR has the first."""
    pda_tls_cert_file: str = ""
    """PDA 页面的证书；空 = 不加密。Certificate of the handhelds' page; empty = no TLS."""
    pda_tls_key_file: str = ""
    """PDA 页面的私钥。Its private key."""
    pda_devices_max: Annotated[int, Meta(ge=1, le=64)] = 16
    """最多配对多少台 PDA。Handhelds that may be paired."""
    pda_connections_per_device: Annotated[int, Meta(ge=2, le=64)] = 8
    """一个地址最多同时多少个 PDA 连接（共 64 个）。Connections of one address, of 64 in all."""
    pda_idle_minutes: Annotated[int, Meta(ge=1, le=240)] = 30
    """PDA 多少分钟没有操作要重新输 PIN。Minutes without a scan before the PIN is asked again."""
    pda_shift_hours: Annotated[int, Meta(ge=1, le=24)] = 12
    """一次 PIN 最多用多少小时（一班）。Hours a PIN is good for."""
    print_ttl_s: Annotated[int, Meta(ge=10, le=86_400)] = 600
    """面单排队超过多少秒就不再自动打印。Seconds after which a queued label needs a person."""
    repeat_ms: Annotated[int, Meta(ge=0, le=5_000)] = 1_500
    """同一工位同一条码多少毫秒内算一次扫码。The same code at a station within it is one scan."""
    scanner_adopt: bool = True
    """未登记的扫描枪可在状态页收编或扫工位卡绑定。Unlisted scanners may be adopted or bound."""
    retain_days: Annotated[int, Meta(ge=1, le=90)] = 7
    """已确认事件保留天数，供云端恢复后重放。Days acknowledged rows are kept for replay."""
    retain_bytes: Annotated[int, Meta(ge=1_000_000, le=64_000_000_000)] = 1_000_000_000
    """已确认事件保留上限（字节）。Bytes of rows kept for replay."""
    quota_bytes: Annotated[int, Meta(ge=1_000_000, le=256_000_000_000)] = 4_000_000_000
    """日志文件上限（字节）；到 95% 停止接收扫描。At 95 % scans are refused."""
    reserve_bytes: Annotated[int, Meta(ge=0, le=4_000_000_000)] = 32_000_000
    """磁盘剩余低于此值（字节）就停止接收扫描，留作补记。Free disk below it: scans are refused."""
    telemetry_rows_max: Annotated[int, Meta(ge=1_000, le=5_000_000)] = 100_000
    """遥测行数上限，超出丢弃最旧的并计数。Oldest telemetry is dropped above it, counted."""
    personal_hours: Annotated[int, Meta(ge=1, le=720)] = 24
    """交接或取消后多少小时清除面单内容；云端下发的优先。Hours label fields are kept."""
    zone_minutes: Annotated[int, Meta(ge=-720, le=840)] = 480
    """本地时间比 UTC 早多少分钟。Local time east of UTC."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """日志级别。Lowest level that is logged."""
    stations: tuple[StationSetting, ...] = ()
    """工位：`id`、`printer`。Benches."""
    printers: tuple[PrinterSetting, ...] = ()
    """打印机：`name`、`host`、`port`、`device`、`baud`、`profile`、`template`、`templates`、`spare`。"""
    scanners: tuple[ScannerSetting, ...] = ()
    """`source`、`path`、`station`、`kind`、`profile`、`baud`、`suffix`、`prefix`。Scanners."""

    @property
    def data_path(self) -> Path:
        """The data folder as a path."""
        return Path(self.data_dir)


def load(file: Path | None, environment: Mapping[str, str]) -> Settings:
    """Read `file` (TOML, may be None), let `PACKLINE_EDGE_*` override, check everything.

    Raises `Rejected` `settings_unreadable` or `settings_invalid` naming the key.
    """
    values: dict[str, Any] = _read(file) if file else {}
    hints = _plain_types()
    for name, text in environment.items():
        if name.startswith(ENV_PREFIX):
            key = name.removeprefix(ENV_PREFIX).lower()
            values[key] = _from_text(text, hints.get(key, str))
    return check(values)


def check(values: Mapping[str, Any]) -> Settings:
    """Values by key -> settings; raises `Rejected("settings_invalid")` naming the key."""
    unknown = sorted(set(values) - set(Settings.__struct_fields__))
    if unknown:
        raise _invalid(unknown[0], f"未知的设置项 {unknown[0]}", f"unknown setting {unknown[0]}")
    try:
        settings = msgspec.convert(dict(values), Settings)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$.")
        raise _refused(text, path.rstrip("`")) from error
    _check_names(settings)
    return settings


def reference() -> str:
    """This program's part of `docs/SETTINGS.md`: every key, default, environment name, meaning."""
    lines = [
        "## edge-agent",
        "",
        "Printed by `edge-agent settings`; a test keeps this part and the program in step.",
        f"A TOML file (`--config`), then the environment (`{ENV_PREFIX}` + the key in capitals),",
        "which wins. Unknown keys are refused. Secrets are never settings: they stand in files.",
        "",
        "| key | default | environment | meaning |",
        "|---|---|---|---|",
    ]
    notes = _field_notes()
    defaults = Settings(site="", agent="")
    for name in Settings.__struct_fields__:
        default = msgspec.json.encode(getattr(defaults, name)).decode()
        shown = "required" if name in ("site", "agent") else default
        env = f"`{ENV_PREFIX}{name.upper()}`" if default[:1] != "[" else ""
        lines.append(f"| `{name}` | `{shown}` | {env} | {notes[name]} |")
    return "\n".join(lines) + "\n"


def _check_names(settings: Settings) -> None:
    """Names are used once, and what refers to a name finds it."""
    printers = [printer.name for printer in settings.printers]
    stations = [station.id for station in settings.stations]
    sources = [scanner.source for scanner in settings.scanners]
    for field, names in (("printers", printers), ("stations", stations), ("scanners", sources)):
        if len(set(names)) != len(names):
            raise _invalid(field, f"{field} 里有重复的名称", f"a name stands twice in {field}")
    for printer in settings.printers:
        if bool(printer.host) == bool(printer.device):
            raise _invalid(
                "printers",
                f"打印机 {printer.name} 要写 host 或 device 之一",
                f"printer {printer.name} needs either host or device",
            )
        if printer.spare and printer.spare not in set(printers) - {printer.name}:
            raise _invalid("printers", f"打印机 {printer.name} 的备用机不存在", "unknown spare")
    for station in settings.stations:
        if station.printer and station.printer not in printers:
            raise _invalid("stations", f"工位 {station.id} 的打印机不存在", "unknown printer")
    _check_scanners(settings, stations)
    if settings.pda_enabled and not (settings.page_enabled and settings.pda_names):
        zh = "开启 PDA 页面要写 pda_names (PDA 用的本机地址), 并保持 page_enabled"
        raise _invalid("pda_names", zh, "pda_enabled needs pda_names and page_enabled")
    if bool(settings.pda_tls_cert_file) != bool(settings.pda_tls_key_file):
        raise _invalid("pda_tls_key_file", "证书和私钥要一起设置", "set both or neither")


_MOVING = (
    "/dev/input/event",
    "/dev/input/by-id/",
    "/dev/serial/by-id/",
    "/dev/ttyUSB",
    "/dev/ttyACM",
)
"""Names that move on re-plug, or that two scanners of one model share."""


def _check_scanners(settings: Settings, stations: list[str]) -> None:
    for scanner in settings.scanners:
        if scanner.station and scanner.station not in stations:
            raise _invalid("scanners", f"扫描枪 {scanner.source} 的工位不存在", "unknown station")
        if scanner.path.startswith(_MOVING):
            zh = f"扫描枪 {scanner.source} 的 path 会随插拔变化, 请用 /dev/…/by-path/… 下的路径"
            raise _invalid("scanners", zh, "use the by-path link of the port")
        if scanner.baud and scanner.baud < 300:
            raise _invalid("scanners", f"扫描枪 {scanner.source} 的波特率超限", "baud below 300")
    paths = [scanner.path for scanner in settings.scanners]
    if len(set(paths)) != len(paths):
        raise _invalid("scanners", "两个扫描枪写了同一个 path", "a path stands twice in scanners")


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Rejected(
            "settings_unreadable",
            f"无法读取设置文件 {file}：{error}",
            f"cannot read the settings file {file}: {error}",
            field="config",
        ) from error


def _from_text(text: str, kind: type) -> Any:
    if kind is bool:
        return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
    if kind is int:
        return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else text
    return text


def _plain_types() -> dict[str, type]:
    plain: dict[str, type] = {}
    for name, hint in get_type_hints(Settings, include_extras=True).items():
        inner = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        plain[name] = inner if inner in (int, bool, str) else str
    return plain


def _field_notes() -> dict[str, str]:
    """The string that stands under each field, taken from this module's own text."""
    text = Path(__file__).read_text(encoding="utf-8")
    module = text.split("class Settings(", 1)[1].split("    @property", 1)[0]
    notes: dict[str, str] = {}
    name = ""
    for line in module.splitlines():
        if line.startswith("    ") and line[4:5].isalpha() and ":" in line:
            name = line.strip().split(":", 1)[0]
        elif line.startswith('    """') and name:
            notes[name] = line.strip().strip('"')
            name = ""
    return notes


def _refused(text: str, path: str) -> Rejected:
    """What msgspec says of the value at `path` ("" = the whole file), in words of ours."""
    if not text.startswith("Object missing required field"):
        return _invalid(path, f"设置项 {path} 的值不合要求：{text}", f"bad value of {path}")
    name = text.split("`")[1] if text.count("`") >= 2 else "?"
    if path:
        return _invalid(path, f"{path} 缺少 {name}", f"{name} is missing in {path}")
    return _invalid(
        name, f"缺少设置项 {name}；用 --config 给出设置文件", "missing; give --config FILE"
    )


def _invalid(field: str, zh: str, en: str) -> Rejected:
    return Rejected("settings_invalid", zh, en, field=field)
