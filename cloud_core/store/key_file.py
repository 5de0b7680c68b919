"""The master key file: made once by `cloud-core init`, read by everything that seals or opens.

TOML with one 32-byte key per id, the id that seals now, and the look-up key of phone hashes.
The file is 0600 and refused when others can read it. It must not know what is sealed.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from protocols.errors import Corrupt, Unavailable

KEY_BYTES = 32
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class MasterKeys:
    """Keys by id (32 bytes each), the id that seals now, the look-up key."""

    keys: dict[str, bytes] = field(repr=False)
    current: str
    lookup: bytes = field(repr=False)


def create(path: Path, random_bytes: Callable[[int], bytes]) -> None:
    """Write a new key file, readable by its owner only. Raises `FileExistsError` if there is one:
    losing a key makes everything it sealed unreadable for good."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = (
        "# Packline 主密钥：丢失后联系人和渠道密钥永远无法解密。请离线备份，切勿外传。\n"
        "# Master key: without it sealed contacts and channel secrets are lost. Keep a copy.\n"
        'current = "k1"\n'
        f'lookup = "{random_bytes(KEY_BYTES).hex()}"\n'
        "[keys]\n"
        f'k1 = "{random_bytes(KEY_BYTES).hex()}"\n'
    )
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def load(path: Path) -> MasterKeys:
    """Read a key file.

    Raises `Unavailable` `master_key_missing` or `master_key_exposed` (readable by others), and
    `Corrupt("master_key_broken")`.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise Unavailable(
            "master_key_missing",
            f"找不到主密钥文件 {path}，请先运行 cloud-core init",
            f"no master key file {path}; run cloud-core init",
            field="master_key_file",
        ) from error
    if mode & _OTHERS:
        raise Unavailable(
            "master_key_exposed",
            f"主密钥文件 {path} 能被其他用户读取，请执行 chmod 600",
            f"the master key file {path} can be read by others; chmod 600 it",
            field="master_key_file",
        )
    return _parse(path, text)


def _parse(path: Path, text: str) -> MasterKeys:
    try:
        values = tomllib.loads(text)
        keys = {name: bytes.fromhex(value) for name, value in values["keys"].items()}
        found = MasterKeys(keys, values["current"], bytes.fromhex(values["lookup"]))
    except (tomllib.TOMLDecodeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise _broken(path) from error
    if found.current not in keys or any(len(key) != KEY_BYTES for key in keys.values()):
        raise _broken(path)
    if len(found.lookup) < KEY_BYTES:
        raise _broken(path)
    return found


def _broken(path: Path) -> Corrupt:
    return Corrupt(
        "master_key_broken",
        f"主密钥文件 {path} 内容有误，请从备份恢复",
        f"the master key file {path} is damaged; restore it from its copy",
        field="master_key_file",
    )
