"""What the doctor says of the handhelds' page, asked as a handheld asks, with and without TLS."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from edge_agent import settings
from edge_agent.bootstrap.examined import examined
from edge_agent.doctor import Door, Finding, Patient, examine, handhelds
from tests.support.certificates import certificate
from tests.unit.test_doctor import door, sound  # noqa: F401 - fixtures

FOREIGN = "198.51.100.7"
"""Of a documentation range (RFC 5737): no machine has it."""


class Answers(BaseHTTPRequestHandler):
    """A page that lets one name in."""

    def do_GET(self) -> None:
        ours = self.headers["Host"] == f"127.0.0.1:{self.server.server_address[1]}"
        self.send_response(200 if ours and self.path == "/pda" else 421)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextmanager
def page(keys: tuple[str, str] = ("", "")) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    if keys[0]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*keys)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def at(patient: Patient, port: int, name: str = "127.0.0.1",
       keys: tuple[str, str] = ("", "")) -> dict[str, Finding]:  # fmt: skip
    opened = Door("127.0.0.1", port, (name,), *keys, lambda: 2)
    seen = replace(patient, pda=opened)
    return {name: check(seen) for name, check in handhelds.CHECKS}


def test_a_page_that_opens_is_well_plain_and_over_tls(sound: Patient, tmp_path: Path) -> None:  # noqa: F811
    with page() as port:
        assert all(one.ok for one in at(sound, port).values())
    keys = certificate(tmp_path)
    with page(keys) as port:
        found = at(sound, port, keys=keys)
        assert all(one.ok for one in found.values()), found
        assert "https://" in found["pda_page"].found_zh


def test_a_page_under_another_name_or_behind_other_keys(sound: Patient, tmp_path: Path) -> None:  # noqa: F811
    with page() as port:
        assert "应答 421" in at(sound, port, "localhost")["pda_page"].found_zh
        keys = certificate(tmp_path)
        assert not at(sound, port, keys=keys)["pda_page"].ok, "the running page has no TLS"


def test_before_the_start_the_port_and_the_address_are_judged(sound: Patient) -> None:  # noqa: F811
    still = replace(sound, running=False, status=None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "不能监听" in at(still, port)["pda_page"].found_zh
    assert at(still, port)["pda_page"].ok
    foreign = at(still, port, FOREIGN)["pda_page"]
    assert "不是本机" in foreign.found_zh
    assert "pda_names" in foreign.fix_zh
    assert not at(still, port, "agent.invalid")["pda_page"].ok
    assert not at(still, 0)["pda_page"].ok


def test_each_fault_of_the_keys_is_named(sound: Patient, tmp_path: Path) -> None:  # noqa: F811
    def told(cert: str, key: str) -> str:
        found = at(sound, 1, keys=(cert, key))["pda_tls"]
        assert not found.ok
        assert found.fix_zh
        return found.found_zh

    for name in ("good", "old", "other"):
        (tmp_path / name).mkdir()
    cert, key = certificate(tmp_path / "good")
    assert "已过期" in told(*certificate(tmp_path / "old", days=30))
    other = certificate(tmp_path / "other", addresses=(FOREIGN,))
    assert FOREIGN in told(*other)
    assert "不能用" in told(cert, other[1])
    assert "读不到" in told(cert, str(tmp_path / "none.pem"))
    Path(key).chmod(0o644)
    assert "其他用户可读" in told(cert, key)


def test_a_page_that_is_off_is_no_fault_and_the_settings_reach_the_doctor(
    sound: Patient,  # noqa: F811
    tmp_path: Path,
) -> None:
    found = {one.name: one for one in examine(replace(sound, pda=None))}
    assert all(found[name].ok for name, _ in handhelds.CHECKS)
    values = {"site": "sha", "agent": "sha-1", "data_dir": str(tmp_path), "pda_enabled": True,
              "pda_names": ["127.0.0.1"], "pda_port": 8091}  # fmt: skip
    patient = examined(settings.check(values))
    assert patient.pda is not None
    assert (patient.pda.port, patient.pda.names) == (8091, ("127.0.0.1",))
    assert patient.pda.operators() == 0
    (tmp_path / "operators.json").write_text("{")
    told = {one.name: one for one in examine(patient)}["pda_operators"]
    assert "读不了工号文件" in told.found_zh
