"""Hard power cuts under load: what was acknowledged is there afterwards, every time.

A machine is frozen with the agent loaded and its data disk not yet mounted. Each cycle thaws it,
mounts the disk as the last cut left it, lets the agent work, and switches off at a random moment.
Two things count as acknowledged: a scan whose good tone was given, and a row the core was sent.
The control runs the same with `synchronous=NORMAL` and must lose. A cut is thus a hard one for the
guest's disk, and the start after it is the agent's own, not the whole machine's.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from protocols import commands
from protocols.events import EpochOpened
from protocols.messages import Event, Hello, Token
from tests.hardware import image, machine
from tests.hardware.machine import GuestError, Setup, Vm
from tests.hardware.volatile_disk import VolatileDisk
from tests.support.mini_core import MiniCore

SHIPMENT = "DB2026BBBB-1"
SKUS = tuple(f"VM-{number:03d}" for number in range(120))
UNITS = 9_000
READY_S = 120.0
PATIENCE_S = 20.0
QUIET_S = 5.0
USB_GUN = "/dev/serial/by-path/pci-0000:00:01.0-usb-0:1:1.0-port0"
LOAD_LEAST_S, LOAD_MOST_S = 0.2, 1.2
_DROP_IN = """[Service]
ExecStart=
ExecStart=/opt/packline/edge/current/bin/python /opt/bench/preload.py --config /etc/packline/edge.toml run
"""  # noqa: E501


class Ear:
    """Hears the tones: code and answer of each scan, by datagram, in the agent's start `life`."""

    def __init__(self) -> None:
        self.life = 0
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self.port: int = self._sock.getsockname()[1]
        self.good: Counter[tuple[int, str]] = Counter()
        """(number of the agent's start, code): a pick of another start makes up for nothing."""
        self.other: Counter[str] = Counter()
        self.heard = threading.Event()
        threading.Thread(target=self._listen, name="ear", daemon=True).start()

    def close(self) -> None:
        self._sock.close()

    def _listen(self) -> None:
        while True:
            try:
                told = json.loads(self._sock.recv(2048))
            except OSError:
                return
            if told["code"].startswith("TASK-"):
                continue  # opening a task that is in hand is no new fact, so it leaves no row
            if told["tone"] == "ok":
                self.good[self.life, told["code"]] += 1
                self.heard.set()
            else:
                self.other[told["why"]] += 1


@dataclass(slots=True)
class Outcome:
    """What a campaign found."""

    cuts: int = 0
    acked: int = 0
    lost: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    """Epoch of the floor's stream -> rows of it the core holds and the agent has lost, at most."""
    kept_by_disk: Counter[str] = field(default_factory=Counter)
    recoveries_s: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    thaws: int = 0
    starts: set[int] = field(default_factory=set)
    """The number each start gave itself."""


@dataclass(slots=True)
class Frozen:
    """A machine's memory on disk, and how to start it."""

    setup: Setup
    memory: Path


def freeze(setup: Setup) -> Frozen:
    """Boot once, load the agent under its own unit, stop before the data disk is touched."""
    vm = machine.start(setup)
    try:
        vm.bench("ping", timeout_s=300)
        vm.sh("systemctl stop packline-edge var-lib-packline\\\\x2dedge.mount; true")
        vm.sh(f"mkdir -p /run/systemd/system/packline-edge.service.d; cat >"
              f" /run/systemd/system/packline-edge.service.d/bench.conf <<'E'\n{_DROP_IN}E\n"
              "sed -i '/packline-edge/d' /etc/fstab;"
              f" sed -i 's#{USB_GUN}#/dev/ttyS1#' /etc/packline/edge.toml;"
              " systemctl daemon-reload; systemctl start --no-block packline-edge")  # fmt: skip
        vm.sh("until journalctl -u packline-edge | grep -q 'bench: loaded'; do sleep 0.5; done;"
              " sync; echo 3 > /proc/sys/vm/drop_caches", timeout_s=200)  # fmt: skip
        # Warm what the first seconds after a thaw need, apart from the data disk.
        vm.sh("cat /bin/mount /usr/bin/python3 /opt/bench/*.py > /dev/null; mount -V")
        memory = setup.folder / "memory.bin"
        vm.qmp("stop")
        vm.qmp("migrate", uri=f"exec:cat > {memory}")
        _until(lambda: vm.qmp("query-migrate").get("status") == "completed", 60, "frozen")
    finally:
        vm.kill()
    return Frozen(setup, memory)


def run(
    frozen: Frozen, core: MiniCore, disk: VolatileDisk, cuts: int, rng: random.Random,
    *, least: int, until: float, normal: bool = False, say: Callable[[str], None] = print,
) -> Outcome:  # fmt: skip
    """`cuts` cycles on one disk; a last calm one in which everything is handed to the core.

    `cuts`: at most this many; past the monotonic second `until` no new one begins, but `least` are
    made in any case.
    """
    found, ear, begun = Outcome(), Ear(), time.monotonic()
    try:
        for number in range(cuts + 1):
            calm = number == cuts or (number >= least and time.monotonic() > until)
            _cycle(frozen, core, disk, ear, found, rng, say, calm=calm, normal=normal)
            if number % 10 == 9:
                say(f"  {found.cuts} cuts, {sum(ear.good.values())} good tones,"
                    f" {sum(found.missing.values())} rows missing at a start,"
                    f" {time.monotonic() - begun:.0f} s")  # fmt: skip
            if calm:
                break
        rows = own_rows(core)
        for event in rows:
            if event.t == "epoch.opened":  # after a life whose rows were not what the core holds
                _forked(msgspec.json.decode(event.d, type=EpochOpened), found)
        # A good tone and the core's row of the same pick are one event: tones add only what no row
        # came of.
        untold = unheard(rows, ear.good)
        found.acked = len(rows) + untold
        found.lost = untold + sum(found.missing.values())
        found.refused = ear.other
    finally:
        ear.close()
    return found


def _cycle(
    frozen: Frozen, core: MiniCore, disk: VolatileDisk, ear: Ear, found: Outcome,
    rng: random.Random, say: Callable[[str], None], *, calm: bool, normal: bool,
) -> None:  # fmt: skip
    hellos, begun = len(core.hellos), time.monotonic()
    vm = machine.start(frozen.setup, "-incoming", f"exec:cat {frozen.memory}", "-S", snapshot=True)
    try:
        _until(lambda: vm.qmp("query-status")["status"] in ("paused", "prelaunch"), 60, "thawed")
        vm.qmp("cont")
        vm.bench("seed", data=rng.randbytes(32).hex())
        word = {"host": image.BROKER_HOST, "port": ear.port, "normal": normal}
        # The frozen kernel may remember blocks of the disk as it was then; a booting one does not.
        folder = image.DATA_FOLDER
        mount = f"mount /dev/vdb {folder} && chown packline-edge: {folder}"
        told = f"echo '{json.dumps(word)}' > /run/bench-word"
        vm.sh(f"blockdev --flushbufs /dev/vdb && {mount} && {told}")
        _until(lambda: len(core.hellos) > hellos, READY_S, "hello", vm)
        first = core.hellos[hellos]  # the word of this start, before the core has answered it
        for epoch, lost in missing(core, first).items():
            say(f"  {lost} rows of the core are missing at the agent's start")
            found.missing[epoch] = max(lost, found.missing.get(epoch, 0))
        _begin_work(core, hellos == 0)
        found.thaws += 1
        if first.boot in found.starts:
            raise GuestError(f"two starts call themselves {first.boot}: no tone can be told apart")
        found.starts.add(first.boot)
        ear.life = first.boot
        ear.heard.clear()
        _load(vm, core, ear, found, begun, rng, calm=calm, normal=normal)
    finally:
        vm.kill()
    if not calm:
        found.kept_by_disk[disk.power_cut()] += 1
        found.cuts += 1


def _load(
    vm: Vm, core: MiniCore, ear: Ear, found: Outcome, begun: float, rng: random.Random,
    *, calm: bool, normal: bool,
) -> None:  # fmt: skip
    """Scan as fast as the agent answers, until the power goes or, at the end, all is uploaded."""
    stopping = threading.Event()
    gun = threading.Thread(
        target=_fire, args=(vm, ear, stopping, rng.randrange(len(SKUS))), daemon=True
    )
    gun.start()
    if not ear.heard.wait(PATIENCE_S):
        core.tell(task())  # the cut took the task as well (the control's does): it is granted anew
    _until(ear.heard.is_set, READY_S, "first good tone", vm)
    found.recoveries_s.append(time.monotonic() - begun)
    if not calm:
        time.sleep(rng.uniform(LOAD_LEAST_S, LOAD_MOST_S))
        vm.kill()
    stopping.set()
    gun.join(10)
    if calm:
        _settle(core, ear, patient=not normal)


def _fire(vm: Vm, ear: Ear, stopping: threading.Event, first: int) -> None:
    """The trigger: ten codes at a time, so that several wait for the disk together.

    The task's own code is scanned while no good tone comes: the scan that opened it may be what
    the last cut took, and it had not been answered then.
    """
    with contextlib.suppress(OSError, GuestError):
        for turn in itertools.count(1):
            if turn % 6 == 1 and not ear.heard.is_set():
                vm.gun(f"TASK-{SHIPMENT}\r".encode())
            codes = [SKUS[(first + step) % len(SKUS)] for step in range(10)]
            first += len(codes)
            vm.gun("".join(f"{code}\r" for code in codes).encode())
            if stopping.wait(0.25):
                return


def _settle(core: MiniCore, ear: Ear, *, patient: bool) -> None:
    """Until nothing more comes; `patient`: and every good tone's row is there, or it is too late.

    What is not there by then counts as lost. The control has lost rows, so it waits for none.
    """
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        before = (len(core.events()), sum(ear.good.values()))
        time.sleep(QUIET_S)
        if before != (len(core.events()), sum(ear.good.values())):
            continue
        if not (patient and unheard(own_rows(core), ear.good)):
            return


def own_rows(core: MiniCore) -> list[Event]:
    """Every row of the floor once: a row carried into a later epoch is the one it was before."""
    held = {epoch: len(rows) for (stream, epoch), rows in tuple(core.rows.items())
            if stream == "floor"}  # fmt: skip
    return [
        event for event in core.events()
        if event.o is None or event.o.seq > held.get(event.o.epoch, 0)
    ]  # fmt: skip


def unheard(rows: Iterable[Event], good: Counter[tuple[int, str]]) -> int:
    """Good tones that no pick of the same start and code stands for."""
    picked = Counter(
        (event.b, msgspec.json.decode(event.d)["sku"])
        for event in rows if event.t == "item.picked"
    )  # fmt: skip
    return sum(max(0, times - picked[tone]) for tone, times in good.items())


def missing(core: MiniCore, hello: Hello) -> dict[str, int]:
    """Rows the core holds that the agent, by its own word, has not any more: epoch -> how many.

    An epoch the agent does not name is gone as a whole: nothing in a campaign is old enough to be
    forgotten by plan.
    """
    last: dict[str, int] = {}
    for position in hello.streams:
        if position.stream == "floor":
            last |= {kept.epoch: kept.last for kept in position.kept}
            last[position.epoch] = position.next - 1
    lost = {
        epoch: len(rows) - last.get(epoch, 0)
        for (stream, epoch), rows in tuple(core.rows.items()) if stream == "floor"
    }  # fmt: skip
    return {epoch: count for epoch, count in lost.items() if count > 0}


def _forked(opened: EpochOpened, found: Outcome) -> None:
    """A journal that had to begin anew lost a row, also when its count hid that."""
    if opened.previous:
        found.missing.setdefault(opened.previous, 1)


def _begin_work(core: MiniCore, first: bool) -> None:
    if first:
        core.tell(task())


def task() -> commands.Grant:
    """One endless task: every scan of an item is a pick, a durable fact."""
    return commands.Grant(
        shipment=SHIPMENT, token=Token(1, 1), order=SHIPMENT[:-2], channel="shop",
        native_id="N-1", waybill="WBBBB1", carrier="test-express",
        label=commands.LabelText(
            carrier_name="测试快递", receiver_name="测*", receiver_phone="100******01",
            receiver_address="测试省测试市测试区****",
        ),
        lines=[commands.TaskLine(sku, UNITS, name=sku, barcodes=[sku]) for sku in SKUS],
        ship_by_ms=4_000_000_000_000, print_on="pack",
    )  # fmt: skip


def _until(true: Callable[[], Any], seconds: float, what: str, vm: Vm | None = None) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            detail = ""
            if vm is not None:
                with contextlib.suppress(Exception):
                    detail = vm.sh("journalctl -u packline-edge --no-pager | tail -20")
            raise GuestError(f"did not come: {what}\n{detail}")
        time.sleep(0.01)
