"""One virtual machine: QEMU as a child, its QMP, the bench inside it, its serial scanner.

There is never more than one. `kill` is the power switch.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.hardware.image import Image

MEMORY_MB = 512
START_S = 30.0


class GuestError(RuntimeError):
    """The bench inside the machine could not do what it was asked."""


@dataclass(slots=True)
class Setup:
    """How machines are started; the folder holds sockets and logs."""

    image: Image
    folder: Path
    accel: tuple[str, ...]
    overlay: Path
    disk: Path | None = None
    """Socket of the data disk's NBD server."""
    rtc: str = "utc"
    usb_gun: bool = True
    """The serial scanner on USB; a machine that is frozen has it on RS-232 (`/dev/ttyS1`), because
    QEMU cannot save its USB adapter."""


@dataclass(slots=True)
class Vm:
    """A running machine."""

    process: subprocess.Popen[bytes]
    folder: Path
    _qmp: Any = None
    _bench: Any = None
    _gun: socket.socket | None = None
    started: float = field(default_factory=time.monotonic)

    def kill(self) -> None:
        """The power goes off."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)
        for one in (self._qmp, self._bench, self._gun):
            if one is not None:
                with contextlib.suppress(OSError):
                    one.close()
        self._qmp = self._bench = self._gun = None

    def qmp(self, command: str, **arguments: Any) -> Any:
        """One QMP command; its answer."""
        if self._qmp is None:
            self._qmp = _connect(self.folder / "qmp.sock", self.process).makefile("rwb")
            self._qmp.readline()
            self._send_qmp("qmp_capabilities", {})
        return self._send_qmp(command, arguments)

    def _send_qmp(self, command: str, arguments: dict[str, Any]) -> Any:
        request = {"execute": command, "arguments": arguments}
        self._qmp.write(json.dumps(request).encode() + b"\n")
        self._qmp.flush()
        while True:
            answer = json.loads(self._qmp.readline())
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise GuestError(f"{command}: {answer['error']}")

    def bench(self, verb: str, timeout_s: float = 120.0, **request: Any) -> dict[str, Any]:
        """Ask the bench inside; waits for its answer."""
        if self._bench is None:
            sock = _connect(self.folder / "bench.sock", self.process)
            self._bench = sock.makefile("rwb")
            self._sock = sock
        self._sock.settimeout(timeout_s)
        self._bench.write(json.dumps({"verb": verb, **request}).encode() + b"\n")
        self._bench.flush()
        line = self._bench.readline()
        if not line:
            raise GuestError("the machine is gone")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise GuestError(f"{verb}: {answer['error']}")
        return answer

    _sock: Any = None

    def sh(self, command: str, timeout_s: float = 120.0) -> str:
        """A shell command as root inside; its output. Raises when it fails."""
        answer = self.bench("run", timeout_s=timeout_s + 5, command=command, timeout=timeout_s)
        if answer["status"] != 0:
            raise GuestError(f"{command}: {answer['status']} {answer['out']}{answer['err']}")
        return str(answer["out"])

    def gun(self, data: bytes) -> None:
        """Bytes out of the serial scanner."""
        if self._gun is None:
            self._gun = _connect(self.folder / "gun.sock", self.process)
        self._gun.sendall(data)

    def log(self) -> str:
        """What the machine wrote on its console."""
        path = self.folder / "console.log"
        return path.read_text(errors="replace") if path.exists() else ""


def start(setup: Setup, *more: str, snapshot: bool = False) -> Vm:
    """Switch a machine on. `snapshot`: its root disk forgets everything at the end."""
    folder = setup.folder
    for name in ("qmp", "bench", "gun"):
        (folder / f"{name}.sock").unlink(missing_ok=True)
    command = [*_command(setup, snapshot=snapshot), *more]
    with (folder / "qemu.log").open("ab") as log:
        process = subprocess.Popen(
            ["nice", *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    return Vm(process, folder)


def _command(setup: Setup, *, snapshot: bool) -> Sequence[str]:
    folder = setup.folder
    kept = "on" if snapshot else "off"
    command = [
        "qemu-system-x86_64", *setup.accel, "-machine", "q35,i8042=off", "-m", str(MEMORY_MB),
        "-smp", "1", "-display", "none", "-nodefaults", "-no-reboot", "-no-user-config",
        "-rtc", f"base={setup.rtc}",
        "-kernel", str(setup.image.kernel), "-initrd", str(setup.image.initrd),
        "-append", "root=/dev/vda rw console=ttyS0 quiet panic=-1 mitigations=off",
        "-drive", f"file={setup.overlay},format=qcow2,if=virtio,snapshot={kept},cache=unsafe",
        "-device", "qemu-xhci,id=x", "-device", "virtio-rng-pci",
        "-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n,romfile=",
        "-device", "virtio-serial-pci",
        "-chardev", f"socket,id=bench,path={folder}/bench.sock,server=on,wait=off",
        "-device", "virtserialport,chardev=bench,name=bench",
        "-chardev", f"socket,id=gun,path={folder}/gun.sock,server=on,wait=off",
        "-qmp", f"unix:{folder}/qmp.sock,server=on,wait=off",
        "-serial", f"file:{folder}/console.log",
    ]  # fmt: skip
    if setup.usb_gun:
        command += ["-device", "usb-serial,chardev=gun,bus=x.0,port=1,always-plugged=on"]
    else:
        command += ["-serial", "chardev:gun"]
    if setup.disk is not None:
        drive = f"file.driver=nbd,file.server.type=unix,file.server.path={setup.disk}"
        command += ["-drive", f"{drive},format=raw,if=virtio,cache=none"]
    return command


def overlay(image: Image, path: Path) -> Path:
    """A fresh root disk over the image."""
    path.unlink(missing_ok=True)
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(image.root), str(path)],
        check=True,
    )  # fmt: skip
    return path


def chosen_accel(image: Image) -> tuple[str, ...]:
    """KVM where a kernel really boots with it, else QEMU's own processor.

    /dev/kvm alone proves nothing: under some hypervisors it exists and guests hang.
    """
    emulated = ("-accel", "tcg", "-cpu", "max")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return emulated
    wanted = ("-accel", "kvm", "-cpu", "host")
    probe = [
        "qemu-system-x86_64", *wanted, "-machine", "q35", "-m", "256", "-display", "none",
        "-nodefaults", "-no-reboot", "-kernel", str(image.kernel), "-initrd", str(image.initrd),
        "-append", "console=ttyS0 panic=-1", "-serial", "stdio",
    ]  # fmt: skip
    try:
        done = subprocess.run(probe, stdin=subprocess.DEVNULL, capture_output=True, timeout=10)
        said = done.stdout
    except subprocess.TimeoutExpired as late:
        said = late.stdout or b""
    return wanted if b"Linux version" in said else emulated


def _connect(path: Path, process: subprocess.Popen[bytes]) -> socket.socket:
    deadline = time.monotonic() + START_S
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(str(path))
            return sock
        except OSError:
            sock.close()
            if process.poll() is not None or time.monotonic() > deadline:
                raise GuestError(f"QEMU is not there: {path.name}") from None
            time.sleep(0.02)
