"""Connect shop: a person sets a channel up, changes, pauses it or gives it a new secret.

`ShopDoor` is the same for HTTP and the command line. A secret that we make is returned once, by
the call that made it; nothing here ever returns a kept one. Audited in the commit of the change.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cloud_core.domain import shop_connection as terms
from cloud_core.domain.rows import Audit
from cloud_core.ports import ChannelConfig, Clock
from cloud_core.store.channel_rows import Channel, ChannelRegister
from protocols.errors import Rejected


@dataclass(frozen=True, slots=True)
class NewChannel:
    """A channel as a person asks for it; without a secret one is made."""

    name: str
    dialect: str
    title: str = ""
    app_key: str = ""
    secret: str = field(default="", repr=False)
    write_back_url: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class ChannelChange:
    """What a person wants different; None leaves as it is. `columns` replaces the mapping."""

    title: str | None = None
    app_key: str | None = None
    write_back_url: str | None = None
    columns: Mapping[str, str] | None = None
    enabled: bool | None = None


class ShopDoor:
    """Shop connections for the doors people come through."""

    def __init__(
        self,
        register: ChannelRegister,
        dialects: frozenset[str],
        column_fields: frozenset[str],
        make_secret: Callable[[], str],
        clock: Clock,
    ) -> None:
        self._register, self._dialects, self._fields = register, dialects, column_fields
        self._make_secret, self._clock = make_secret, clock

    def all(self) -> list[dict[str, Any]]:
        """Every channel by name, as `shown`."""
        return [shown(found) for found in self._register.all()]

    def one(self, name: str) -> dict[str, Any]:
        """One channel. Raises `Rejected("channel_unknown")`."""
        return shown(self._register.get(name))

    def add(self, new: NewChannel, actor: str, source: str) -> tuple[dict[str, Any], str]:
        """Keep a new channel; returns it and the secret we made, "" when one was given.

        Raises `Rejected` `channel_name`, `channel_exists`, `dialect_unknown`, `secret_short`,
        `secret_invalid`, `url_invalid`, `mapping_broken`, `text_too_long`.
        """
        terms.check_channel_name(new.name)
        self._check_dialect(new.dialect)
        secret, made = self._secret(new.secret)
        config = ChannelConfig(
            new.name, new.dialect, app_key=terms.check_app_key(new.app_key),
            columns=terms.check_columns(new.columns, self._fields),
        )  # fmt: skip
        found = Channel(
            config, (secret,), terms.check_title(new.title),
            terms.check_write_back_url(new.write_back_url), new.enabled,
        )  # fmt: skip
        self._register.add(
            found, self._audit(actor, source, "channel.added", new.name, new.dialect)
        )
        return shown(found), made

    def change(self, name: str, change: ChannelChange, actor: str, source: str) -> dict[str, Any]:
        """Change what is named, at once; returns the channel as it is now.

        Raises `Rejected` `channel_unknown`, `change_empty`, and as `add` does.
        """
        asked = [f.name for f in dataclasses.fields(change) if getattr(change, f.name) is not None]
        if not asked:
            raise Rejected(
                "change_empty", "没有要修改的内容", "nothing is to be changed", field="body"
            )
        if change.enabled is not None:  # whether it was paused or resumed belongs into the audit
            asked[asked.index("enabled")] = "resumed" if change.enabled else "paused"
        by = self._audit(actor, source, "channel.changed", name, ",".join(asked))
        return shown(self._register.change(name, lambda old: self._changed(old, change), by))

    def rotate(self, name: str, secret: str, actor: str, source: str) -> tuple[int, str]:
        """A new secret first, the one before it stays live, older ones end now.

        Returns how many are live and the secret we made, "" when one was given.
        Raises `Rejected` `channel_unknown`, `secret_short`, `secret_invalid`.
        """
        new, made = self._secret(secret)
        by = self._audit(actor, source, "channel.secret_rotated", name, "")
        return len(self._register.rotate(name, new, by)), made

    def _changed(self, old: Channel, change: ChannelChange) -> Channel:
        config, url, title = old.config, old.write_back_url, old.title
        if change.app_key is not None:
            config = dataclasses.replace(config, app_key=terms.check_app_key(change.app_key))
        if change.columns is not None:
            columns = terms.check_columns(change.columns, self._fields)
            config = dataclasses.replace(config, columns=columns)
        if change.write_back_url is not None:
            url = terms.check_write_back_url(change.write_back_url)
        if change.title is not None:
            title = terms.check_title(change.title)
        enabled = old.enabled if change.enabled is None else change.enabled
        return Channel(config, old.secrets, title, url, enabled)

    def _secret(self, given: str) -> tuple[str, str]:
        """(the secret to keep, what may be shown of it)."""
        if given:
            return terms.check_secret(given), ""
        made = self._make_secret()
        return made, made

    def _check_dialect(self, dialect: str) -> None:
        if dialect not in self._dialects:
            names = sorted(self._dialects)
            raise Rejected(
                "dialect_unknown", f"没有方言 {dialect[:40]}，可选：{'、'.join(names)}",
                f"no dialect {dialect[:40]}; one of {', '.join(names)}", field="dialect",
            )  # fmt: skip

    def _audit(self, actor: str, source: str, action: str, name: str, detail: str) -> Audit:
        return Audit(self._clock.now_ms(), actor, source, action, name, detail)


def shown(found: Channel) -> dict[str, Any]:
    """A channel as people may see it: of its secrets only how many are live."""
    return {
        "name": found.config.name, "dialect": found.config.dialect, "title": found.title,
        "app_key": found.config.app_key, "live_secrets": len(found.secrets),
        "write_back_url": found.write_back_url, "columns": dict(found.config.columns),
        "enabled": found.enabled,
    }  # fmt: skip
