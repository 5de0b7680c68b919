"""The data folder and the journals in it."""

from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from edge_agent.doctor.patient import Finding, Patient, ill, well
from protocols.errors import Unavailable

FREE_BYTES_MIN = 500_000_000
FREE_INODES_MIN = 1_000
SYNC_S_MAX = 2.0
QUOTA_SHARE = 0.80
"""The first of the two watermarks (80 / 95 %): time to look before scans are refused."""
UNSENT_HOURS_MAX = 24
_REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p"})
_MEMORY = frozenset({"tmpfs", "ramfs", "overlay"})


def _data_dir(patient: Patient) -> Finding:
    folder = patient.data_dir
    try:
        with tempfile.TemporaryFile(dir=_existing(folder)):
            return well("data_dir", f"{folder} 可写")
    except OSError as error:
        fix = f"sudo install -d -m 700 -o $USER {folder}"
        return ill("data_dir", f"{folder} 不可写：{error.strerror}", fix)


def _data_private(patient: Patient) -> Finding:
    folder = patient.data_dir
    if not folder.exists():
        return well("data_private", "数据目录还没有建立")
    if not stat.S_IMODE(folder.stat().st_mode) & 0o007:
        return well("data_private", "其他用户进不了数据目录")
    return ill("data_private", f"{folder} 对所有用户开放", f"chmod 700 {folder}")


def _disk_space(patient: Patient) -> Finding:
    free = patient.machine.free_bytes
    found = f"剩余 {free // 1_000_000} MB"
    if free >= FREE_BYTES_MIN:
        return well("disk_space", found)
    return ill(
        "disk_space", found, "清理磁盘（sudo journalctl --vacuum-size=50M），至少留出 500 MB"
    )


def _disk_inodes(patient: Patient) -> Finding:
    free = patient.machine.free_inodes
    if free >= FREE_INODES_MIN:
        return well("disk_inodes", f"还能建 {free} 个文件")
    return ill("disk_inodes", f"只能再建 {free} 个文件", "删除大量小文件，例如旧的临时文件")


def _disk_kind(patient: Patient) -> Finding:
    kind = patient.machine.file_system
    if kind in _REMOTE:
        return ill("disk_kind", f"数据目录在网络盘上（{kind}）", "data_dir 改到本机存储卡或固态盘")
    if kind in _MEMORY:
        return ill(
            "disk_kind", f"数据目录在内存里（{kind}），断电即失", "data_dir 改到可写的数据分区"
        )
    return well("disk_kind", f"文件系统 {kind}")


def _disk_read_only(patient: Patient) -> Finding:
    if not patient.machine.read_only:
        return well("disk_read_only", "可读写")
    fix = "存储卡多半坏了：按 docs/OPERATING.md 更换；先 edge-agent journal export 备份"
    return ill("disk_read_only", "文件系统是只读的", fix)


def _disk_sync(patient: Patient) -> Finding:
    """How long one durable write takes: it is what a packer waits for at every scan."""
    with tempfile.TemporaryFile(dir=_existing(patient.data_dir), buffering=0) as file:
        began = time.perf_counter()
        file.write(b"packline")
        os.fsync(file.fileno())
        took = time.perf_counter() - began
    found = f"写一次 {took * 1000:.0f} 毫秒"
    if took <= SYNC_S_MAX:
        return well("disk_sync", found)
    return ill("disk_sync", found, "存储卡太慢或将坏：换 A2 / 工业级卡，或 USB 固态盘")


def _journal(patient: Patient, path: Path) -> Finding:
    name = f"journal_{path.stem}"
    if not path.exists():
        return well(name, "还没有日志文件，首次启动时创建")
    try:
        whole = patient.is_whole(path)
    except Unavailable as error:
        return ill(name, error.zh, "检查文件权限、磁盘空间，以及是否有别的程序占用")
    if whole:
        return well(name, "完好")
    fix = "直接启动即可：损坏的文件会被改名保留，云端随后补发任务；请把改名后的文件交给运维"
    return ill(name, f"{path} 已损坏", fix)


def _quota(patient: Patient) -> Finding:
    used = sum(path.stat().st_size for path in patient.journals if path.exists())
    share = used / max(1, patient.quota_bytes)
    found = f"日志 {used // 1_000_000} MB，占上限 {share:.0%}"
    if share < QUOTA_SHARE:
        return well("journal_quota", found)
    fix = "让云端收走积压（看 core 检查项）；或调大 quota_bytes。到 95% 会停止接收扫描"
    return ill("journal_quota", found, fix)


def _unsent(patient: Patient) -> Finding:
    rows, oldest_ms = 0, 0
    for path in patient.journals:
        if path.exists():
            found, since_ms = patient.unsent(path)
            rows += found
            oldest_ms = min(filter(None, (oldest_ms, since_ms)), default=0)
    hours = max(0, patient.now.wall_ms - oldest_ms) / 3_600_000 if oldest_ms else 0
    told = f"待上传 {rows} 条，最早 {hours:.0f} 小时前" if rows else "没有积压"
    if hours <= UNSENT_HOURS_MAX:
        return well("journal_unsent", told)
    return ill("journal_unsent", told, "检查网络和 broker、core 检查项；记录不会丢，联网后自动补传")


def _put_aside(patient: Patient) -> Finding:
    folder = patient.data_dir
    found = sorted(path.name for path in folder.glob("*.broken-*")) if folder.exists() else []
    if not found:
        return well("journal_put_aside", "没有损坏后改名的文件")
    fix = f"把 {folder}/*.broken-* 交给运维后移走；存储卡可能将坏，建议更换"
    return ill("journal_put_aside", f"有 {len(found)} 个损坏后改名的文件", fix)


def _whole(name: str) -> Callable[[Patient], Finding]:
    def check(patient: Patient) -> Finding:
        paths = [path for path in patient.journals if f"journal_{path.stem}" == name]
        return _journal(patient, paths[0]) if paths else well(name, "没有这个日志")

    return check


def _existing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.absolute().parent
    return folder


def _all() -> Iterator[tuple[str, Callable[[Patient], Finding]]]:
    yield "data_dir", _data_dir
    yield "data_private", _data_private
    yield "disk_space", _disk_space
    yield "disk_inodes", _disk_inodes
    yield "disk_kind", _disk_kind
    yield "disk_read_only", _disk_read_only
    yield "disk_sync", _disk_sync
    for stream in ("floor", "telemetry"):
        yield f"journal_{stream}", _whole(f"journal_{stream}")
    yield "journal_quota", _quota
    yield "journal_unsent", _unsent
    yield "journal_put_aside", _put_aside


CHECKS = tuple(_all())
