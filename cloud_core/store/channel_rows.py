"""Shop connections: their configuration and sealed secrets, one row each.

A channel is one row of configuration beside one dialect folder. Clear secrets leave this module
only inside a `Channel` value, which never prints them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
from sqlalchemy import Engine, Row, insert, select, update

from cloud_core.domain.rows import Audit
from cloud_core.domain.signing import MAX_LIVE_SECRETS
from cloud_core.ports import ChannelConfig
from cloud_core.store.access import write_audit
from cloud_core.store.engine import changing, reading
from cloud_core.store.schema import channel
from cloud_core.store.secret_box import SecretBox
from protocols.errors import Corrupt, Rejected


@dataclass(frozen=True, slots=True)
class Channel:
    """One shop connection, ready to verify, parse and write back with."""

    config: ChannelConfig
    secrets: tuple[str, ...] = field(repr=False)
    title: str
    write_back_url: str
    enabled: bool


class _Options(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    app_key: str = ""
    tolerance_s: int = 300
    zone_minutes: int = 480
    columns: dict[str, str] = {}


class ChannelRegister:
    """Channels in the database; reads are one indexed look-up, so nothing is cached."""

    def __init__(self, engine: Engine, box: SecretBox) -> None:
        self._engine, self._box = engine, box
        self._known: set[str] = set()

    def get(self, name: str) -> Channel:
        """The channel called `name`. Raises `Rejected("channel_unknown")`."""
        with reading(self._engine) as connection:
            row = connection.execute(select(channel).where(channel.c.id == name)).first()
        if row is None:
            raise _unknown(name)
        return self._channel(row)

    def all(self) -> list[Channel]:
        """Every channel, by name."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(channel).order_by(channel.c.id)).all()
        return [self._channel(row) for row in rows]

    def check_known(self, name: str, field: str) -> None:
        """Raises `Rejected("channel_unknown")` with `field`; a channel once made is not removed."""
        if name in self._known:
            return
        with reading(self._engine) as connection:
            if connection.execute(select(channel.c.id).where(channel.c.id == name)).first() is None:
                raise Rejected(
                    "channel_unknown", f"没有渠道 {name}", f"there is no channel {name}",
                    field=field,
                )  # fmt: skip
        self._known.add(name)

    def add(self, found: Channel, by: Audit) -> None:
        """Keep a new channel. Raises `Rejected("channel_exists")`."""
        name = found.config.name
        with changing(self._engine) as connection:
            if connection.execute(select(channel.c.id).where(channel.c.id == name)).first():
                raise Rejected(
                    "channel_exists", f"渠道 {name} 已存在", f"channel {name} exists",
                    field="channel",
                )  # fmt: skip
            row = {
                "id": name, "dialect": found.config.dialect, "name": found.title,
                "config": _options_text(found.config),
                "secrets": self._seal(name, found.secrets),
                "write_back_url": found.write_back_url, "enabled": int(found.enabled),
            }  # fmt: skip
            connection.execute(insert(channel), row)
            write_audit(connection, [by])

    def change(self, name: str, alter: Callable[[Channel], Channel], by: Audit) -> Channel:
        """Keep what `alter` makes of the channel, but for its name, dialect and secrets.

        Read and written in one transaction. Raises `Rejected("channel_unknown")` and what `alter`
        raises.
        """
        with changing(self._engine) as connection:
            row = connection.execute(select(channel).where(channel.c.id == name)).first()
            if row is None:
                raise _unknown(name)
            found = alter(self._channel(row))
            values = {
                "name": found.title, "config": _options_text(found.config),
                "write_back_url": found.write_back_url, "enabled": int(found.enabled),
            }  # fmt: skip
            connection.execute(update(channel).where(channel.c.id == name).values(values))
            write_audit(connection, [by])
        return found

    def rotate(self, name: str, secret: str, by: Audit) -> tuple[str, ...]:
        """Put a new secret first and keep the one before it live; older ones end now.

        Returns the live secrets. Raises `Rejected("channel_unknown")`.
        """
        with changing(self._engine) as connection:
            row = connection.execute(select(channel).where(channel.c.id == name)).first()
            if row is None:
                raise _unknown(name)
            live = (secret, *self._open(name, row.secrets))[:MAX_LIVE_SECRETS]
            sealed = self._seal(name, live)
            connection.execute(update(channel).where(channel.c.id == name).values(secrets=sealed))
            write_audit(connection, [by])
        return live

    def _seal(self, name: str, live: Sequence[str]) -> bytes:
        return self._box.seal(f"channel:{name}", msgspec.json.encode(list(live)))

    def _open(self, name: str, sealed: bytes) -> tuple[str, ...]:
        plain = self._box.open(f"channel:{name}", sealed)
        return tuple(msgspec.json.decode(plain, type=list[str]))

    def _channel(self, row: Row[tuple[object, ...]]) -> Channel:
        try:
            options = msgspec.json.decode(row.config, type=_Options)
        except msgspec.DecodeError as error:
            raise Corrupt(
                "channel_config_broken",
                f"渠道 {row.id} 的配置无法读取",
                f"the configuration of channel {row.id} cannot be read: {error}",
                field="config",
            ) from error
        config = ChannelConfig(
            row.id, row.dialect, options.app_key, options.tolerance_s, options.zone_minutes,
            options.columns,
        )  # fmt: skip
        secrets = self._open(row.id, row.secrets)
        return Channel(config, secrets, row.name, row.write_back_url, bool(row.enabled))


def _options_text(config: ChannelConfig) -> str:
    options = _Options(
        config.app_key, config.tolerance_s, config.zone_minutes, dict(config.columns)
    )
    return msgspec.json.encode(options).decode()


def _unknown(name: str) -> Rejected:
    return Rejected(
        "channel_unknown", f"没有渠道 {name}", f"there is no channel {name}", field="channel"
    )
