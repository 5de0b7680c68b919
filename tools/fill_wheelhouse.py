"""Fill a folder with the wheels of one program: locked versions, each with its hash.

The folder ends with `requirements-KEY.txt`, which `edge-agent install --wheelhouse FOLDER` gives to
pip with `--require-hashes --only-binary :all:`, so nothing is compiled or fetched on the target.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = {"edge": ("edge",), "core": ("cloud",)}
MACHINES = ("x86_64", "aarch64")
GLIBC_MOST = 36
"""Debian 12 has glibc 2.36: wheels made for a newer one would not load there."""


def main(given: Sequence[str] | None = None) -> int:
    """Fill the folder; 1 when something is missing from it."""
    parser = argparse.ArgumentParser(prog="tools/wheelhouse", description=__doc__)
    parser.add_argument("program", choices=sorted(EXTRAS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--for", dest="machine", choices=MACHINES, default="")
    options = parser.parse_args(given)
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    names = closure("packline", EXTRAS[options.program]) - {"packline"}
    listed = [block for name, block in locked("lock.txt") if name in names]
    missing = names - {name for name, _ in locked("lock.txt")}
    if missing:
        print(f"wheelhouse: not in the lock: {', '.join(sorted(missing))}", file=sys.stderr)
        return 1
    fetch(folder, listed, options.machine)
    listed.append(own_wheel(folder))
    whole = True
    if options.program == "edge":
        whole = add_hid(folder, listed, options.machine)
    requirements = folder / f"requirements-{options.program}.txt"
    requirements.write_text("\n".join(listed) + "\n", encoding="utf-8")
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"wheelhouse: {len(listed)} packages, {size // 1_000_000} MB in {folder}")
    return 0 if whole else 1


def closure(name: str, extras: Sequence[str]) -> set[str]:
    """Names of everything that `name[extras]` needs on Debian, as installed in this venv."""
    found: set[str] = set()
    waiting = [(name, frozenset(extras))]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        found.add(canonical(one[0]))
        for line in metadata.requires(one[0]) or []:
            requirement = Requirement(line)
            worlds = [{"extra": extra} for extra in (*one[1], "")]
            if requirement.marker is None or any(map(requirement.marker.evaluate, worlds)):
                waiting.append((requirement.name, frozenset(requirement.extras)))
    return found


def locked(name: str) -> Iterator[tuple[str, str]]:
    """Each package of a lock file with its pinned and hashed lines."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    for block in re.split(r"\n(?=\S)", text.strip()):
        yield canonical(re.split(r"[=\[; ]", block, maxsplit=1)[0]), block


def canonical(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def fetch(folder: Path, listed: Sequence[str], machine: str) -> None:
    """Wheels of the lock, checked against its hashes."""
    target = []
    if machine:
        tags = [f"manylinux_2_{minor}_{machine}" for minor in range(17, GLIBC_MOST + 1)]
        tags += [f"manylinux2014_{machine}", f"linux_{machine}"]
        target = [word for tag in tags for word in ("--platform", tag)]
        target += ["--python-version", "3.11", "--implementation", "cp"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(listed) + "\n")
        file.flush()
        pip("download", "--no-deps", "--require-hashes", "--only-binary", ":all:", *target,
            "--dest", str(folder), "--requirement", file.name)  # fmt: skip


def own_wheel(folder: Path) -> str:
    """Build packline itself; its line of the list."""
    for old in folder.glob("packline-*.whl"):
        old.unlink()
    with tempfile.TemporaryDirectory() as scratch:
        # Built from a copy: setuptools leaves folders behind where it builds.
        source = Path(scratch) / "source"
        copy_tree(source)
        pip("wheel", "--no-deps", "--no-build-isolation", "--no-index",
            "--wheel-dir", str(folder), str(source))  # fmt: skip
    return line_of(next(folder.glob("packline-*.whl")))


def copy_tree(target: Path) -> None:
    """The files that ship, as git knows them (or all of them outside a checkout)."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True, check=False,
    )  # fmt: skip
    names = [name for name in listed.stdout.decode().split("\0") if name]
    if listed.returncode != 0:
        left = {".venv", ".git", "var", "out", "build", "dist"}
        names = [
            str(path.relative_to(ROOT)) for path in ROOT.rglob("*")
            if path.is_file() and not left & set(path.relative_to(ROOT).parts)
        ]  # fmt: skip
    for name in names:
        if (ROOT / name).is_file():
            place = target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes((ROOT / name).read_bytes())


def add_hid(folder: Path, listed: list[str], machine: str) -> bool:
    """evdev comes as source: its wheel is built here, or the folder is honestly incomplete."""
    import platform

    if machine and machine != platform.machine():
        print(
            f"wheelhouse: evdev has no wheel for {machine} and cannot be built on this machine; run"
            f" tools/wheelhouse on a {machine} machine with gcc and python3-dev",
            file=sys.stderr,
        )
        return False
    for old in folder.glob("evdev-*.whl"):
        old.unlink()
    pip("wheel", "--no-deps", "--no-build-isolation", "--require-hashes",
        "--wheel-dir", str(folder),
        "--requirement", str(ROOT / "requirements" / "hid.lock.txt"))  # fmt: skip
    listed.append(line_of(next(folder.glob("evdev-*.whl"))))
    return True


def line_of(wheel: Path) -> str:
    """`name==version --hash=…` of a wheel that was built here."""
    name, version = wheel.name.split("-")[:2]
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"{canonical(name)}=={version} \\\n    --hash=sha256:{digest}"


def pip(*words: str) -> None:
    """Run this venv's pip, which knows where packages come from."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *words]
    done = subprocess.run(command, check=False)
    if done.returncode != 0:
        raise SystemExit(f"wheelhouse: pip {words[0]} failed; see the lines above")


if __name__ == "__main__":
    sys.exit(main())
