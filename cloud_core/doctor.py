"""Looks the core over: named checks, each with what it saw and how to mend it.

Changes nothing. Takes plain values instead of settings, so that a broken set-up can be examined
as far as it goes: a check that needs what another found broken says so instead of failing twice.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from cloud_core.link import LinkConfig, probe
from cloud_core.store import examine, key_file
from cloud_core.store.channel_rows import ChannelRegister
from cloud_core.store.engine import ServeLock, open_engine, reading, sqlite_path, why_zh
from cloud_core.store.examine import Facts
from cloud_core.store.key_file import MasterKeys
from cloud_core.store.leases import live_holders
from cloud_core.store.secret_box import SecretBox
from protocols import topics
from protocols.errors import PacklineError

FREE_BYTES_MIN = 500_000_000
FREE_NUMBERS_MIN = 50
FSYNC_MS_MAX = 100
STUCK_MS = 120_000
CLOCK_BACK_MS = 60_000
PG_VERSION_MIN = 140_000
EARLIEST_MS = 1_735_689_600_000  # 2025-01-01Z: an earlier clock was never set


@dataclass(frozen=True, slots=True)
class Patient:
    """What is examined."""

    data_path: Path
    database_url: str
    master_key_path: Path
    http_host: str
    http_port: int
    mqtt: LinkConfig | None
    mqtt_problem: str
    """Why the line's configuration could not be read, "" if it could."""
    dialects: frozenset[str]
    now_ms: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: `saw` what it found; `fix` says what to do when it is not `ok`."""

    name: str
    ok: bool
    saw: str
    fix: str


def examine_all(patient: Patient) -> list[Finding]:
    """Every check in order."""
    found = [_data_folder(patient), _disk_space(patient), _disk_flush(patient)]
    keys, key_finding = _master_key(patient)
    found.append(key_finding)
    found += _database(patient, keys)
    found += [_clock(patient), _http_port(patient), _broker(patient)]
    return found


def _data_folder(patient: Patient) -> Finding:
    folder = patient.data_path
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
        ok, saw = True, f"{folder} 可写"
    except OSError as error:
        ok, saw = False, f"{folder}: {error.strerror}"
    return Finding("data_folder", ok, saw, f"mkdir -p {folder}，并让运行用户拥有它")


def _disk_space(patient: Patient) -> Finding:
    try:
        free = shutil.disk_usage(_existing(patient.data_path)).free
    except OSError as error:
        return Finding("disk_space", False, str(error), "检查数据目录所在磁盘")
    fix = f"清理磁盘或把 data_dir 移到更大的磁盘（至少 {FREE_BYTES_MIN // 1_000_000} MB）"
    return Finding("disk_space", free >= FREE_BYTES_MIN, f"剩余 {free // 1_000_000} MB", fix)


def _disk_flush(patient: Patient) -> Finding:
    """How long the disk takes to make 20 small writes durable; every commit waits for it."""
    fix = "数据目录应放在本地固态盘上，不要放在网络盘或故障盘上"
    times: list[float] = []
    try:
        with tempfile.NamedTemporaryFile(dir=patient.data_path) as file:
            for _ in range(20):
                start = time.perf_counter()
                file.write(b"x" * 4096)
                file.flush()
                os.fsync(file.fileno())
                times.append((time.perf_counter() - start) * 1000)
    except OSError as error:
        return Finding("disk_flush", False, str(error), fix)
    middle = sorted(times)[len(times) // 2]
    return Finding("disk_flush", middle <= FSYNC_MS_MAX, f"落盘中位 {middle:.1f} ms", fix)


def _master_key(patient: Patient) -> tuple[MasterKeys | None, Finding]:
    try:
        keys = key_file.load(patient.master_key_path)
    except PacklineError as error:
        fix = {
            "master_key_missing": "cloud-core init（已有数据时请恢复原密钥文件，不要新建）",
            "master_key_exposed": f"chmod 600 {patient.master_key_path}",
        }.get(error.code, "从离线备份恢复主密钥文件")
        return None, Finding("master_key", False, error.zh, fix)
    return keys, Finding("master_key", True, f"{patient.master_key_path}，密钥 {keys.current}", "")


def _database(patient: Patient, keys: MasterKeys | None) -> list[Finding]:
    try:
        file = sqlite_path(patient.database_url)
    except PacklineError as error:
        return [Finding("database", False, error.zh, "改正 database_url")]
    if file is not None and not file.exists():
        return [Finding("database", False, f"{file} 不存在", "cloud-core init")]
    engine = open_engine(patient.database_url)
    try:
        whole = examine.integrity(engine)
        facts = examine.look(engine)
        found = [Finding("database", whole == "ok", f"完整性 {whole}",
                         "停止服务，用 cloud-core restore 恢复最近的备份")]  # fmt: skip
        found += _durability(engine, on_file=file is not None)
        found += _facts(patient, facts)
        found.append(_sealed(engine, facts, keys))
        return found
    except (PacklineError, DBAPIError) as error:
        fix = "检查数据库文件权限与完整性，必要时用 cloud-core restore 恢复备份"
        if file is None:
            fix = "检查 PostgreSQL 是否在运行、database_url 的地址、用户和密码是否正确"
        saw = why_zh(error) if isinstance(error, DBAPIError) else error.zh
        return [Finding("database", False, saw, fix)]
    finally:
        engine.dispose()


def _durability(engine: Engine, *, on_file: bool) -> list[Finding]:
    """Whether a COMMIT survives a power cut, and on PostgreSQL whether the server will do."""
    found = examine.durability(engine)
    if on_file:
        fix = "数据目录所在文件系统须支持 WAL（不要用网络盘）"
        return [Finding("durability", found == "wal/2", found, fix)]
    version, encoding = examine.server(engine)
    good = version >= PG_VERSION_MIN and encoding == "UTF8"
    saw = f"PostgreSQL {version // 10_000}.{version % 10_000}，编码 {encoding}"
    return [
        Finding("durability", not found, found or "PostgreSQL，提交即落盘",
                "在 postgresql.conf 中打开这些参数，否则断电会丢失已确认的提交"),
        Finding("server", good, saw, "使用 PostgreSQL 14 或更新版本，数据库编码须为 UTF8"),
    ]  # fmt: skip


def _facts(patient: Patient, facts: Facts) -> Iterable[Finding]:
    checks: tuple[Callable[[Patient, Facts], Finding], ...] = (
        _schema, _keys, _channels, _goods, _warehouses, _numbers, _recovery, _messages, _time_order,
    )  # fmt: skip
    return [check(patient, facts) for check in checks]


def _schema(_patient: Patient, facts: Facts) -> Finding:
    ok = facts.revision == facts.newest_revision and not facts.drift
    saw = f"版本 {facts.revision or '空'}，最新 {facts.newest_revision}"
    if facts.drift:
        saw += f"，与程序不一致 {len(facts.drift)} 处"
    return Finding("schema", ok, saw, "cloud-core migrate")


def _keys(_patient: Patient, facts: Facts) -> Finding:
    saw = f"有效接口密钥 {facts.live_keys} 个"
    return Finding("api_keys", facts.live_keys > 0, saw,
                   "cloud-core key create 名称 --scope write")  # fmt: skip


def _channels(patient: Patient, facts: Facts) -> Finding:
    strange = [name for name, dialect in facts.channels if dialect not in patient.dialects]
    saw = f"启用渠道 {len(facts.channels)} 个"
    if strange:
        saw += f"，方言未安装：{'、'.join(strange)}"
    fix = f"cloud-core channel add 渠道名 --dialect {'|'.join(sorted(patient.dialects))}"
    return Finding("channels", bool(facts.channels) and not strange, saw, fix)


def _goods(_patient: Patient, facts: Facts) -> Finding:
    return Finding("skus", facts.skus > 0, f"商品 {facts.skus} 个",
                   "cloud-core import skus 文件.csv")  # fmt: skip


def _warehouses(_patient: Patient, facts: Facts) -> Finding:
    parts = [f"启用仓库 {facts.warehouses} 个"]
    if facts.without_agent:
        parts.append(f"没有代理：{'、'.join(facts.without_agent)}")
    if facts.without_carrier:
        parts.append(f"没有默认快递：{'、'.join(facts.without_carrier)}")
    ok = facts.warehouses > 0 and not facts.without_agent and not facts.without_carrier
    fix = "cloud-core import warehouses 文件.csv；cloud-core agent add 代理 --warehouse 仓库"
    return Finding("warehouses", ok, "，".join(parts), fix)


def _numbers(_patient: Patient, facts: Facts) -> Finding:
    low = [f"{carrier} 剩 {count}" for carrier, count in facts.free_numbers
           if count < FREE_NUMBERS_MIN]  # fmt: skip
    saw = "、".join(low) if low else (
        "、".join(f"{carrier} 剩 {count}" for carrier, count in facts.free_numbers)
        or "没有在用的快递"
    )  # fmt: skip
    fix = "cloud-core import waybills 文件.csv（演示可用 cloud-core waybills fill）"
    return Finding("waybill_pool", not low, saw, fix)


def _recovery(_patient: Patient, facts: Facts) -> Finding:
    saw = "恢复中，等待各仓补传" if facts.recovering else "未在恢复"
    fix = "等代理重新上线补传；无法上线的用 cloud-core agent waive 代理"
    return Finding("recovery", not facts.recovering, saw, fix)


def _messages(patient: Patient, facts: Facts) -> Finding:
    oldest = facts.oldest_open_message_ms
    waited_ms = patient.now_ms - oldest if oldest is not None else 0
    saw = f"最早未处理消息已等 {waited_ms // 1000} 秒" if oldest is not None else "没有积压"
    return Finding("messages", waited_ms <= STUCK_MS, saw,
                   "cloud-core serve 是否在运行？查看日志 message.failed")  # fmt: skip


def _time_order(patient: Patient, facts: Facts) -> Finding:
    back_ms = facts.newest_ms - patient.now_ms
    saw = f"系统时间比最新记录早 {back_ms // 1000} 秒" if back_ms > 0 else "时间未倒退"
    return Finding("clock_order", back_ms <= CLOCK_BACK_MS, saw, "timedatectl set-ntp true")


def _sealed(engine: Engine, facts: Facts, keys: MasterKeys | None) -> Finding:
    fix = "恢复这些数据当时使用的主密钥文件"
    if keys is None:
        return Finding("sealed_data", False, "没有主密钥，无法检查", fix)
    missing = sorted(set(facts.contact_key_ids) - set(keys.keys) - {""})
    if missing:
        return Finding("sealed_data", False, f"主密钥文件缺少密钥 {'、'.join(missing)}", fix)
    try:
        count = len(ChannelRegister(engine, SecretBox(keys.keys, keys.current)).all())
    except PacklineError as error:
        return Finding("sealed_data", False, error.zh, fix)
    return Finding("sealed_data", True, f"{count} 个渠道的密钥可解密", fix)


def _clock(patient: Patient) -> Finding:
    ok = patient.now_ms >= EARLIEST_MS
    return Finding("clock", ok, time.strftime("%F %T", time.localtime(patient.now_ms / 1000)),
                   "timedatectl set-ntp true")  # fmt: skip


def _http_port(patient: Patient) -> Finding:
    if _is_serving(patient):
        return Finding("http_port", True, "cloud-core 正在运行", "")
    where = f"{patient.http_host}:{patient.http_port}"
    try:
        socket.create_server((patient.http_host, patient.http_port)).close()
    except OSError as error:
        return Finding("http_port", False, f"{where}: {error.strerror}",
                       "换一个 http_port，或停掉占用它的程序")  # fmt: skip
    return Finding("http_port", True, f"{where} 可用", "")


def _broker(patient: Patient) -> Finding:
    fix = "启动消息代理；用 cloud-core broker-config 生成它的配置，并核对 mqtt_* 设置"
    if patient.mqtt_problem:
        return Finding("broker", False, patient.mqtt_problem, fix)
    if patient.mqtt is None:
        return Finding("broker", True, "mqtt_enabled = false，不连接", fix)
    where = f"{patient.mqtt.host}:{patient.mqtt.port}"
    if _is_serving(patient):
        # mosquitto makes the user name the client id: to log in would throw the core out.
        why = _no_answer(patient.mqtt.host, patient.mqtt.port)
        return Finding("broker", not why, f"{where} {why or '可连接（核心正在使用）'}", fix)
    why = probe(patient.mqtt, [topics.ALL_UP_FILTER])
    return Finding("broker", not why, f"{where} {why or '可登录并订阅'}", fix)


def _is_serving(patient: Patient) -> bool:
    try:
        file = sqlite_path(patient.database_url)
    except PacklineError:
        return False
    if file is not None:
        return file.parent.exists() and ServeLock(file).is_held()
    try:
        engine = open_engine(patient.database_url)
    except PacklineError:
        return False
    try:
        with reading(engine) as connection:
            return bool(live_holders(connection, patient.now_ms))
    except PacklineError:
        return False
    finally:
        engine.dispose()


def _no_answer(host: str, port: int) -> str:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError as error:
        return str(error)
    return ""


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
