"""Which scanner belongs to which station: by port, never by name.

Pure memory of one run: what the settings list, what people have bound (kept in the journal), and
what is plugged in now. A scanner that is neither listed nor bound is only shown, not used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["serial", "hid"]

PROBLEMS_ZH: dict[str, str] = {
    "busy": "被别的程序占用",
    "no_permission": "没有权限读取",
    "unreadable": "打不开",
}
PORT_CHARS_MAX = 200
UNKNOWN_SHOWN_MAX = 20
_SHORT = re.compile(r"usb-[0-9.:/a-z-]+$")


@dataclass(frozen=True, slots=True)
class Listed:
    """A scanner of the settings. `station` "" = bound later, on the page or by a station card."""

    source: str
    port: str
    kind: Kind
    station: str = ""


@dataclass(frozen=True, slots=True)
class Present:
    """A scanner that is plugged in. `used` when we read it; `problem` is a key of `PROBLEMS_ZH`."""

    port: str
    kind: Kind
    name: str
    used: bool = False
    problem: str = ""


class ScannerRoster:
    """Owned by the agent's loop."""

    def __init__(self) -> None:
        self._listed: dict[str, Listed] = {}
        self._bound: dict[str, tuple[Kind, str]] = {}
        self._present: dict[Kind, tuple[Present, ...]] = {}

    def list_(self, listed: Iterable[Listed]) -> None:
        """What the settings say."""
        self._listed = {one.port: one for one in listed}

    def recall(self, bound: Mapping[str, tuple[Kind, str]]) -> None:
        """What people have bound, as the journal keeps it: port -> (kind, station)."""
        self._bound = dict(bound)

    def see(self, kind: Kind, present: tuple[Present, ...]) -> None:
        """All scanners of one kind that are plugged in now."""
        self._present[kind] = present

    def bind(self, port: str, kind: Kind, station: str) -> None:
        """From now on; `station` "" forgets the port."""
        if station:
            self._bound[port] = (kind, station)
        else:
            self._bound.pop(port, None)

    def station_of(self, port: str) -> str:
        """Its station, "" when it has none. The settings come before what people bound."""
        listed = self._listed.get(port)
        if listed is not None and listed.station:
            return listed.station
        return self._bound.get(port, ("hid", ""))[1]

    def is_fixed(self, port: str) -> bool:
        """Whether the settings name its station: no card changes that."""
        listed = self._listed.get(port)
        return listed is not None and listed.station != ""

    def source_of(self, port: str) -> str:
        """The short name under which its scans are told, at most 48 characters."""
        listed = self._listed.get(port)
        if listed is not None:
            return listed.source
        short = port.rpartition("/by-path/")[2].removesuffix("-event-kbd")
        found = _SHORT.search(short)
        return (found.group() if found else short)[-48:]

    def kind_of(self, port: str) -> Kind | None:
        """What sort of scanner is or was there, None for a port nobody has seen."""
        if port in self._listed:
            return self._listed[port].kind
        if port in self._bound:
            return self._bound[port][0]
        return next((one.kind for one in self._plugged() if one.port == port), None)

    def used(self, kind: Kind) -> list[str]:
        """Ports of one kind that are read: listed or bound."""
        listed = [port for port, one in self._listed.items() if one.kind == kind]
        bound = [port for port, (is_, _) in self._bound.items() if is_ == kind]
        return list(dict.fromkeys(listed + bound))

    def unknown(self) -> list[dict[str, str]]:
        """What is plugged in and not used: the list people adopt from."""
        return [
            {"source": self.source_of(one.port), "port": one.port, "name": one.name,
             "kind": one.kind}
            for one in self._plugged()
            if one.port not in self._listed and one.port not in self._bound
        ][:UNKNOWN_SHOWN_MAX]  # fmt: skip

    def rows(self) -> list[dict[str, Any]]:
        """Every scanner that is or should be used, for people to look at."""
        plugged = {one.port: one for one in self._plugged()}
        rows = []
        for port in dict.fromkeys([*self._listed, *self._bound]):
            kind = self.kind_of(port) or "hid"
            one = plugged.get(port, Present(port, kind, ""))
            rows.append({
                **asdict(one),
                "connected": one.used,
                "source": self.source_of(port),
                "station": self.station_of(port),
                "by": "settings" if self.is_fixed(port) else "bench",
                "problem_zh": PROBLEMS_ZH.get(one.problem, ""),
            })  # fmt: skip
        return rows

    def _plugged(self) -> list[Present]:
        return [one for present in self._present.values() for one in present]
