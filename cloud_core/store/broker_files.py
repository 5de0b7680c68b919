"""Stores the broker's files: configuration, rights, passwords, and the secrets they came from.

Every file is written whole, 0600, and put in place by one rename, so that a broker that reloads
never reads half a file. What stands in them is decided in `domain/broker_access.py`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from cloud_core.domain import broker_access
from cloud_core.domain.broker_access import BrokerAccess, Listener
from protocols.errors import Corrupt


def write_nats(directory: Path, access: BrokerAccess, listener: Listener) -> Path:
    """Write `nats.conf` (and make `jetstream/`) below `directory`; return its path."""
    store = _private(directory.absolute() / "jetstream")
    conf = directory.absolute() / "nats.conf"
    _put(conf, broker_access.nats_conf(access, listener, str(store)))
    return conf


def write_mosquitto(
    directory: Path,
    access: BrokerAccess,
    listener: Listener,
    random_bytes: Callable[[int], bytes],
    run_as: str = "",
) -> Path:
    """Write `mosquitto.conf`, `acl`, `passwords` (and make `data/`); return the first's path.

    `random_bytes(n)` makes the salts. `run_as`: the account mosquitto drops to if it is started as
    root; it must own `directory`.
    """
    here = directory.absolute()
    _private(here / "data")
    _put(here / "acl", broker_access.mosquitto_acl(access))
    _put(here / "passwords", broker_access.mosquitto_passwords(access, random_bytes))
    conf = here / "mosquitto.conf"
    _put(conf, broker_access.mosquitto_conf(listener, str(here), run_as))
    return conf


def keep_secrets(path: Path, users: Iterable[str], make: Callable[[], str]) -> dict[str, str]:
    """The secret of each of `users`: those in the file at `path` stay, new ones are made.

    Users that are no longer listed lose theirs. Raises `Corrupt("secrets_broken")`.
    """
    known: dict[str, str] = {}
    if path.exists():
        try:
            known = dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise Corrupt(
                "secrets_broken", f"密码文件 {path} 内容有误", f"{path} is damaged"
            ) from error
    secrets = {user: known.get(user) or make() for user in users}
    if secrets != known:
        _private(path.parent)
        _put(path, json.dumps(secrets, indent=2, sort_keys=True) + "\n")
    return secrets


def write_secret(path: Path, secret: str) -> None:
    """Write one secret as the only line of a file for the program that logs in with it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _put(path, secret + "\n")


def _private(directory: Path) -> Path:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def _put(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
