"""Notify door: a person adds, lists, tests or removes who is told; the same for HTTP and CLI.

What is secret (address, signing secret, phones) goes in and never comes out again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cloud_core.domain import notice as terms
from cloud_core.domain.rows import Audit
from cloud_core.ports import Clock, Notification, Notifier, NotifyTarget
from cloud_core.store.notify_rows import Ear, NoticeReads, TargetRegister
from protocols.errors import Rejected


@dataclass(frozen=True, slots=True)
class NewTarget:
    """A target as a person asks for it; empty filters hear of everything."""

    name: str
    kind: str
    url: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    mobiles: Sequence[str] = field(default=(), repr=False)
    style: str = "markdown"
    kinds: Sequence[str] = ()
    warehouses: Sequence[str] = ()


class NotifyDoor:
    """Targets for the doors people come through."""

    def __init__(
        self,
        register: TargetRegister,
        reads: NoticeReads,
        notifiers: Mapping[str, Notifier],
        clock: Clock,
    ) -> None:
        self._register, self._reads = register, reads
        self._notifiers, self._clock = notifiers, clock

    def all(self) -> list[dict[str, Any]]:
        """Every target by name, with how many notices wait for it."""
        waiting = self._reads.waiting()
        return [
            {**dataclasses.asdict(found), "waiting": waiting.get(found.name, 0)}
            for found in self._register.all()
        ]

    def add(self, new: NewTarget, actor: str, source: str) -> dict[str, Any]:
        """Keep a new target.

        Raises `Rejected` `notify_name`, `notify_kind`, `notify_url`, `notify_secret`,
        `notify_style`, `notify_mobile`, `notify_filter`, `notify_exists`.
        """
        kind = terms.check_target_kind(new.kind)
        target = NotifyTarget(
            terms.check_target_name(new.name), kind, terms.check_target_url(kind, new.url),
            terms.check_target_secret(kind, new.secret), terms.check_mobiles(new.mobiles),
            terms.check_style(new.style),
        )  # fmt: skip
        kinds, warehouses = terms.check_filters(new.kinds, new.warehouses)
        unknown = self._register.unknown_warehouse(warehouses)
        if unknown:
            raise Rejected("notify_filter", f"没有仓库 {unknown}", f"no warehouse {unknown}",
                           field="warehouses")  # fmt: skip
        by = self._audit(actor, source, "notify.added", target.name, kind)
        shown = terms.shown_url(target.url)
        self._register.add(target, Ear(target.name, kinds, warehouses), shown, by)
        return next(row for row in self.all() if row["name"] == target.name)

    def remove(self, name: str, actor: str, source: str) -> None:
        """Forget a target. Raises `Rejected("notify_unknown")`."""
        self._register.remove(name, self._audit(actor, source, "notify.removed", name, ""))

    async def test(self, name: str) -> dict[str, Any]:
        """Send one test message now, past the queue. Raises `Rejected("notify_unknown")`."""
        target, now_ms = self._register.get(name), self._clock.now_ms()
        message = Notification(
            f"test:{now_ms}@{name}", "test", "", "Packline 通知测试",
            "这是一条测试消息，收到即表示配置正确。", now_ms,
        )  # fmt: skip
        answer = await self._notifiers[target.kind].send(target, message)
        return {"name": name, "done": answer.done, "answer": answer.text}

    def _audit(self, actor: str, source: str, action: str, name: str, detail: str) -> Audit:
        return Audit(self._clock.now_ms(), actor, source, action, name, detail)
