"""One seed from nothing to its outcome; used by the command, the tests and the planted bugs."""

from __future__ import annotations

import asyncio
import gc
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.simulation import pace
from tests.simulation.loop import SimLoop
from tests.simulation.plan import DAY_S, DAYS, Plan, draw
from tests.simulation.truth import Violation
from tests.simulation.world import Outcome, World, unwrap

_runs = 0


def run_seed(seed: int, days: int = DAYS, **changes: Any) -> Outcome:
    """The whole history of one seed, its plan with `changes`. A broken promise is in the outcome.

    Our own bugs raise.
    """
    global _runs
    _runs += 1
    folder = Path(tempfile.mkdtemp(prefix="packline-sim-", dir=_fast_folder()))
    loop = SimLoop(seed)
    gc.disable()
    try:
        with pace.stretched():
            plan = replace(draw(seed, days), **changes)
            return _run(loop, plan, folder, f"card-{_runs}")
    finally:
        asyncio.set_event_loop(None)
        loop.close()
        shutil.rmtree(folder, ignore_errors=True)
        gc.enable()
        gc.collect()


def _run(loop: SimLoop, plan: Plan, folder: Path, vfs_name: str) -> Outcome:
    found: list[World] = []

    async def main() -> None:
        world = World(plan, folder, vfs_name)
        found.append(world)
        loop.on_failure = lambda error: world.truth.broken(_as_violation(error))
        world.core.prepare(plan)
        await world.history()

    try:
        error = _until_end(loop, loop.create_task(main()))
        return _outcome(loop, found[0], error)
    finally:
        for world in found:
            loop.run_until_complete(_end_everything(world))


def _until_end(loop: SimLoop, task: asyncio.Task[None]) -> BaseException | None:
    try:
        loop.run_until_complete(task)
    except Exception as raised:
        return unwrap(raised)
    return None


def _outcome(loop: SimLoop, world: World, error: BaseException | None) -> Outcome:
    truth = world.truth
    if error is not None and truth.violation is None:
        if not isinstance(error, Violation):
            raise error
        truth.violation = error
    return Outcome(
        seed=world.plan.seed,
        days=loop.time() / DAY_S,
        orders=len(truth.orders),
        faults=sum(truth.faults.values()),
        steps=loop.steps,
        hash="" if truth.violation else world.fingerprint(loop),
        sometimes=frozenset(truth.sometimes),
        violation=truth.violation,
        detail={**truth.faults, "commits": world.core.commits},
    )


def _as_violation(error: BaseException) -> Violation:
    """A process died of its own bug: that breaks whatever it promised."""
    error = unwrap(error)
    if isinstance(error, Violation):
        return error
    violation = Violation("crash", f"{type(error).__name__}: {error}")
    violation.__cause__ = error
    return violation


async def _end_everything(world: World) -> None:
    world.core.crash()
    for node in (*world.nodes, *world.ghosts):
        node.kill()
    if world.checker is not None:
        world.checker.close()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _fast_folder() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
