"""What happens at the bench, in order; each step is a sentence that is proved."""

from __future__ import annotations

import functools
import re
import time

from tests.hardware import image
from tests.hardware.floor import GUNS, SERIAL, Floor
from tests.hardware.machine import GuestError

CODES = {
    "bench-1": [f"A-{number:03d}" for number in range(40)],
    "bench-2": [f"B-{number:03d}" for number in range(40)],
    SERIAL: [f"C-{number:03d}" for number in range(40)],
}
EXPOSURE_MOST = 1.6
PRINTER = "platform-dummy_hcd.2-usb-0:1:1.0"
NO_PAPER_S = 5.0
WRONG_LEAST_MS = 30 * 86_400_000
"""A clock this far behind what has been written is wrong beyond doubt."""


def play(floor: Floor) -> None:
    """The whole day; raises `GuestError` at the first sentence that is not true."""
    for step in (
        first_boot, runs_hardened, scans_never_mix, replug, printer, memory, watchdog,
        cut_and_wrong_clock, uninstalled,
    ):  # fmt: skip
        begun = time.monotonic()
        step(floor)
        floor.say(f"  {step.__name__.replace('_', ' ')}: {time.monotonic() - begun:.0f} s"
                  f" {floor.result}")  # fmt: skip


def first_boot(floor: Floor) -> None:
    """From power to the first accepted scan."""
    begun = time.monotonic()
    floor.boot()
    open_tasks(floor)
    floor.scan({SERIAL: CODES[SERIAL][:1]})
    floor.until(floor.all_there, "the first scan")
    floor.result.figures["boot_to_first_scan_s"] = time.monotonic() - begun


def open_tasks(floor: Floor) -> None:
    """One endless task for each station, opened by its own scanner."""
    for station, skus in CODES.items():
        shipment = floor.order(skus)
        floor.scan({station: [f"TASK-{shipment}"]})
        opened = functools.partial(_started, floor, shipment)
        floor.until(opened, f"{shipment} opened at {station}", 30)


def _started(floor: Floor, shipment: str) -> bool:
    return any(
        event.t == "task.started" and shipment.encode() in bytes(event.d)
        for event in floor.core.events()
    )


def runs_hardened(floor: Floor) -> None:
    """The unit that runs is the hardened one; how fast it starts."""
    vm = floor.inside()
    said = vm.sh("systemd-analyze security packline-edge --no-pager | tail -1")
    exposure = float(re.search(r"([\d.]+) OK", said)[1])  # type: ignore[index]
    if exposure > EXPOSURE_MOST:
        raise GuestError(f"exposure {exposure}")
    who = vm.sh("ps -o user= -p $(systemctl show -p MainPID --value packline-edge)").strip()
    if not who.startswith("packline"[:7]):
        raise GuestError(f"runs as {who}")
    hellos, begun = len(floor.core.hellos), time.monotonic()
    vm.sh("systemctl restart packline-edge")
    floor.result.figures["agent_start_s"] = time.monotonic() - begun
    floor.until(lambda: len(floor.core.hellos) > hellos, "hello after a restart")
    hellos, begun = len(floor.core.hellos), time.monotonic()
    vm.sh("kill -9 $(systemctl show -p MainPID --value packline-edge)")
    floor.until(lambda: len(floor.core.hellos) > hellos, "hello after kill -9")
    floor.result.figures["kill_to_hello_s"] = time.monotonic() - begun
    floor.result.figures["exposure"] = exposure
    floor.wait_for_guns(restarted=True)


def scans_never_mix(floor: Floor) -> None:
    """Two equal scanners type at the same time, while the serial one fires."""
    for begin in range(0, 40, 10):
        floor.scan({name: codes[begin : begin + 10] for name, codes in CODES.items()})
    floor.check_scans()


def replug(floor: Floor) -> None:
    """A scanner is pulled out and put back: it goes on at its own station."""
    vm = floor.inside()
    vm.bench("plug", name="gun0", udc="")
    # Each answered before the next: looking for devices takes the reader's time, and in this slow
    # machine a code typed meanwhile may be torn. It is refused aloud and scanned again.
    for code in CODES["bench-2"][:3]:
        floor.scan({"bench-2": [code]})
        floor.check_scans()
    vm.bench("plug", name="gun0", udc="dummy_udc.0")
    floor.wait_for_guns()
    floor.scan({name: CODES[name][:5] for name in GUNS})
    floor.check_scans()


def printer(floor: Floor) -> None:
    """Without paper the label waits and the page says so; with paper it comes out once."""
    vm = floor.inside()
    if PRINTER not in (names := vm.sh("ls /dev/label/by-path 2>&1; true").split()):
        raise GuestError(f"the printer has no name that stays: {names}")
    vm.bench("paper", out=True)
    floor.until(lambda: "缺纸" in str(floor.status("printers")), "缺纸 on the page")
    before = vm.bench("printed")
    floor.order(["P-1"], print_on="grant")
    time.sleep(NO_PAPER_S)
    if (came := vm.bench("printed")) != before or came["whole"]:
        raise GuestError(f"a printer without paper was sent a label: {before}, then {came}")
    if "缺纸" not in str(floor.status("printers")):
        raise GuestError("the page does not say 缺纸 any more, and nobody put paper in")
    vm.bench("paper", out=False)
    floor.until(lambda: whole_labels(floor) >= 1, "the label")
    floor.order(["P-2"], print_on="grant")
    floor.until(lambda: whole_labels(floor) >= 2, "the second label")
    time.sleep(3)
    if whole_labels(floor) != 2:
        raise GuestError(f"{whole_labels(floor)} labels came out instead of 2")
    floor.result.labels += 2


def whole_labels(floor: Floor) -> int:
    """Labels that came out whole: each ends with its PRINT."""
    return int(floor.inside().bench("printed")["whole"])


def identity(floor: Floor) -> tuple[str, ...]:
    """The agent's name and the epochs of its streams, by its own hello."""
    hello = floor.core.hellos[-1]
    return (hello.a, *(position.epoch for position in hello.streams))


def memory(floor: Floor) -> None:
    """What the agent takes after a morning's scans and labels, in MiB."""
    rollup = "/proc/$(systemctl show -p MainPID --value packline-edge)/smaps_rollup"
    pss = floor.inside().sh(f"awk '/^Pss:/{{s+=$2}} END{{print s}}' {rollup}")
    floor.result.figures["pss_mb"] = round(int(pss) / 1024, 1)


def watchdog(floor: Floor) -> None:
    """A hung agent is ended and started again by systemd; nothing it said is lost."""
    vm = floor.inside()
    hellos, begun = len(floor.core.hellos), time.monotonic()
    vm.sh("kill -STOP $(systemctl show -p MainPID --value packline-edge)")
    floor.until(lambda: len(floor.core.hellos) > hellos, "hello after the watchdog", 180)
    floor.result.figures["hang_to_hello_s"] = time.monotonic() - begun
    said = vm.sh("journalctl -b --no-pager -u packline-edge | grep -ci 'watchdog timeout'")
    if int(said) < 1:
        raise GuestError("it was not the watchdog that started it again")
    floor.wait_for_guns(restarted=True)
    floor.scan({name: codes[17:19] for name, codes in CODES.items()})
    floor.check_scans()


def cut_and_wrong_clock(floor: Floor) -> None:
    """The plug is pulled on the floor, and the machine comes up in 1970.

    The agent is the same one, each scanner is at its station, what was told is there, and no row
    claims to be older than those before it. Nothing may mend the clock meanwhile: the machine's own
    time service is switched off and its saved time gone.
    """
    floor.scan({name: codes[13:16] for name, codes in CODES.items()})
    floor.check_scans()
    same = identity(floor)
    floor.inside().sh(
        "systemctl mask --now systemd-timesyncd 2>&1;"
        " rm -f /var/lib/systemd/timesync/clock; sync"
    )  # fmt: skip
    rows = floor.core.events()
    before, made = max(event.w for event in rows), len(rows)
    floor.cut()
    begun = time.monotonic()
    floor.boot(rtc="1970-01-02T00:00:00")
    if identity(floor) != same:
        raise GuestError(f"another agent: {identity(floor)} was {same}")
    floor.scan({SERIAL: CODES[SERIAL][16:17]})
    floor.until(floor.all_there, "the first scan after a cut")
    floor.result.figures["cut_to_first_scan_s"] = time.monotonic() - begun
    check_clock_is_wrong(floor, before)
    floor.scan({name: codes[10:13] for name, codes in CODES.items()})
    floor.check_scans()
    check_clock_is_wrong(floor, before)
    for event in floor.core.events()[made:]:
        if event.w < before:
            raise GuestError(f"{event.t} claims to be {before - event.w} ms older than rows before")


def check_clock_is_wrong(floor: Floor, newest_ms: int) -> None:
    """The guest's own clock is far behind the newest row: else nothing at all was proved.

    It started in 1970; systemd lifts a clock to the time of its own build, and no further.
    """
    behind_ms = newest_ms - int(floor.inside().sh("date +%s")) * 1000
    floor.result.figures["clock_behind_days"] = behind_ms / 86_400_000
    if behind_ms < WRONG_LEAST_MS:
        raise GuestError(f"the machine's clock was only {behind_ms} ms behind: nothing was proved")


def uninstalled(floor: Floor) -> None:
    """The program takes itself away, unit and rules with it; the journal and its rows stay."""
    vm = floor.inside()
    vm.sh("edge-agent uninstall")
    left = vm.sh(
        "systemctl is-active packline-edge; ls -d /opt/packline/edge /usr/local/bin/edge-agent"
        " /etc/systemd/system/*packline-edge* /etc/udev/rules.d/*packline-edge* 2>/dev/null; true"
    ).split()
    if left != ["inactive"]:
        raise GuestError(f"left behind by uninstall: {left}")
    count = "import sqlite3,sys; print(sqlite3.connect(sys.argv[1])"
    count += ".execute('SELECT COUNT(*) FROM row').fetchone()[0])"
    kept = int(vm.sh(f'python3 -c "{count}" {image.DATA_FOLDER}/floor.db'))
    if kept < len(floor.picks()):
        raise GuestError(f"{kept} rows are left of a journal with {len(floor.picks())} picks")
