"""`make hardware`: the whole stage; the last line on standard output is one JSON object.

`--cuts N`, `--control N`, `--keep` (leave the image for the next run), `--only floor|cuts`.

The whole run is to take 15 minutes at most: past them less the control's share no new cut is begun,
once the least number is reached. `seconds` is what it took, also when that is more.

Exit status 1: a promise was broken (`failed`, a scan mixed or lost, a control that lost nothing).
A figure over its bound is no broken promise but is said aloud and in `missed`. What cannot be
fetched or may not be done here is a loud skip: `{"skipped": "why"}`, status 0.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import secrets
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from cloud_core.domain.broker_access import BrokerAccess, BrokerAgent
from tests.hardware import campaign, image, machine, scenario
from tests.hardware.floor import SETTINGS, Floor
from tests.hardware.volatile_disk import VolatileDisk
from tests.support.mini_core import MiniCore
from virtual_warehouse.broker import EmbeddedBroker

FOLDER = image.ROOT / "var/hardware"
BUDGET_S = 15 * 60
CONTROL_S = 100
"""Kept free for the control and the end."""
LEAST_CUTS = 100
BOUNDS = {"kill_to_hello_s": 5.0, "cut_to_first_scan_s": 60.0, "exposure": scenario.EXPOSURE_MOST}
"""What the figures are to stay within; seconds are those of this machine, emulated or not."""
UNREACHED = (
    "Could not find a version", "No matching distribution", "Max retries", "resolve", "ProxyError",
    "Connection", "timed out", "No space left",
)  # fmt: skip
"""How pip says that it did not get a package, as against one that is wrong."""
say = functools.partial(print, flush=True)


def main() -> int:
    """Build, play, cut; 0 when every sentence was true and the control failed."""
    parser = argparse.ArgumentParser(prog="make hardware", description=__doc__)
    parser.add_argument("--cuts", type=int, default=105, help="at most")
    parser.add_argument("--control", type=int, default=4)
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--only", choices=("floor", "cuts"), default="")
    options = parser.parse_args()
    begun = time.monotonic()
    found: dict[str, Any] = dict.fromkeys(
        ("boots", "thaws", "scans", "scans_mixed", "labels", "cuts", "acked", "acked_lost",
         "control_lost"), 0,
    )  # fmt: skip
    try:
        if os.geteuid() != 0:
            raise image.NotFetchedError("not root: QEMU and a Debian root cannot be set up")
        _beside_a_broker(options, begun, found)
    except image.NotFetchedError as error:
        print(f"hardware: SKIPPED, NOTHING PROVED: {error}", file=sys.stderr, flush=True)
        say(json.dumps({"skipped": _line(error)}, ensure_ascii=False))
        return 0
    # Also what nobody foresaw ends in the one line that tells of it.
    except (Exception, SystemExit) as error:
        if not isinstance(error, machine.GuestError):
            traceback.print_exc()
        say(f"NOT TRUE: {error}")
        found["failed"] = _line(error)
    found["seconds"] = round(time.monotonic() - begun)
    if missed := _missed(found):
        say(f"MISSED: {'; '.join(missed)}")
        found["missed"] = missed
    say(json.dumps(found, ensure_ascii=False))
    bad = found.get("failed") or found["scans_mixed"] or found["acked_lost"]
    return 1 if bad or (found["cuts"] and not found["control_lost"]) else 0


def _line(error: BaseException) -> str:
    """An error's first line, with its kind where that says more."""
    said = (str(error).splitlines() or [""])[0][:300]
    known = isinstance(error, (machine.GuestError, image.NotFetchedError))
    return said if known else f"{type(error).__name__}: {said}"


def _missed(found: dict[str, Any]) -> list[str]:
    """Figures over their bounds, the whole run's time among them."""
    figures = found.get("figures", {})
    told = {name: (figures[name], most) for name, most in BOUNDS.items() if name in figures}
    told["seconds"] = (found["seconds"], BUDGET_S)
    return [f"{name} {value} > {most}" for name, (value, most) in told.items() if value > most]


def _beside_a_broker(options: argparse.Namespace, begun: float, found: dict[str, Any]) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    access, broker = _broker()
    broker.start()
    try:
        _stages(options, access, broker, begun, found)
    finally:
        broker.stop()


def _broker() -> tuple[BrokerAccess, EmbeddedBroker]:
    """The broker keeps its port and passwords, because the image knows them."""
    kept = FOLDER / "broker.json"
    if not kept.exists():
        port = random.Random(secrets.randbits(64)).randrange(20_000, 30_000)
        words = {"port": port, "core": secrets.token_hex(16), "agent": secrets.token_hex(16)}
        kept.touch(mode=0o600)
        kept.write_text(json.dumps(words))
    words = json.loads(kept.read_text())
    agents = (BrokerAgent(image.SITE, image.AGENT, words["agent"]),)
    access = BrokerAccess(words["core"], agents)
    shutil.rmtree(FOLDER / "broker", ignore_errors=True)
    return access, EmbeddedBroker(FOLDER / "broker", access, words["port"])


def _stages(
    options: argparse.Namespace, access: BrokerAccess, broker: EmbeddedBroker, begun: float,
    found: dict[str, Any],
) -> None:  # fmt: skip
    made = _image(options, access, broker)
    accel = machine.chosen_accel(made)
    say(f"image ready after {time.monotonic() - begun:.0f} s; {accel[1]}")
    setup = machine.Setup(made, FOLDER, accel, machine.overlay(made, FOLDER / "overlay.qcow2"))
    rng = random.Random(options.seed)
    if options.only != "cuts":
        _floor(setup, access, broker, rng, found)
    if options.only != "floor":
        _cuts(setup, access, broker, rng, found, options, begun)


def _image(options: argparse.Namespace, access: BrokerAccess, broker: EmbeddedBroker) -> Any:
    made = image.Image(FOLDER / "vmlinuz", FOLDER / "initrd.img", FOLDER / "root.img")
    if options.keep and made.root.exists():
        return made
    wheels = filled_wheelhouse()
    (FOLDER / "memory.bin").unlink(missing_ok=True)  # of a machine on the image before
    return image.build(FOLDER, wheels, broker.port, access.agents[0].secret, SETTINGS)


def filled_wheelhouse() -> Path:
    """The agent and all it needs as wheels, its own made from this tree.

    Raises `image.NotFetchedError` when an index does not give them, `RuntimeError` for the rest.
    """
    wheels = FOLDER / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    tool = str(image.ROOT / "tools/fill_wheelhouse.py")
    filled = subprocess.run(
        [sys.executable, tool, "edge", str(wheels)], capture_output=True, text=True, check=False
    )
    if filled.returncode != 0:
        said = (filled.stdout + filled.stderr)[-3000:]
        if any(word in said for word in UNREACHED):
            raise image.NotFetchedError(f"the agent's wheels could not be fetched\n{said}")
        raise RuntimeError(f"no wheelhouse\n{said}")
    say(filled.stdout.rstrip())
    return wheels


def _core(access: BrokerAccess, broker: EmbeddedBroker) -> MiniCore:
    return MiniCore(("127.0.0.1", broker.port), access.core_secret, image.SITE, image.AGENT)


def _disk(rng: random.Random) -> VolatileDisk:
    return VolatileDisk(image.empty_data(FOLDER), FOLDER / "disk.sock", rng)


def _floor(
    setup: machine.Setup, access: BrokerAccess, broker: EmbeddedBroker, rng: random.Random,
    found: dict[str, Any],
) -> None:  # fmt: skip
    say("one bench: two equal scanners, a serial one, a USB printer")
    disk, core = _disk(rng), _core(access, broker)
    setup.disk = disk.path
    floor = Floor(setup, core, disk, say)
    try:
        scenario.play(floor)
    finally:
        if floor.vm is not None:
            floor.vm.kill()
        core.stop()
        disk.close()
        result = floor.result
        found.update(boots=result.boots, scans=result.scans, scans_mixed=result.mixed,
                     labels=result.labels)  # fmt: skip
        found["figures"] = {name: round(value, 1) for name, value in result.figures.items()}
        found["figures"]["scans_refused_and_repeated"] = result.refused


def _cuts(
    setup: machine.Setup, access: BrokerAccess, broker: EmbeddedBroker, rng: random.Random,
    found: dict[str, Any], options: argparse.Namespace, begun: float,
) -> None:  # fmt: skip
    setup.usb_gun = False
    setup.overlay = FOLDER / "frozen.qcow2"
    frozen = campaign.Frozen(setup, FOLDER / "memory.bin")
    if not (options.keep and frozen.memory.exists()):
        found["boots"] += 1
        machine.overlay(setup.image, setup.overlay)
        disk = _disk(rng)
        setup.disk = disk.path
        frozen = campaign.freeze(setup)
        disk.close()
    say(f"frozen after {time.monotonic() - begun:.0f} s; hard cuts under load")
    for normal, cuts in ((False, options.cuts), (True, options.control)):
        disk, core = _disk(rng), _core(access, broker)
        setup.disk = disk.path
        try:
            outcome = campaign.run(
                frozen, core, disk, cuts, rng, least=min(cuts, LEAST_CUTS),
                until=begun + BUDGET_S - CONTROL_S, normal=normal, say=say,
            )  # fmt: skip
        finally:
            core.stop()
            disk.close()
        name = "control (synchronous=NORMAL)" if normal else "synchronous=FULL"
        told = f"{outcome.cuts} cuts, {outcome.acked} acknowledged, {outcome.lost} lost"
        say(f"  {name}: {told}, disk kept {dict(outcome.kept_by_disk)}")
        found["thaws"] += outcome.thaws
        if normal:
            found["control_lost"] = outcome.lost
        else:
            found.update(cuts=outcome.cuts, acked=outcome.acked, acked_lost=outcome.lost)
            ordered = sorted(outcome.recoveries_s)
            figures = found.setdefault("figures", {})
            figures["thaw_to_first_scan_p50_s"] = round(ordered[len(ordered) // 2], 1)
            figures["thaw_to_first_scan_max_s"] = round(ordered[-1], 1)
    if not options.keep:
        frozen.memory.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
