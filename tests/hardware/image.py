"""The guest: a minimal Debian with the agent installed as on a bench machine.

Packages come through this machine's own apt configuration (its sources, proxies and keys); no place
is named. The base is kept in `var/hardware`, because it is the same for days.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GUEST = Path(__file__).resolve().parent / "guest"
SUITE = "bookworm"
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "udev", "kmod", "linux-image-amd64", "python3",
    "python3-venv", "iproute2", "procps", "systemd-timesyncd",
)  # fmt: skip
ROOT_SIZE = 1800 * 1024 * 1024
DATA_SIZE = 384 * 1024 * 1024
DATA_LABEL = "packline"
DATA_FOLDER = "/var/lib/packline-edge"
AGENT, SITE = "vm01-a", "vm01"
BROKER_HOST = "10.0.2.2"
"""This machine's loopback, as QEMU's user network shows it to the guest."""
UNUSED = (
    "drivers/gpu", "drivers/media", "drivers/net/wireless", "drivers/net/ethernet", "sound",
    "drivers/infiniband", "drivers/scsi", "drivers/iio", "drivers/isdn", "drivers/staging",
    "drivers/md", "drivers/hwmon", "drivers/mtd", "drivers/bluetooth", "drivers/target",
    "net/netfilter", "net/mac80211",
)  # fmt: skip
"""Kernel modules that no bench in a virtual machine has: half of the image."""

_NETWORK = "[Match]\nName=en*\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n"
_BENCH = """[Unit]
Description=Bench around the agent
DefaultDependencies=no
After=sysinit.target

[Service]
ExecStart=/usr/bin/python3 /opt/bench/bench.py /dev/virtio-ports/bench
Restart=always

[Install]
WantedBy=multi-user.target
"""
_DISKS = """#!/bin/sh
[ "$1" = prereqs ] && exit 0
. /usr/share/initramfs-tools/hook-functions
manual_add_modules virtio_pci virtio_blk ext4 crc32c_generic
"""
_MASKED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer",
    "e2scrub_reap.service", "fstrim.timer", "getty@tty1.service", "systemd-pstore.service",
    "systemd-networkd-wait-online.service",
)  # fmt: skip


class NotFetchedError(RuntimeError):
    """What the guest is made of cannot be had here: no network, no mirror, no rights."""


@dataclass(frozen=True, slots=True)
class Image:
    """What a machine boots: kernel, its first file system, the root disk."""

    kernel: Path
    initrd: Path
    root: Path


def base_tar(folder: Path) -> Path:
    """The guest's Debian without the agent, made once per list of packages.

    Raises `NotFetchedError`.
    """
    key = hashlib.sha256(json.dumps([SUITE, PACKAGES, UNUSED]).encode()).hexdigest()[:12]
    made = folder / f"base-{key}.tar"
    if not made.exists():
        half = made.with_suffix(".half.tar")
        folders = " ".join(f"$1/lib/modules/*/kernel/{name}" for name in UNUSED)
        docs = "$1/usr/share/doc $1/usr/share/locale $1/usr/share/man $1/var/lib/apt/lists"
        try:
            run(["mmdebstrap", "--variant=minbase", "--mode=root", "--quiet",
                 f"--include={','.join(PACKAGES)}",
                 f"--customize-hook=rm -rf {folders} {docs}",
                 '--customize-hook=for k in "$1"/lib/modules/*;'
                 ' do chroot "$1" depmod ${k##*/}; done',
                 SUITE, str(half)])  # fmt: skip
        except (OSError, RuntimeError) as error:
            raise NotFetchedError(f"the guest's Debian could not be made: {error}") from error
        half.rename(made)
    return made


def build(folder: Path, wheelhouse: Path, broker_port: int, password: str, extra: str) -> Image:
    """Unpack the base, install the agent from the wheelhouse, make disk and boot files.

    `extra` is appended to the agent's settings: stations, scanners, printers.
    """
    target = folder / "root"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    run(["tar", "-C", str(target), "-xf", str(base_tar(folder))])
    with _entered(target, wheelhouse):
        inside = ["chroot", str(target), "env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp"]
        wheel = next(wheelhouse.glob("packline-*.whl")).name
        print(run([
            *inside, f"PYTHONPATH=/opt/wheelhouse/{wheel}", "python3", "-m", "edge_agent.install",
            "--wheelhouse", "/opt/wheelhouse", "--site", SITE, "--agent", AGENT,
            "--mqtt-host", BROKER_HOST, "--mqtt-port", str(broker_port),
        ]), flush=True)  # fmt: skip
        _dress(target, password, extra)
        shutil.copy(next(wheelhouse.glob("requirements-edge.txt")), target / "opt/bench")
        run([*inside, "update-initramfs", "-u"])
    return _pack(folder, target)


def _dress(target: Path, password: str, extra: str) -> None:
    """What the test bench needs beside the agent; nothing of it touches the agent's unit."""
    etc = target / "etc"
    settings = etc / "packline/edge.toml"
    settings.write_text(settings.read_text(encoding="utf-8") + extra, encoding="utf-8")
    (etc / "packline/mqtt.password").write_text(password)
    (etc / "systemd/system/default.target").unlink(missing_ok=True)
    (etc / "systemd/system/default.target").symlink_to("/lib/systemd/system/multi-user.target")
    (etc / "fstab").write_text(
        f"/dev/vda / ext4 defaults,noatime 0 0\n"
        f"LABEL={DATA_LABEL} {DATA_FOLDER} ext4 noatime,nofail,x-systemd.device-timeout=0 0 0\n"
    )
    (etc / "systemd/network/10-en.network").write_text(_NETWORK)
    (etc / "systemd/system/bench.service").write_text(_BENCH)
    (target / "opt/bench").mkdir(parents=True, exist_ok=True)
    for program in GUEST.glob("*.py"):
        shutil.copy(program, target / "opt/bench")
    (etc / "initramfs-tools/conf.d/small").write_text("MODULES=list\nCOMPRESS=lz4\nRESUME=none\n")
    hook = etc / "initramfs-tools/hooks/disks"
    hook.write_text(_DISKS)
    hook.chmod(0o755)
    wants = etc / "systemd/system/multi-user.target.wants"
    for unit in ("bench.service", "systemd-networkd.service"):
        place = "/etc" if unit == "bench.service" else "/lib"
        (wants / unit).unlink(missing_ok=True)
        (wants / unit).symlink_to(f"{place}/systemd/system/{unit}")
    for unit in _MASKED:
        masked = etc / "systemd/system" / unit
        masked.unlink(missing_ok=True)
        masked.symlink_to("/dev/null")
    run(["chroot", str(target), "passwd", "-d", "root"])


def _pack(folder: Path, target: Path) -> Image:
    boot = target / "boot"
    image = Image(folder / "vmlinuz", folder / "initrd.img", folder / "root.img")
    shutil.copy(next(iter(sorted(boot.glob("vmlinuz-*")))), image.kernel)
    shutil.copy(next(iter(sorted(boot.glob("initrd.img-*")))), image.initrd)
    image.root.unlink(missing_ok=True)
    with image.root.open("wb") as file:
        file.truncate(ROOT_SIZE)
    run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1", "-d", str(target), str(image.root)])
    shutil.rmtree(target)
    return image


def empty_data(folder: Path) -> bytearray:
    """A fresh ext4 for the journal, as the bytes of a disk."""
    path = folder / "data.img"
    with path.open("wb") as file:
        file.truncate(DATA_SIZE)
    run(["mkfs.ext4", "-q", "-F", "-L", DATA_LABEL, str(path)])
    found = bytearray(path.read_bytes())
    path.unlink()
    return found


def _entered(target: Path, wheelhouse: Path) -> ExitStack:
    """/proc, /dev and the wheelhouse inside the root; gone again at the end, also on failure."""
    stack = ExitStack()
    for source, place in (("/proc", "proc"), ("/dev", "dev"), (str(wheelhouse), "opt/wheelhouse")):
        (target / place).mkdir(exist_ok=True)
        run(["mount", "--bind", source, str(target / place)])
        stack.callback(run, ["umount", "--lazy", str(target / place)])
    return stack


def run(command: Sequence[str]) -> str:
    """Run a command; its output. Raises with what it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout
