"""The words of the tracking page: headline, promise and timeline for every state."""

from __future__ import annotations

import pytest

from cloud_core.domain.tracking import Item, Parcel, Step, Tracking, page_of
from protocols.vocabulary import OrderState, ShipmentState

T0 = 1_795_226_400_000  # 2026-11-21 10:00 in China
HOUR = 3_600_000
DAY = 24 * HOUR


def parcel(state: str, *, stop: str = "", steps: tuple[Step, ...] = (), days: int = 3) -> Parcel:
    return Parcel("DB1-1", state, stop, "演示快运", "YS1", T0 + days * DAY, None, steps,
                  (Item("演示毛巾", 1),))  # fmt: skip


def tracking(*parcels: Parcel, state: str = "paid", stop: str = "") -> Tracking:
    return Tracking("DB1", "S-1", state, stop, T0, T0 + HOUR, T0 + 3 * DAY, T0 + 90 * DAY,
                    "测*甲", "100******01", "浙江省", "演示路*号", parcels, ())  # fmt: skip


@pytest.mark.parametrize("state", [state.value for state in ShipmentState])
def test_every_shipment_state_has_words(state: str) -> None:
    page = page_of(tracking(parcel(state)), T0)
    assert page.headline
    assert page.headline != "处理中"
    assert 0 <= page.parcels[0].stage <= 4


@pytest.mark.parametrize("state", [state.value for state in OrderState])
def test_every_order_state_has_words_before_there_are_parcels(state: str) -> None:
    assert page_of(tracking(state=state), T0).headline != "处理中"


def test_a_promise_is_kept_until_its_day_is_over_in_china() -> None:
    late_evening = T0 + 3 * DAY + 13 * HOUR + 59 * 60_000  # 23:59 of the promised day
    assert page_of(tracking(parcel("in_transit")), late_evening).expected == "预计 11月24日 送达"
    after_midnight = late_evening + 2 * 60_000
    page = page_of(tracking(parcel("in_transit")), after_midnight)
    assert (page.is_late, page.expected) == (True, "原预计 11月24日 送达，稍有延迟，请谅解")


def test_a_delivered_parcel_says_when() -> None:
    steps = (Step(T0 + 2 * DAY, "delivered", ""),)
    page = page_of(tracking(parcel("delivered", steps=steps)), T0 + 9 * DAY)
    assert (page.mood, page.expected) == ("done", "11月23日 10:00 已送达")
    assert not page.is_late


def test_the_slowest_live_parcel_speaks_for_the_order() -> None:
    mixed = tracking(parcel("delivered"), parcel("picking"), parcel("routed", stop="cancelled"))
    page = page_of(mixed, T0)
    assert page.headline == "2 个包裹，1 个已签收"
    assert [view.stage for view in page.parcels] == [4, 1, -1]
    assert page_of(tracking(parcel("delivered"), parcel("closed")), T0).headline == "全部包裹已签收"


@pytest.mark.parametrize(
    ("stop", "words"),
    [("requested", "订单正在取消"), ("cancelled", "订单已取消"),
     ("intercept", "订单已取消，正在拦截包裹")],
)  # fmt: skip
def test_a_stopped_order_makes_no_promise(stop: str, words: str) -> None:
    page = page_of(tracking(parcel("packed", stop="stopping"), stop=stop), T0)
    assert (page.mood, page.headline, page.expected) == ("stopped", words, "")


def test_steps_come_newest_first_and_a_carriers_own_words_win() -> None:
    steps = (Step(T0 + 5 * HOUR, "in_transit", "快件已到达杭州转运中心"),
             Step(T0 + 4 * HOUR, "handed_over", ""))  # fmt: skip
    (view,) = page_of(tracking(parcel("in_transit", steps=steps)), T0).parcels
    assert [step.text for step in view.steps] == [
        "快件已到达杭州转运中心", "包裹已交给快递公司", "订单已付款", "订单已提交",
    ]  # fmt: skip
    assert [step.is_now for step in view.steps] == [True, False, False, False]
    assert (view.steps[0].day, view.steps[0].time) == ("11月21日", "15:00")


def test_a_link_ends_at_its_time() -> None:
    assert not tracking().is_expired(T0 + 90 * DAY - 1)
    assert tracking().is_expired(T0 + 90 * DAY)
