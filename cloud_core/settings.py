"""What an operator can set: one frozen model, read from a TOML file, then the environment.

Only `bootstrap` and `cli` read it and hand plain values on. Unknown keys are refused, so that a
typing error is not silently the default. `docs/SETTINGS.md` is `reference()`, kept by a test.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from protocols import limits
from protocols.errors import Rejected

ENV_PREFIX = "PACKLINE_CORE_"
CONFIG_VARIABLE = "PACKLINE_CORE_CONFIG"
"""Names the TOML file when `--config` does not."""

Port = Annotated[int, Meta(ge=0, le=65_535)]
Seconds = Annotated[int, Meta(ge=1, le=86_400)]
PerMinute = Annotated[int, Meta(ge=1, le=1_000_000)]


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Every setting of `cloud-core`; the string under a field is its line in the reference."""

    data_dir: str = "var/core"
    """数据目录：数据库、主密钥、锁文件。Folder of the database, the master key and the lock."""
    database_url: str = ""
    """数据库地址；空 = 数据目录里的 SQLite。Database; empty = SQLite in `data_dir`."""
    master_key_file: str = ""
    """主密钥文件（0600）；空 = 数据目录/master.key。Seals contacts and channel secrets."""
    http_host: str = "127.0.0.1"
    """网页与接口监听地址。Address the HTTP server listens on."""
    http_port: Port = 8080
    """网页与接口端口；0 = 任意空闲端口。HTTP port; 0 = any free one."""
    public_url: Annotated[str, Meta(pattern=r"^https?://[^\s]+[^/]$")] = "http://127.0.0.1:8080"
    """买家看到的网址前缀，用于物流查询链接。Prefix of tracking links, without a slash."""
    trusted_proxies: str = ""
    """可信反向代理地址，逗号分隔；只信它们的 X-Forwarded-For。Proxies whose header counts."""
    mqtt_enabled: bool = True
    """是否连接 MQTT 代理；false 时只有网页和接口。Connect to the broker at all."""
    mqtt_host: str = "127.0.0.1"
    """MQTT 代理地址。Broker address."""
    mqtt_port: Port = 1883
    """MQTT 代理端口。Broker port."""
    core_processes: Annotated[int, Meta(ge=1, le=16)] = 1
    """同一 PostgreSQL 上的核心进程数。Processes on one PostgreSQL: broker users core, core-1…"""
    mqtt_username: str = "core"
    """连接代理的用户名。User name at the broker."""
    mqtt_password_file: str = ""
    """存放代理密码的文件；空 = 数据目录/mqtt.password（有则用）。File with the broker password."""
    mqtt_tls_ca_file: str = ""
    """代理证书的 CA 文件；空 = 不加密。CA of the broker's certificate; empty = no TLS."""
    mqtt_tls_cert_file: str = ""
    """本端证书（双向 TLS）。Our certificate for mutual TLS."""
    mqtt_tls_key_file: str = ""
    """本端私钥（双向 TLS）。Our private key for mutual TLS."""
    mqtt_keepalive_s: Annotated[int, Meta(ge=5, le=300)] = 15
    """MQTT 保活间隔（秒）。Keep-alive interval."""
    order_id_prefix: Annotated[str, Meta(pattern=r"^[A-Z]{1,4}$")] = "DB"
    """全局订单号前缀。Prefix of global order ids."""
    offer_ttl_s: Annotated[int, Meta(ge=5, le=900)] = 120
    """派单等待接单的时限（秒）。How long a warehouse has to accept an offer."""
    ship_within_h: Annotated[int, Meta(ge=1, le=720)] = 24
    """付款后多少小时内发货。Hours from payment to the promised dispatch."""
    parked_alarm_min: Annotated[int, Meta(ge=1, le=43_200)] = 120
    """已付款订单待分仓超过多少分钟告警。Minutes a paid shipment may wait before an alarm."""
    hold_ttl_s: Annotated[int, Meta(ge=10, le=86_400)] = 900
    """未付款预占的默认时限（秒）。How long an unpaid checkout hold lasts unless it says so."""
    hold_ttl_max_s: Annotated[int, Meta(ge=10, le=86_400)] = 3_600
    """预占可要求的最长时限（秒）。Longest time a checkout hold may ask for."""
    hold_orphan_h: Annotated[int, Meta(ge=1, le=720)] = 24
    """已确认的预占多少小时没有订单就告警。Hours a paid hold waits for its order before an alarm."""
    answer_hours: Annotated[int, Meta(ge=1, le=720)] = 48
    """幂等键对应的答复保留小时数。Hours the answer to an `Idempotency-Key` is remembered."""
    change_confirm_s: Seconds = 600
    """工位确认取消、改地址的时限（秒），超时进主管清单。Time a bench has to confirm a change."""
    escalate_s: Seconds = 900
    """在主管清单上多少秒仍未处理就发通知。What stays on the supervisors' list longer is told."""
    return_inspect_s: Annotated[int, Meta(ge=60, le=2_592_000)] = 14_400
    """退货签收后多少秒内完成质检。From the scan that accepts a return to the end of inspection."""
    return_days: Annotated[int, Meta(ge=1, le=365)] = 15
    """交接发运后多少天内可直接退货，之后须主管批准。Days in which goods may simply come back."""
    outside_file: str = ""
    """外部审核系统文件（TOML，0600）；空 = 没有。Systems that rules may ask, with their secrets."""
    outside_timeout_s: Annotated[int, Meta(ge=1, le=60)] = 5
    """询问外部系统的单次超时（秒）。Time limit of one call to such a system."""
    breaker_late_in_a_row: Annotated[int, Meta(ge=1, le=50)] = 3
    """连续超时多少单后熔断。Late shipments in a row that open a warehouse's breaker."""
    breaker_open_s: Seconds = 7_200
    """首次熔断时长（秒）。How long the first opening lasts."""
    breaker_growth_percent: Annotated[int, Meta(ge=100, le=1_000)] = 150
    """重复熔断时长的增长（%）。Each further opening lasts this much of the one before."""
    breaker_open_max_s: Annotated[int, Meta(ge=1, le=604_800)] = 86_400
    """熔断时长上限（秒）。Longest opening."""
    breaker_calm_h: Annotated[int, Meta(ge=1, le=720)] = 24
    """正常多少小时后重新按首次计。Hours closed after which an opening counts as the first again."""
    breaker_trials: Annotated[int, Meta(ge=1, le=50)] = 3
    """半开时的试单数。Trial shipments of a half-open breaker."""
    breaker_trial_s: Seconds = 7_200
    """试单的时限（秒）。Time from a trial's offer to its own deadline."""
    breaker_trial_wait_s: Seconds = 7_200
    """试单无消息时名额保留时间（秒）。How long a silent trial keeps its place after that."""
    breaker_grace_s: Annotated[int, Meta(ge=0, le=86_400)] = 1_800
    """授权后至少多少秒才算超时。Least time a bench gets from its grant before it is late."""
    breaker_behind_max_s: Seconds = 600
    """上报积压超过多少秒就不派新单。A warehouse whose oldest unsent event is older gets no work."""
    breaker_judge_s: Annotated[int, Meta(ge=1, le=600)] = 10
    """判断熔断的间隔（秒）。Seconds between two looks at all breakers."""
    personal_hours: Annotated[int, Meta(ge=1, le=720)] = 24
    """发货或取消后多少小时清除收件人明文。Hours until clear contact fields are purged."""
    phone_search_days: Annotated[int, Meta(ge=0, le=1_095)] = 180
    """清除后还可按手机号查单的天数。Days a phone (keyed hash) still finds orders after that."""
    raw_hours: Annotated[int, Meta(ge=1, le=720)] = 72
    """店铺原始消息（加密）处理后保留小时数。Hours a processed shop message is kept, sealed."""
    raw_kept_max: Annotated[int, Meta(ge=0, le=10_000_000)] = 100_000
    """只有最新这么多条原始消息保留内容。Only the newest this many messages keep their bytes."""
    quarantine_days: Annotated[int, Meta(ge=1, le=365)] = 30
    """隔离区内容保留天数；事由一直保留。Days quarantined bytes are kept; what and why stay."""
    quarantine_kept_max: Annotated[int, Meta(ge=0, le=1_000_000)] = 10_000
    """最多保留最新多少条隔离内容。Only the newest this many quarantined rows keep their bytes."""
    sweep_s: Seconds = 1
    """检查派单期限的间隔（秒）。Seconds between two looks at the deadlines of offers."""
    sweep_parked_s: Seconds = 30
    """重试待分配订单的间隔（秒）；有新库存时立即重试。Seconds between two tries of what waits."""
    sweep_purge_s: Seconds = 60
    """清除到期个人信息与原文的间隔（秒）。Seconds between two purges of what has had its time."""
    sweep_rows: Annotated[int, Meta(ge=10, le=limits.FENCES_MAX)] = 200
    """每次检查每类最多处理多少行，未完则接着做。Rows of each kind a look takes; more follow."""
    track_days: Annotated[int, Meta(ge=1, le=730)] = 90
    """物流查询链接有效天数。Days a tracking link stays valid."""
    event_body_max_bytes: Annotated[int, Meta(ge=1_000, le=50_000_000)] = 5_000_000
    """渠道推送请求体上限（字节）。Largest body of a channel's event request."""
    file_body_max_bytes: Annotated[int, Meta(ge=1_000, le=100_000_000)] = 20_000_000
    """上传文件上限（字节）。Largest uploaded file."""
    channel_rate_per_min: PerMinute = 6_000
    """每个渠道每分钟请求上限。Requests a minute per channel."""
    api_rate_per_min: PerMinute = 1_200
    """每个接口密钥每分钟请求上限。Requests a minute per API key."""
    anonymous_rate_per_min: PerMinute = 60
    """每个来源地址每分钟查询物流页或失败登录上限。Per address: tracking pages, bad keys."""
    write_back_timeout_s: Annotated[int, Meta(ge=1, le=60)] = 10
    """回传店铺的单次超时（秒）。Time limit of one call to a shop."""
    write_back_tries: Annotated[int, Meta(ge=1, le=10)] = 3
    """回传店铺每轮最多尝试次数；之后由核心稍后再试。Tries a round; later rounds follow."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """日志级别。Lowest level that is logged."""
    log_format: Literal["json", "console"] = "json"
    """日志格式。One JSON object a line, or coloured text."""

    @property
    def data_path(self) -> Path:
        """The data folder as a path."""
        return Path(self.data_dir)

    @property
    def master_key_path(self) -> Path:
        """Where the master key is."""
        return Path(self.master_key_file) if self.master_key_file else self.data_path / "master.key"

    @property
    def mqtt_password_path(self) -> Path | None:
        """Where the broker password is; None when there is none to send."""
        if self.mqtt_password_file:
            return Path(self.mqtt_password_file)
        usual = self.core_password_path(self.mqtt_username)
        return usual if usual.exists() else None

    def core_password_path(self, user: str) -> Path:
        """Where `broker-config` puts the password of a core process's broker user."""
        return self.data_path / ("mqtt.password" if user == "core" else f"mqtt-{user}.password")

    @property
    def database(self) -> str:
        """The database URL in force."""
        return self.database_url or f"sqlite:///{self.data_path / 'core.sqlite'}"


_PAIRS = (("hold_ttl_s", "hold_ttl_max_s"), ("breaker_open_s", "breaker_open_max_s"))
"""Of each two the first may not be larger than the second."""


def load(file: Path | None, environment: Mapping[str, str]) -> Settings:
    """Read `file` (TOML, may be None), let `PACKLINE_CORE_*` override, check everything.

    Raises `Rejected` `settings_unreadable` or `settings_invalid` naming the key.
    """
    values: dict[str, Any] = _read(file) if file else {}
    hints = _plain_types()
    for name, text in environment.items():
        if name.startswith(ENV_PREFIX) and name != CONFIG_VARIABLE:
            key = name.removeprefix(ENV_PREFIX).lower()
            values[key] = _from_text(text, hints.get(key, str))
    return check(values)


def check(values: Mapping[str, Any]) -> Settings:
    """Values by key -> settings; raises `Rejected("settings_invalid")` naming the key."""
    unknown = sorted(set(values) - set(Settings.__struct_fields__))
    if unknown:
        raise _invalid(unknown[0], f"未知的设置项 {unknown[0]}", f"unknown setting {unknown[0]}")
    try:
        found = msgspec.convert(dict(values), Settings)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$.")
        raise _refused(text, path.rstrip("`")) from error
    for low, high in _PAIRS:
        if getattr(found, low) > getattr(found, high):
            raise _invalid(high, f"设置项 {high} 不能小于 {low}", f"{high} is less than {low}")
    return found


def reference() -> str:
    """The text of `docs/SETTINGS.md`: every key with its default, environment name and meaning."""
    lines = [
        "## cloud-core",
        "",
        "Printed by `cloud-core settings`; a test keeps this part and the program in step.",
        f"A TOML file (`--config`), then the environment (`{ENV_PREFIX}` + the key in capitals),",
        "which wins. Unknown keys are refused. Secrets are never settings: they stand in files.",
        "",
        "| key | default | environment | meaning |",
        "|---|---|---|---|",
    ]
    notes = _field_notes()
    defaults = Settings()
    for name in Settings.__struct_fields__:
        default = msgspec.json.encode(getattr(defaults, name)).decode()
        lines.append(f"| `{name}` | `{default}` | `{ENV_PREFIX}{name.upper()}` | {notes[name]} |")
    return "\n".join(lines) + "\n"


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
        return int(text) if text.lstrip("-").isdigit() else text
    return text


def _plain_types() -> dict[str, type]:
    plain: dict[str, type] = {}
    for name, hint in get_type_hints(Settings).items():
        inner = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        plain[name] = inner if inner in (int, bool, str) else str
    return plain


def _field_notes() -> dict[str, str]:
    """The string that stands under each field, taken from this module's own text."""
    module = _own_text().split("class Settings(", 1)[1].split("    @property", 1)[0]
    notes: dict[str, str] = {}
    name = ""
    for line in module.splitlines():
        if line.startswith("    ") and line[4:5].isalpha() and ":" in line:
            name = line.strip().split(":", 1)[0]
        elif line.startswith('    """') and name:
            notes[name] = line.strip().strip('"')
            name = ""
    return notes


def _own_text() -> str:
    return Path(__file__).read_text(encoding="utf-8")


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
