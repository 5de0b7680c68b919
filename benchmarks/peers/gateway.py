"""thingsboard-gateway with one device that counts, as a process of its own.

Runs under the Python of the gateway's own environment: `python peer_gateway.py CONFIG.json`. Says
on standard output, a line each, the number of every event whose hand-over to the gateway's storage
came back as a success: that is what the gateway acknowledges to a device.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from thingsboard_gateway.connectors.connector import Connector
from thingsboard_gateway.gateway.entities.converted_data import ConvertedData
from thingsboard_gateway.gateway.entities.datapoint_key import DatapointKey
from thingsboard_gateway.gateway.entities.telemetry_entry import TelemetryEntry
from thingsboard_gateway.gateway.statistics.statistics_service import StatisticsService
from thingsboard_gateway.gateway.tb_gateway_service import TBGatewayService
from thingsboard_gateway.tb_utility.tb_loader import TBModuleLoader

DEVICE = "bench-1"
KEY = DatapointKey("n")
SAY_EVERY_S = 0.01


class CountingConnector(Connector):  # type: ignore[misc]
    """A device that sends 1, 2, 3, … at the rate its parent asks for on standard input."""

    def __init__(self, gateway: Any, config: dict[str, Any], _type: str) -> None:
        self._gateway, self._config = gateway, config
        self._number = int(config["first"]) - 1
        self._stopped = False

    def open(self) -> None:
        threading.Thread(target=self._obey, daemon=True).start()

    def close(self) -> None:
        self._stopped = True

    def get_id(self) -> str:
        return "counting"

    def get_name(self) -> str:
        return "counting"

    def get_type(self) -> str:
        return "counting"

    def get_config(self) -> dict[str, Any]:
        return self._config

    def is_connected(self) -> bool:
        return not self._stopped

    def is_stopped(self) -> bool:
        return self._stopped

    def on_attributes_update(self, content: Any) -> None:
        """Devices that only count have no attributes."""

    def server_side_rpc_handler(self, content: Any) -> None:
        """Nor do they obey the server."""

    def _obey(self) -> None:
        for line in sys.stdin:
            rate, seconds = json.loads(line)
            self._count(rate, seconds)
            _say("done")

    def _count(self, rate: float, seconds: float) -> None:
        start = time.monotonic()
        made, said_at = 0, start
        pending: list[int] = []
        while (now := time.monotonic()) - start < seconds:
            if rate and made >= (now - start) * rate:
                time.sleep(min(0.01, 1 / rate))
                continue
            made += 1
            self._number += 1
            if self._put(self._number):
                pending.append(self._number)
            if pending and (rate <= 1_000 or now - said_at > SAY_EVERY_S):
                _say(pending[0], pending[-1])
                pending, said_at = [], now
        if pending:
            _say(pending[0], pending[-1])

    def _put(self, number: int) -> bool:
        data = ConvertedData(device_name=DEVICE, device_type="default")
        data.add_to_telemetry(TelemetryEntry({KEY: number}, ts=int(time.time() * 1000)))
        status = self._gateway.send_to_storage(self.get_name(), self.get_id(), data)
        return getattr(status, "name", "") == "SUCCESS"


def _say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def main() -> None:
    """Run the gateway until killed."""
    TBModuleLoader.LOADED_CONNECTORS["counting" + "CountingConnector"] = CountingConnector
    for name in dir(StatisticsService):
        if name == "count_connector_message":
            setattr(StatisticsService, name, staticmethod(lambda *_a, **_k: None))
    os.chdir(Path(sys.argv[1]).parent)
    TBGatewayService(sys.argv[1])


if __name__ == "__main__":
    main()
