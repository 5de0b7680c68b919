"""Named checks of an installation, with the fix beside each failure.

Every check is run, one that breaks is a failure of its own. Changes nothing; prints nothing.
`Patient` is all a check may look at, so that each can be shown to fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from edge_agent.doctor import devices, handhelds, line, machine, storage
from edge_agent.doctor.patient import Check, Door, Finding, Machine, Patient
from protocols.errors import PacklineError

__all__ = ["Check", "Door", "Finding", "Machine", "Patient", "checks", "examine"]


def examine(patient: Patient) -> list[Finding]:
    """Run every check. Raises nothing."""
    findings = []
    for name, check in checks(patient):
        try:
            findings.append(check())
        except (OSError, PacklineError, ValueError) as error:
            told = error.zh if isinstance(error, PacklineError) else str(error)
            findings.append(Finding(name, False, told, "按提示修正设置后再运行 edge-agent doctor"))
        except Exception as error:  # a check of ours is broken: say so, go on with the others
            told = f"检查本身出错：{type(error).__name__}: {error}"
            findings.append(Finding(name, False, told, "运行 edge-agent bundle 并把文件交给运维"))
    return findings


def checks(patient: Patient) -> Iterator[tuple[str, Check]]:
    """Every check of this patient, by its stable name."""
    for room in (machine, storage, line, handhelds):
        for name, check in room.CHECKS:
            yield name, partial(check, patient)
    yield from devices.checks(patient)
