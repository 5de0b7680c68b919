"""From a port to its station: settings, station cards, the adopt list; kept over a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.agent import Agent
from edge_agent.agent.scanning import ScannerDoor
from edge_agent.domain.scan_trial import TRIAL_CODE
from edge_agent.domain.scanner_roster import Listed, Present
from edge_agent.journal import scanners as bindings
from edge_agent.journal import stations
from tests.support.edge import PLAN, Floor, grant
from tests.support.edge_live import HandPrinter, ports_of

GUN = "/dev/input/by-path/platform-usb-0:1.1:1.0-event-kbd"
WIRED = "/dev/serial/by-path/platform-usb-0:1.3:1.0"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    floor, telemetry = Floor(tmp_path), Floor(tmp_path, stream="telemetry")
    floor.resynced()
    floor.tell(grant())
    made = Agent(PLAN, ports_of(floor, telemetry, HandPrinter()))
    made.floor = floor  # type: ignore[attr-defined]
    made.live.later = lambda work: work.close()  # type: ignore[method-assign]
    made.live.scanners.see("hid", (Present(GUN, "hid", "Barcode Reader"),))
    yield made
    floor.core.close()
    telemetry.core.close()


def door(agent: Agent) -> ScannerDoor:
    return agent.scanners


async def test_a_scanner_nobody_listed_is_shown_and_can_be_adopted(agent: Agent) -> None:
    followed: list[list[str]] = []
    door(agent).changed = lambda: followed.append(agent.live.scanners.used("hid"))
    assert agent.status()["unknown_scanners"] == [
        {"source": "usb-0:1.1:1.0", "port": GUN, "name": "Barcode Reader", "kind": "hid"}
    ]
    assert (await door(agent).scanned(GUN, "SKU-A")).code == "scanner_unbound"
    answer = await agent.adopt_scanner(GUN, "S1")
    assert (answer.tone, answer.text_zh) == ("ok", "扫描枪已绑定到工位 S1")
    assert followed == [[GUN]]
    assert agent.status()["unknown_scanners"] == []
    (row,) = agent.status()["scanners"]
    assert (row["source"], row["station"], row["by"]) == ("usb-0:1.1:1.0", "S1", "bench")
    assert (await door(agent).scanned(GUN, "TASK-DB2026AAAA-1")).code == "picking"


async def test_a_station_card_binds_the_scanner_that_reads_it_and_a_restart_remembers(
    agent: Agent,
) -> None:
    answer = await door(agent).scanned(GUN, "STN-S1")
    assert answer.code == "scanner_bound"
    floor: Floor = agent.floor  # type: ignore[attr-defined]
    assert floor.read(lambda db: stations.last_scans(db, 1))[0].text == answer.text_zh
    floor.restart()
    assert floor.read(bindings.everyone) == {GUN: ("hid", "S1")}
    again = Agent(PLAN, ports_of(floor, floor, HandPrinter()))
    again.scanners.recall()
    assert again.live.scanners.station_of(GUN) == "S1"
    assert again.live.scanners.used("hid") == [GUN], "before anything is plugged in"


async def test_another_card_moves_the_scanner_and_giving_it_back_frees_the_port(
    agent: Agent,
) -> None:
    agent.live.plan.stations["S2"] = "label-1"  # type: ignore[index]
    try:
        await door(agent).scanned(GUN, "STN-S1")
        assert (await door(agent).scanned(GUN, "STN-S2")).code == "scanner_bound"
        assert agent.live.scanners.station_of(GUN) == "S2"
        assert (await agent.adopt_scanner(GUN, "")).code == "scanner_free"
        assert [one["port"] for one in agent.status()["unknown_scanners"]] == [GUN]
    finally:
        del agent.live.plan.stations["S2"]  # type: ignore[attr-defined]


async def test_the_settings_come_before_any_card(agent: Agent) -> None:
    agent.live.scanners.list_([Listed("gun-1", GUN, "hid", "S1")])
    assert (await agent.adopt_scanner(GUN, "S1")).code == "scanner_fixed"
    assert (await door(agent).scanned(GUN, "STN-S9")).code == "other_station"
    assert agent.live.scanners.source_of(GUN) == "gun-1"


async def test_a_listed_scanner_without_a_station_waits_for_its_card(agent: Agent) -> None:
    agent.live.scanners.list_([Listed("gun-3", WIRED, "serial")])
    assert (await door(agent).refused(WIRED, "incomplete")).code == "scanner_unbound"
    assert (await door(agent).scanned(WIRED, "STN-S1")).code == "scanner_bound"
    floor: Floor = agent.floor  # type: ignore[attr-defined]
    assert floor.read(bindings.everyone) == {WIRED: ("serial", "S1")}


@pytest.mark.parametrize(
    ("port", "station", "code"),
    [(GUN, "S9", "station_unknown"), ("/dev/input/by-path/nobody", "S1", "scanner_unknown"),
     ("x" * 5_000, "S1", "scanner_unknown")],
)  # fmt: skip
async def test_what_cannot_be_adopted_is_named(
    agent: Agent, port: str, station: str, code: str
) -> None:
    answer = await agent.adopt_scanner(port, station)
    assert (answer.tone, answer.code) == ("error", code)
    assert agent.live.scanners.used("hid") == []


async def test_one_item_that_two_readers_saw_counts_once(agent: Agent) -> None:
    agent.live.scanners.see("hid", (Present(GUN, "hid", "a"), Present("phys:usb-2", "hid", "b")))
    for port in (GUN, "phys:usb-2"):
        await agent.adopt_scanner(port, "S1")
    await door(agent).scanned(GUN, "TASK-DB2026AAAA-1")
    first, second = await asyncio.gather(
        door(agent).scanned(GUN, "SKU-A"), door(agent).scanned("phys:usb-2", "SKU-A")
    )
    assert (first.code, second.code) == ("picked", "repeat")


async def test_a_red_screen_stays_red_when_the_packer_scans_again(agent: Agent) -> None:
    await agent.adopt_scanner(GUN, "S1")
    await door(agent).scanned(GUN, "TASK-DB2026AAAA-1")
    answers = [await door(agent).scanned(GUN, "6900000000000") for _ in range(2)]
    assert [answer.tone for answer in answers] == ["error", "error"]


async def test_the_trial_code_tells_the_bench_how_its_scanner_is_set_up(agent: Agent) -> None:
    await agent.adopt_scanner(GUN, "S1")
    assert (await door(agent).scanned(GUN, TRIAL_CODE)).code == "scanner_well"
    answer = await agent.scan("S1", TRIAL_CODE.swapcase(), "pda-1")
    assert (answer.tone, answer.code) == ("error", "scanner_case")


async def test_pitfall_23_a_misread_with_a_valid_checksum_is_an_error_and_no_record(
    agent: Agent,
) -> None:
    """One in 23 decodes of a blurred two-dot symbol gave a wrong text that its checksum passed."""
    await agent.adopt_scanner(GUN, "S1")
    await door(agent).scanned(GUN, "TASK-DB2026AAAA-1")
    floor: Floor = agent.floor  # type: ignore[attr-defined]
    before = len(floor.events())
    for misread in ('SF1,U6"OMO', "SKU-8", "WAYBILL"):
        answer = await door(agent).scanned(GUN, misread)
        assert (answer.tone, answer.light) == ("error", "red")
    assert len(floor.events()) == before


@pytest.mark.parametrize(
    "code",
    [
        "@SETUPE1",
        "@FACDEF",
        "~VSUFCR.",
        "$$%^5917069990020010F141",
        ".B030$",
        "%8001M%",
        "\x16M\rX.",
    ],
)
async def test_a_scanner_configuration_code_read_as_data_changes_nothing(
    agent: Agent, code: str
) -> None:
    """A vendor's set-up code that the scanner passes on instead of obeying: an error tone."""
    await agent.adopt_scanner(GUN, "S1")
    await door(agent).scanned(GUN, "TASK-DB2026AAAA-1")
    floor: Floor = agent.floor  # type: ignore[attr-defined]
    before = len(floor.events())
    assert (await door(agent).scanned(GUN, code)).tone == "error"
    assert len(floor.events()) == before
    assert agent.live.scanners.station_of(GUN) == "S1"
    assert (await door(agent).scanned(GUN, "SKU-A")).code == "picked"
