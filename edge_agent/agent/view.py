"""What the agent shows of itself: one plain dictionary for page, `/status.json` and metrics.

Reads the journal and the live state; changes nothing. No personal data (P12).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from edge_agent.agent import bench_view
from edge_agent.agent.parts import Live
from edge_agent.domain.print_job import HELD_ZH, PrintState
from edge_agent.domain.task import OPEN, TaskState
from edge_agent.flows import bench, print_label, returns
from edge_agent.journal import handhelds, jobs, meta, stations, tasks
from edge_agent.journal.jobs import Placed
from edge_agent.journal.stations import Station
from edge_agent.ports import Connection

TASKS_SHOWN = 60
JOBS_SHOWN = 40
SCANS_SHOWN = 30
RETURNS_SHOWN = 40

_JOB_ATTENTION = (PrintState.UNKNOWN, PrintState.HELD, PrintState.FAILED)
_JOB_SETTLED = (PrintState.SENDING, PrintState.QUEUED, PrintState.SENT, PrintState.CONFIRMED)

_REASON_ZH = {
    **HELD_ZH,
    "broken": "传送中断, 请看纸出来没有",
    "stalled": "打印机不再接收, 请看纸出来没有",
    "restart": "打印时程序重启, 请看纸出来没有",
    "reissue": "任务重新下发, 之前是否打印过不确定",
    "operator_says_missing": "操作员说没出来",
    "not_allowed": "这票已经不归本仓",
    "not_ready": "打印机没有准备好",
    "draw_failed": "面单画不出来, 请联系运维",
    "label_purged": "面单内容已按规定清除",
    "label_no_template": "这台打印机没有这种单据的模板",
    "label_not_masked": "单据里有未隐藏的个人信息, 没有打印",
    "picture_size": "图片为空或太大",
    "picture_broken": "图片打不开",
    "picture_too_large": "图片比纸大",
    "picture_wrong_size": "图片不是为这种纸做的",
    "print_too_wide": "图比打印头宽",
    "print_raw_language": "打印数据和打印机的语言不一致",
    "print_raw_only": "这台打印机只接收平台的原始数据",
}


def status(live: Live) -> dict[str, Any]:
    """The whole state for people and machines; times are wall ms of this machine."""
    now = live.ports.clock.now()
    floor = live.floor.read(lambda db: _floor(db, live))
    return {
        "agent": live.plan.agent,
        "site": live.plan.site,
        "version": live.plan.version,
        "now_ms": now.wall_ms,
        "boot": live.floor.boot,
        "link": {
            "connected": live.connected,
            "welcomed": live.welcomed,
            "core_seen": live.core_seen,
            "connects": live.count.connects,
            "offset_ms": live.offset.offset_ms if live.offset else None,
            "clock_off_ms": _clock_off_ms(live, now.mono_ms, now.wall_ms),
        },
        "streams": {stream: _stream(live, stream) for stream in live.senders},
        "journal": {
            "used_bytes": live.floor.used_bytes,
            "quota_bytes": live.plan.quota_bytes,
            "full": live.floor.full,
            "failing": live.floor.failing,
        },
        "box": dict(live.ports.health()),
        "printers": {
            name: {"level": state.level.value, "code": state.code, "reason_zh": state.reason_zh}
            for name, state in live.printer_status.items()
        },
        "scanners": live.scanners.rows(),
        "unknown_scanners": live.scanners.unknown(),
        "counters": asdict(live.count),
        **floor,
    }


def _floor(db: Connection, live: Live) -> dict[str, Any]:
    stopping = tasks.by_state(db, (TaskState.STOPPING,), TASKS_SHOWN)
    going_on = sorted(OPEN - {TaskState.STOPPING})
    open_tasks = stopping + tasks.by_state(db, going_on, TASKS_SHOWN - len(stopping))
    shown = jobs.in_question(db, _JOB_ATTENTION, JOBS_SHOWN)
    shown += jobs.latest(db, _JOB_SETTLED, JOBS_SHOWN)
    clocks = bench_view.clocks(live.ports.clock.now(), live.offset)
    return {
        "open": bench.is_open(db),
        "resynced": print_label.may_print(db, live.floor.position.epoch),
        "warehouse": meta.text(db, "cfg_warehouse_name") or live.plan.warehouse_name,
        "tasks": [bench_view.task(db, task, **clocks) for task in open_tasks],
        "task_counts": tasks.counts(db),
        "jobs": [_job(placed) for placed in shown],
        "job_counts": jobs.counts(db),
        "plan_stations": sorted(live.plan.stations),
        "stations": [bench_view.station(db, one, **clocks) for one in _stations(db, live)],
        "returns": returns.board(db, clocks["wall_ms"])[:RETURNS_SHOWN],
        "handhelds": _handhelds(db, live.ports.clock.now().wall_ms),
        "scans": [asdict(scan) for scan in stations.last_scans(db, SCANS_SHOWN)],
    }


def _handhelds(db: Connection, now_ms: int) -> dict[str, Any]:
    """Paired devices without their secrets, and who may not try a PIN for now."""
    return {
        "devices": [
            {
                "device": held.id,
                "station": held.station,
                "operator": held.operator,
                "paired_ms": held.paired_ms,
                "active_ms": held.active_ms,
            }
            for held in handhelds.everyone(db)
        ],
        "locked": [
            {"who": who, "until_ms": lock.until_ms}
            for who, lock in handhelds.locks(db).items()
            if lock.closed(now_ms)
        ],
    }


def _stations(db: Connection, live: Live) -> list[Station]:
    """The stations of the plan and any other that ever scanned."""
    known = {one.id: one for one in stations.everyone(db)}
    for name in live.plan.stations:
        known.setdefault(name, Station(name))
    return [known[name] for name in sorted(known)]


def _stream(live: Live, stream: str) -> dict[str, Any]:
    journal = live.ports.journals[stream]
    return {
        "epoch": journal.position.epoch,
        "last": journal.position.last,
        "queued": live.queued(stream),
        "oldest_ms": live.oldest_ms(stream),
        "dropped": journal.read(lambda db: meta.number(db, "dropped")),
    }


def _clock_off_ms(live: Live, mono_ms: int, wall_ms: int) -> int | None:
    """How far this machine's wall clock is from the server's, positive when ahead."""
    return None if live.offset is None else wall_ms - live.offset.server_ms(mono_ms)


def _job(placed: Placed) -> dict[str, Any]:
    job = placed.job
    return {
        "kind": job.key.kind,
        "number": job.key.number,
        "revision": job.key.revision,
        "shipment": job.shipment_id,
        "state": job.state.value,
        "reason": job.reason,
        "reason_zh": _REASON_ZH.get(job.reason, ""),
        "printer": placed.printer,
        "moved_from": placed.moved_from,
        "copy_mark": job.copy_mark,
        "station": placed.station,
        "queued_ms": job.queued_ms,
        "bytes_sent": job.bytes_sent,
        "evidence": job.evidence,
    }
