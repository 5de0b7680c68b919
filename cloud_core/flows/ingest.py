"""Ingest: a stored message becomes orders ready to apply: parsed, contacts sealed, ids drawn.

The HTTP door verifies and stores the raw bytes and answers; the worker prepares and applies them.
A body is parsed once: what the door parsed for its report is kept on a small shelf until the
worker comes, and parsed again only after a restart. This module must not know HTTP or SQL.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cloud_core.domain.address import detail_without_division
from cloud_core.domain.commands import (
    ApplyShopEvents,
    IncomingOrder,
    QuarantineInput,
    SealedContact,
    StoreRaw,
)
from cloud_core.domain.contact import contact_of
from cloud_core.domain.intake import ReceiverFields, make_receiver
from cloud_core.domain.rows import RawMessage
from cloud_core.domain.shop_order import Division, Parsed, Receiver, ShopEvent
from cloud_core.ports import ChannelConfig, ChannelDialect, Clock, Divide, Ids, OrderFileReader
from cloud_core.store.sealing import Sealer
from cloud_core.store.secret_box import SecretBox
from protocols.errors import Corrupt, Rejected

APPLY_MAX = 500
"""Events in one command; a file of more becomes several, the last one closes the message."""
SHELF_MESSAGES = 64
"""Parsed bodies kept for the worker; the oldest beyond it are parsed again in their turn."""


@dataclass(frozen=True, slots=True)
class Languages:
    """Who can read what: dialects by name, the file reader, the address matcher."""

    dialects: Mapping[str, ChannelDialect]
    order_file: OrderFileReader
    divide: Divide

    def dialect(self, config: ChannelConfig) -> ChannelDialect:
        """The dialect of a channel. Raises `Corrupt("dialect_unknown")`."""
        found = self.dialects.get(config.dialect)
        if found is None:
            raise Corrupt(
                "dialect_unknown",
                f"渠道 {config.name} 的方言 {config.dialect} 未安装",
                f"channel {config.name} speaks {config.dialect}, which is not installed",
                field="dialect",
            )
        return found

    def parse(self, kind: str, raw: bytes, note: str, config: ChannelConfig, at_ms: int) -> Parsed:
        """Parse a body of `kind` event or file. Raises `Rejected` when nothing is usable."""
        if kind == "file":
            return self.order_file(raw, note, config, at_ms, self.divide)
        return self.dialect(config).parse(raw, config, at_ms, self.divide)


class Ingest:
    """Turns stored messages into `ApplyShopEvents`; holds only the shelf of parsed bodies."""

    def __init__(
        self,
        languages: Languages,
        config_of: Callable[[str], ChannelConfig],
        sealer: Sealer,
        box: SecretBox,
        ids: Ids,
        clock: Clock,
    ) -> None:
        self.languages = languages
        self._config_of, self._sealer, self._box = config_of, sealer, box
        self._ids, self._clock = ids, clock
        self._shelf: OrderedDict[int, Parsed] = OrderedDict()

    def stored(
        self, channel: str, kind: str, raw: bytes, *, note: str = "", source: str = ""
    ) -> StoreRaw:
        """The command that keeps raw bytes: sealed, because they hold personal data (P12)."""
        digest = hashlib.sha256(raw).hexdigest()
        sealed = self._box.seal(_subject(channel, digest), zlib.compress(raw, 1))
        return StoreRaw(channel, kind, digest, sealed, note, source)

    def keep(self, raw_id: int, parsed: Parsed) -> None:
        """Put a parsed body on the shelf for `prepare`."""
        self._shelf[raw_id] = parsed
        if len(self._shelf) > SHELF_MESSAGES:
            self._shelf.popitem(last=False)

    def prepare(
        self, raw_id: int, message: RawMessage
    ) -> tuple[ApplyShopEvents | QuarantineInput, ...]:
        """The commands for one stored message, to be committed in order.

        At most `APPLY_MAX` events each; only the last names `raw_id` and so marks the message
        processed, so that a crash in between repeats it, with no second effect (P8). One
        `QuarantineInput` when the message cannot be parsed.
        """
        parsed = self._shelf.pop(raw_id, None)
        source = f"channel:{message.channel}"
        try:
            if parsed is None:
                config = self._config_of(message.channel)
                raw = zlib.decompress(
                    self._box.open(_subject(message.channel, message.digest), message.body)
                )
                parsed = self.languages.parse(
                    message.kind, raw, message.note, config, message.received_ms
                )
        except (Rejected, Corrupt) as error:
            # The bytes stay in the raw message, which is purged in time.
            return (QuarantineInput(source, error.code, error.field, error.zh, b"", raw_id),)
        now_ms = self._clock.now_ms()
        orders = [self._incoming(event, now_ms) for event in parsed.events]
        ends = range(APPLY_MAX, max(len(orders), 1) + APPLY_MAX, APPLY_MAX)
        return tuple(
            ApplyShopEvents(
                channel=message.channel,
                orders=tuple(orders[end - APPLY_MAX : end]),
                problems=parsed.problems if end == ends[-1] else (),
                raw_id=raw_id if end == ends[-1] else None,
                source=message.source,
            )
            for end in ends
        )

    def receiver(
        self, channel: str, native_id: str, person: tuple[str, str],
        place: tuple[str, str, str, str, str],
    ) -> tuple[SealedContact, Division]:  # fmt: skip
        """A new receiver of an order, sealed, and the official division of the place.

        `person` is (name, phone), `place` (province, city, district, town, detail). Raises
        `Rejected` as `intake.make_receiver` does, naming `receiver.…`.
        """
        division = self.languages.divide(*place)
        town, detail = place[3], detail_without_division(place[4], division)
        if town and not detail.startswith(town):
            detail = town + detail
        fields = ReceiverFields(name=person[0], phone=person[1], detail=detail)
        receiver = make_receiver(fields, prefix="receiver.")
        return self._seal(f"{channel}/{native_id}", receiver), division

    def _incoming(self, event: ShopEvent, now_ms: int) -> IncomingOrder:
        contact = None
        if event.receiver is not None:
            contact = self._seal(f"{event.channel}/{event.native_id}", event.receiver)
        order_id = self._ids.order_id(now_ms)
        return IncomingOrder(event, contact, order_id, self._ids.track_token())

    def _seal(self, subject: str, receiver: Receiver) -> SealedContact:
        """Seal a receiver, bound to (channel, native id): the one name an order has from its first
        message on, whichever of two messages that come together makes it."""
        sealed = self._sealer.seal(subject, contact_of(receiver))
        return SealedContact(
            sealed=sealed,
            key_id=self._sealer.key_id(sealed),
            name_masked=receiver.name_masked,
            phone_masked=receiver.phone_masked,
            address_masked=receiver.detail_masked,
            phone_hash=self._sealer.phone_hash(receiver.phone),
            last4_hash=self._sealer.last_digits_hash(receiver.phone),
        )


def _subject(channel: str, digest: str) -> str:
    return f"raw:{channel}:{digest}"
