"""What a buyer sees of an order: pure words and dates over what the core knows.

`store.views` fills a `Tracking`, `pages.tracking` draws the `Page` made of it here. Only masked
data comes in. Dates are shown in China Standard Time (UTC+8, no daylight saving since 1991).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from cloud_core.domain.progress import ON_THE_BENCH, RANK

CHINA = timezone(timedelta(hours=8))
_WEEKDAYS = "一二三四五六日"

STAGES = ("已下单", "备货中", "已发货", "运输中", "已签收")
_STAGE_OF = {
    "created": 0, "paid": 0, "routed": 1, "offered": 1, "granted": 1, "picking": 1, "packed": 1,
    "handed_over": 2, "in_transit": 3, "out_for_delivery": 3, "delivered": 4, "closed": 4,
}  # fmt: skip
_HEADLINE = {
    "created": "等待付款",
    "paid": "付款成功，等待备货",
    "routed": "仓库准备中",
    "offered": "仓库准备中",
    "granted": "仓库已接单",
    "picking": "正在拣货",
    "packed": "已打包，等待揽收",
    "handed_over": "包裹已发出",
    "in_transit": "包裹运输中",
    "out_for_delivery": "快递员正在派送",
    "delivered": "已签收",
    "closed": "已签收",
}
REROUTED = "rerouted"
"""The step of a parcel that was taken from a bench and goes out again."""
STEP_ZH = {
    "created": "订单已提交",
    "paid": "订单已付款",
    "granted": "仓库已接单，开始备货",
    "picking": "仓库正在拣货",
    "packed": "包裹已打包完成",
    REROUTED: "正在为您重新安排发货",
    "handed_over": "包裹已交给快递公司",
    "in_transit": "包裹运输中",
    "out_for_delivery": "快递员正在派送，请保持电话畅通",
    "delivered": "包裹已签收，感谢您的购买",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One milestone; `text` replaces the usual words when it is not empty."""

    at_ms: int
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Item:
    """Units of one article in a parcel."""

    name: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Parcel:
    """One shipment of an order; `steps` in the order in which they were written down."""

    shipment_id: str
    state: str
    stop: str
    carrier: str
    waybill: str
    expected_ms: int
    handed_over_ms: int | None
    steps: tuple[Step, ...]
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Tracking:
    """An order as its tracking link shows it; every personal field is masked."""

    order_id: str
    native_id: str
    state: str
    stop: str
    created_ms: int
    paid_ms: int | None
    expected_ms: int | None
    until_ms: int | None
    name_masked: str
    phone_masked: str
    place: str
    address_masked: str
    parcels: tuple[Parcel, ...]
    items: tuple[Item, ...]

    @property
    def ordered_ms(self) -> int:
        """When the buyer ordered: we hear of it later, and never before it was paid."""
        return min(self.created_ms, self.paid_ms or self.created_ms)

    def is_expired(self, now_ms: int) -> bool:
        """Whether the link may no longer be answered."""
        return self.until_ms is not None and now_ms >= self.until_ms


@dataclass(frozen=True, slots=True)
class StepView:
    """One line of a timeline, newest first."""

    day: str
    time: str
    text: str
    code: str
    is_now: bool


@dataclass(frozen=True, slots=True)
class ParcelView:
    """One card: `expected` is a finished sentence or empty, `stage` counts from 0, -1 = stopped."""

    title: str
    headline: str
    expected: str
    is_late: bool
    stage: int
    carrier: str
    waybill: str
    steps: tuple[StepView, ...]
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """Everything the page draws, in words."""

    mood: str  # waiting | moving | done | stopped: picks colour and picture
    headline: str
    expected: str
    is_late: bool
    order_id: str
    native_id: str
    ordered_on: str
    receiver: str
    address: str
    parcels: tuple[ParcelView, ...]


def page_of(tracking: Tracking, now_ms: int) -> Page:
    """The page of an order at `now_ms`."""
    parcels = _parcels(tracking, now_ms)
    lead = _lead(tracking, parcels)
    return Page(
        mood=_mood(tracking, parcels),
        headline=lead[0],
        expected=lead[1],
        is_late=lead[2],
        order_id=tracking.order_id,
        native_id=tracking.native_id,
        ordered_on=day_time(tracking.ordered_ms),
        receiver=" ".join(part for part in (tracking.name_masked, tracking.phone_masked) if part),
        address=tracking.place + tracking.address_masked,
        parcels=parcels,
    )


def day(at_ms: int) -> str:
    """11月24日."""
    at = _at(at_ms)
    return f"{at.month}月{at.day}日"


def day_time(at_ms: int) -> str:
    """2026年11月24日 14:03."""
    at = _at(at_ms)
    return f"{at.year}年{at.month}月{at.day}日 {at:%H:%M}"


def weekday(at_ms: int) -> str:
    """周二."""
    return "周" + _WEEKDAYS[_at(at_ms).weekday()]


def _at(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(CHINA)


def _parcels(tracking: Tracking, now_ms: int) -> tuple[ParcelView, ...]:
    count = len(tracking.parcels)
    if count == 0:
        return (_before_parcels(tracking),)
    return tuple(
        _parcel(tracking, parcel, f"包裹 {number}/{count}" if count > 1 else "包裹", now_ms)
        for number, parcel in enumerate(tracking.parcels, 1)
    )


def _before_parcels(tracking: Tracking) -> ParcelView:
    stopped = tracking.stop != ""
    return ParcelView(
        title="订单",
        headline=_STOP_ZH.get(tracking.stop) or _HEADLINE.get(tracking.state, "处理中"),
        expected="" if stopped or not tracking.expected_ms else _promise(tracking.expected_ms),
        is_late=False,
        stage=-1 if stopped else _STAGE_OF.get(tracking.state, 0),
        carrier="",
        waybill="",
        steps=_timeline(tracking, ()),
        items=tracking.items,
    )


def _parcel(tracking: Tracking, parcel: Parcel, title: str, now_ms: int) -> ParcelView:
    stopped = parcel.stop in _STOP_ZH
    late = not stopped and _is_late(parcel, now_ms)
    return ParcelView(
        title=title,
        headline=_STOP_ZH.get(parcel.stop) or _HEADLINE.get(parcel.state, "处理中"),
        expected="" if stopped else _expected(parcel, late),
        is_late=late,
        stage=-1 if stopped else _STAGE_OF.get(parcel.state, 0),
        carrier=parcel.carrier,
        waybill=parcel.waybill,
        steps=_timeline(tracking, _steps_now(parcel)),
        items=parcel.items,
    )


_STOP_ZH = {
    "cancelled": "已取消",
    "stopping": "正在取消",
    "requested": "正在取消",
    "intercept": "已取消，正在拦截包裹",
}


def _expected(parcel: Parcel, late: bool) -> str:
    if _STAGE_OF.get(parcel.state, 0) == 4:
        at = [step.at_ms for step in parcel.steps if step.code == "delivered"]
        return f"{day(max(at))} {_at(max(at)):%H:%M} 已送达" if at else "已送达"
    if not parcel.expected_ms:
        return ""
    if late:
        return f"原预计 {day(parcel.expected_ms)} 送达，稍有延迟，请谅解"
    return _promise(parcel.expected_ms)


def _promise(expected_ms: int) -> str:
    return f"预计 {day(expected_ms)} 送达"


def _is_late(parcel: Parcel, now_ms: int) -> bool:
    """A promise is for a day, so it is late once that day is over in China."""
    if not parcel.expected_ms or _STAGE_OF.get(parcel.state, 0) == 4:
        return False
    return _at(now_ms).date() > _at(parcel.expected_ms).date()


def _steps_now(parcel: Parcel) -> list[Step]:
    """The steps without those of a bench that the parcel was taken from.

    A parcel that moves to another warehouse is granted, picked and packed again. Its timeline says
    once that it was moved, shows what the present bench did, and nothing its state does not bear.
    """
    last = {step.code: place for place, step in enumerate(parcel.steps)}
    begun = last.get("granted", 0)
    shown = []
    for place, step in enumerate(parcel.steps):
        again = step.code in ON_THE_BENCH or step.code == REROUTED
        if again and place < last[step.code]:
            continue
        if step.code in ON_THE_BENCH and (place < begun or RANK[step.code] > RANK[parcel.state]):
            continue
        shown.append(step)
    return shown


def _timeline(tracking: Tracking, steps: Sequence[Step]) -> tuple[StepView, ...]:
    known = [Step(tracking.ordered_ms, "created", "")]
    if tracking.paid_ms is not None and not any(step.code == "paid" for step in steps):
        known.append(Step(tracking.paid_ms, "paid", ""))
    ordered = sorted([*known, *steps], key=lambda step: step.at_ms)[::-1]
    return tuple(
        StepView(day(step.at_ms), f"{_at(step.at_ms):%H:%M}",
                 step.text or STEP_ZH.get(step.code, step.code), step.code, index == 0)
        for index, step in enumerate(ordered)
    )  # fmt: skip


def _lead(tracking: Tracking, parcels: Sequence[ParcelView]) -> tuple[str, str, bool]:
    """Headline of the whole order: its slowest live parcel speaks, and how many are done."""
    live = [parcel for parcel in parcels if parcel.stage >= 0]
    if tracking.stop or not live:
        return "订单" + (_STOP_ZH.get(tracking.stop) or "已取消"), "", False
    slowest = min(live, key=lambda parcel: parcel.stage)
    if len(live) == 1:
        return slowest.headline, slowest.expected, slowest.is_late
    done = sum(parcel.stage == 4 for parcel in live)
    if 0 < done < len(live):
        return f"{len(live)} 个包裹，{done} 个已签收", slowest.expected, slowest.is_late
    if done:
        return "全部包裹已签收", "", False
    return f"{len(live)} 个包裹，{slowest.headline}", slowest.expected, slowest.is_late


def _mood(tracking: Tracking, parcels: Sequence[ParcelView]) -> str:
    live = [parcel.stage for parcel in parcels if parcel.stage >= 0]
    if tracking.stop or not live:
        return "stopped"
    if min(live) == 4:
        return "done"
    return "moving" if max(live) >= 2 else "waiting"
