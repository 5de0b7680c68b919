"""A venv per version ("slot") and the links `current` and `previous`: the way back is one rename.

A slot is finished when its mark exists; half a slot (power cut, full disk) is made again.
"""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

from installation.before import requirements_name
from installation.machine import Machine
from installation.program import Program, Source
from protocols.errors import Rejected

DONE = ".packline-complete"
KEPT_SLOTS = 2


def slot_name(program: Program, source: Source) -> str:
    """Version and a hash of what is installed: the same input gives the same slot."""
    if source.wheelhouse is not None:
        listed = (source.wheelhouse / requirements_name(program)).read_bytes()
        found = re.search(rb"^packline\S*==(\S+)", listed, re.MULTILINE)
        version = found[1].decode() if found else "0"
        return f"{version}-{hashlib.sha256(listed).hexdigest()[:8]}"
    assert source.wheel is not None, "checked before"
    version = source.wheel.name.split("-")[1]
    return f"{version}-{hashlib.sha256(source.wheel.read_bytes()).hexdigest()[:8]}"


def fill(machine: Machine, program: Program, source: Source) -> str:
    """Make the slot unless it is there; returns its path. Old slots are left alone."""
    slot = f"{program.home}/slots/{slot_name(program, source)}"
    if machine.at(f"{slot}/{DONE}").exists():
        machine.say(f"    = {slot}")
        return slot
    machine.remove(slot)
    # The path inside the target is what the scripts of the venv are made for.
    place = machine.at(slot)
    machine.run([sys.executable, "-m", "venv", place])
    pip: list[str | Path] = [
        place / "bin/python",
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
    ]
    machine.run([*pip, *_packages(program, source)])
    machine.run([place / "bin/python", "-c", f"import {', '.join(program.needs)}"])
    machine.run([place / "bin" / program.command, "--help"])
    machine.write(f"{slot}/{DONE}", b"")
    return slot


def _packages(program: Program, source: Source) -> list[str | Path]:
    if source.wheelhouse is not None:
        # No network, no compiler: every file is there, and is the one whose hash is listed.
        return [
            "--no-index", "--no-cache-dir", "--require-hashes", "--only-binary", ":all:",
            "--find-links", source.wheelhouse,
            "--requirement", source.wheelhouse / requirements_name(program),
        ]  # fmt: skip
    assert source.wheel is not None, "checked before"
    wanted = f"packline[{','.join(program.extras)}] @ {source.wheel.resolve().as_uri()}"
    # One package may be compiled, and what it needs was looked at before anything was changed.
    compiled = ["--no-binary", "evdev"] if "hid" in program.extras else []
    return ["--only-binary", ":all:", *compiled, wanted]


def switch(machine: Machine, program: Program, slot: str) -> None:
    """Make `slot` the one in use and remember the one before."""
    current = target_of(machine, f"{program.home}/current")
    if current == slot:
        machine.say(f"    = {program.home}/current")
        return
    if current:
        machine.point(f"{program.home}/previous", current)
    machine.point(f"{program.home}/current", slot)
    _forget_old(machine, program, {slot, current})


def back(machine: Machine, program: Program) -> str:
    """Change to the slot before; returns it. Raises `Rejected("install_no_previous")`."""
    current = target_of(machine, f"{program.home}/current")
    previous = target_of(machine, f"{program.home}/previous")
    if not previous or not machine.at(f"{previous}/{DONE}").exists():
        raise Rejected(
            "install_no_previous", "没有可退回的版本", "there is no version to go back to"
        )
    machine.point(f"{program.home}/current", previous)
    machine.point(f"{program.home}/previous", current)
    return previous


def target_of(machine: Machine, link: str) -> str:
    """Where a link points, "" when there is none."""
    path = machine.at(link)
    return str(path.readlink()) if path.is_symlink() else ""


def _forget_old(machine: Machine, program: Program, kept: set[str]) -> None:
    folder = machine.at(f"{program.home}/slots")
    if not folder.is_dir():
        return
    for one in sorted(folder.iterdir()):
        path = f"{program.home}/slots/{one.name}"
        if path not in kept:
            machine.remove(path)
