"""The machine that is installed on: files under a root, commands, and a dry run that only tells.

Every change goes through one `Machine`, so that `--dry-run` shows all of them and changes none.
"""

from __future__ import annotations

import grp
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from protocols.errors import Unavailable

COMMAND_S = 1_800
"""Time limit of one command; filling a venv on a slow card takes minutes."""
_TAIL_LINES = 12


def say_aloud(text: str) -> None:
    """One line to the person at the terminal, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def own_environment(given: Mapping[str, str]) -> dict[str, str]:
    """Without PYTHON…: a slot that is tried must not find our own wheel instead of its packages."""
    return {name: value for name, value in given.items() if not name.startswith("PYTHON")}


@dataclass(slots=True)
class Machine:
    """`root`: where "/" is (another folder for images and tests). `dry`: tell, change nothing."""

    root: Path = Path("/")
    dry: bool = False
    say: Callable[[str], None] = say_aloud
    environment: Mapping[str, str] = field(default_factory=lambda: own_environment(os.environ))

    @property
    def is_live(self) -> bool:
        """Whether this is a running system with systemd, not an image or a chroot."""
        return self.root == Path("/") and Path("/run/systemd/system").is_dir()

    def at(self, path: str) -> Path:
        """An absolute path of the target as a path of this process."""
        return self.root / path.lstrip("/")

    def run(self, command: Sequence[str | Path]) -> str:
        """Run one command; its output. Raises `Unavailable("install_command")` when it fails."""
        words = [str(word) for word in command]
        shown = shlex.join(words)
        if self.dry:
            self.say(f"    $ {shown}")
            return ""
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, timeout=COMMAND_S, check=False,
                env=dict(self.environment), stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _failed(shown, str(error)) from error
        if done.returncode != 0:
            tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-_TAIL_LINES:])
            raise _failed(shown, f"{done.returncode}\n{tail}")
        return done.stdout

    def tell(self, command: Sequence[str | Path], limit_s: float) -> None:
        """Run one command and say what it says; its failure is told and nothing more."""
        words = [str(word) for word in command]
        if self.dry:
            self.say(f"    $ {shlex.join(words)}")
            return
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, timeout=limit_s, check=False,
                env=dict(self.environment), stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            self.say(f"    （{shlex.join(words)}：{error}）")
            return
        for line in (done.stdout + done.stderr).strip().splitlines()[-_TAIL_LINES:]:
            self.say(f"    {line}")

    def run_if_live(self, command: Sequence[str | Path], later_zh: str) -> None:
        """A command that needs the running system; on an image it is said what happens instead."""
        if self.is_live or self.dry:
            self.run(command)
        else:
            self.say(f"    （系统未运行：{later_zh}）")

    def write(self, path: str, data: bytes, mode: int = 0o644, group: str = "") -> bool:
        """Write a whole file by rename; whether it changed. Owned by root, and `group` if named."""
        target = self.at(path)
        try:
            same = target.read_bytes() == data and target.stat().st_mode & 0o777 == mode
        except OSError:
            same = False
        if same:
            self.say(f"    = {path}")
            return False
        self.say(f"    + {path} ({mode:04o}{' root:' + group if group else ''})")
        if self.dry:
            return True
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_name(f".{target.name}.new")
        with new.open("wb") as file:
            os.fchmod(file.fileno(), mode)
            if group and self.root == Path("/"):
                os.fchown(file.fileno(), 0, grp.getgrnam(group).gr_gid)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(target)
        return True

    def point(self, path: str, target: str) -> None:
        """Make `path` a symbolic link to `target`, in one rename."""
        self.say(f"    + {path} -> {target}")
        if self.dry:
            return
        link = self.at(path)
        link.parent.mkdir(parents=True, exist_ok=True)
        new = link.with_name(f".{link.name}.new")
        new.unlink(missing_ok=True)
        new.symlink_to(target)
        new.replace(link)

    def remove(self, path: str) -> None:
        """Take a file, a link or a whole folder away; one that is not there is fine."""
        target = self.at(path)
        if not (target.exists() or target.is_symlink()):
            return
        self.say(f"    - {path}")
        if self.dry:
            return
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink()


def _failed(shown: str, why: str) -> Unavailable:
    return Unavailable(
        "install_command", f"命令失败：{shown}\n{why}", f"command failed: {shown}: {why}"
    )
