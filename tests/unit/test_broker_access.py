"""The broker files say exactly who may do what, and nothing can be smuggled into them."""

from __future__ import annotations

import base64
import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_core.domain import broker_access
from cloud_core.domain.broker_access import BrokerAccess, BrokerAgent, Listener, Tls
from cloud_core.store import broker_files
from protocols.errors import Corrupt, PacklineError, Rejected

SECRET = "a-secret-of-forty-three-characters-in-a-test"
BCRYPT = "$2a$11$" + "A" * 53
ACCESS = BrokerAccess(SECRET, (BrokerAgent("hz-01", "bench-1", SECRET),))
HERE = Listener("127.0.0.1", 1883)
REFERENCE = Path(__file__).parents[2] / "firmware_configs" / "broker"
FOLDER = "/etc/packline/broker"
KNOWN_HASH = (
    "$7$101$smvjYnsIqQgv8+G0$gHsWJHhD/lDJxvpUEqkzWwpj+G/m0XdHbEOB"
    "2nmKQHF7xfTtQBXJscJTA2Uu5TqydJWEc82IzSRa5tf7Zl8z+w=="
)
TLS = Tls(f"{FOLDER}/server.pem", f"{FOLDER}/server.key", f"{FOLDER}/ca.pem")


def test_nats_rights_of_an_agent() -> None:
    conf = broker_access.nats_conf(ACCESS, HERE, "/var/lib/js")
    (line,) = [line for line in conf.splitlines() if '"bench-1"' in line]
    assert 'publish: { allow: ["v1.hz-01.bench-1.up.>"] }' in line
    reads = ["v1.hz-01.bench-1.dn", "v1.hz-01.bench-1.dn.>", "v1.core.st"]
    assert f"subscribe: {{ allow: {json.dumps(reads)} }}" in line
    assert 'allowed_connection_types: ["MQTT"]' in line


def test_mosquitto_rights_of_an_agent() -> None:
    blocks = broker_access.mosquitto_acl(ACCESS).split("\n\n")
    assert blocks[0] == "user core\ntopic readwrite v1/#"
    assert blocks[1].splitlines() == [
        "user bench-1",
        "topic write v1/hz-01/bench-1/up/#",
        "topic read v1/hz-01/bench-1/dn/#",
        "topic read v1/core/st",
    ]


def test_the_settings_that_protect_are_on() -> None:
    lines = broker_access.mosquitto_conf(HERE, "/d").splitlines()
    for line in (
        "allow_anonymous false", "use_username_as_clientid true", "set_tcp_nodelay true",
        "password_file /d/passwords", "acl_file /d/acl", "max_queued_messages 100000",
    ):  # fmt: skip
        assert line in lines
    assert "max_queued_messages 0" not in lines


def test_a_mosquitto_hash_is_the_one_mosquitto_passwd_writes() -> None:
    """Made with `mosquitto_passwd -b` of mosquitto 2.0.11, then checked here."""
    written = KNOWN_HASH
    salt = written.split("$")[3]
    assert (
        broker_access.mosquitto_hash("a-known-secret-for-a-test", base64.b64decode(salt)) == written
    )
    assert broker_access.mosquitto_hash(written, b"ignored") == written


def test_plain_secrets_do_not_stand_in_the_password_file() -> None:
    text = broker_access.mosquitto_passwords(ACCESS, lambda count: b"s" * count)
    assert SECRET not in text
    assert [line.split(":")[0] for line in text.splitlines()] == ["core", "bench-1"]


def test_a_bcrypt_hash_goes_to_nats_as_it_is() -> None:
    conf = broker_access.nats_conf(replace(ACCESS, core_secret=BCRYPT), HERE, "/js")
    assert json.dumps(BCRYPT) in conf


def test_a_secret_does_not_show_in_a_representation() -> None:
    assert SECRET not in repr(ACCESS)


@pytest.mark.parametrize(
    ("site", "agent", "field"),
    [
        ("hz-01", "core", "agent"), ("core", "bench-1", "site"), ("hz-01", "+", "agent"),
        ("#", "bench-1", "site"), ("hz-01", ">", "agent"), ("hz.01", "bench-1", "site"),
        ("hz-01", "a\nuser core", "agent"), ("hz-01", "a\n", "agent"), ("hz-01", "", "agent"),
        ("hz-01", "%u", "agent"), ("hz-01", "Bench", "agent"), ("hz 01", "bench-1", "site"),
    ],
)  # fmt: skip
def test_an_id_that_could_widen_rights_is_refused(site: str, agent: str, field: str) -> None:
    access = replace(ACCESS, agents=(BrokerAgent(site, agent, SECRET),))
    with pytest.raises(Corrupt) as caught:
        broker_access.nats_conf(access, HERE, "/js")
    assert caught.value.field == field
    with pytest.raises(Corrupt):
        broker_access.mosquitto_acl(access)


@pytest.mark.parametrize(
    "secret",
    ["", "short", 'x"} , { user: "root"' + "y" * 20, "with\nnewline" + "z" * 20, "密" * 30],
)
def test_a_weak_or_crafted_secret_is_refused(secret: str) -> None:
    access = replace(ACCESS, agents=(BrokerAgent("hz-01", "bench-1", secret),))
    with pytest.raises(Rejected) as caught:
        broker_access.nats_conf(access, HERE, "/js")
    assert (caught.value.code, caught.value.field) == ("secret_shape", "secret")


def test_an_agent_listed_twice_is_refused() -> None:
    access = replace(ACCESS, agents=(*ACCESS.agents, BrokerAgent("sh-02", "bench-1", SECRET)))
    with pytest.raises(Rejected, match="agent_repeated"):
        broker_access.mosquitto_acl(access)


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_no_input_adds_a_line_to_the_rights(site: str, agent: str, secret: str) -> None:
    access = replace(ACCESS, agents=(BrokerAgent(site, agent, secret),))
    try:
        acl = broker_access.mosquitto_acl(access)
    except PacklineError:
        return
    assert len(acl.splitlines()) == 7


# --- the files ---------------------------------------------------------------------------------


def test_files_are_private_and_replaced_whole(tmp_path: Path) -> None:
    nats = broker_files.write_nats(tmp_path / "nats", ACCESS, HERE)
    mosquitto = broker_files.write_mosquitto(tmp_path / "m", ACCESS, HERE, lambda n: b"s" * n)
    first = nats.read_text(encoding="utf-8")
    broker_files.write_nats(tmp_path / "nats", replace(ACCESS, agents=()), HERE)
    assert nats.read_text(encoding="utf-8") != first
    for path in (nats, mosquitto, mosquitto.with_name("acl"), mosquitto.with_name("passwords")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not list(tmp_path.rglob("*.new"))


def test_secrets_stay_are_made_and_are_forgotten(tmp_path: Path) -> None:
    fresh = iter(["one", "two", "three"])
    path = tmp_path / "broker" / "secrets.json"
    first = broker_files.keep_secrets(path, ["core", "bench-1"], lambda: next(fresh))
    assert first == {"core": "one", "bench-1": "two"}
    assert broker_files.keep_secrets(path, ["core"], lambda: next(fresh)) == {"core": "one"}
    again = broker_files.keep_secrets(path, ["core", "bench-1"], lambda: next(fresh))
    assert again == {"core": "one", "bench-1": "three"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_damaged_secrets_file_is_named_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(Corrupt, match="secrets_broken"):
        broker_files.keep_secrets(path, ["core"], lambda: "x")
    assert path.read_text(encoding="utf-8") == "{"


# --- the reference files -----------------------------------------------------------------------


def test_the_reference_files_are_what_the_generator_writes() -> None:
    secret = "replace-with-a-generated-secret-{}".format
    agents = (
        BrokerAgent("hz-01", "hz-01-bench-1", secret(1)),
        BrokerAgent("sh-02", "sh-02-bench-1", secret(2)),
    )
    access = BrokerAccess(secret("core"), agents)
    everywhere = Listener("0.0.0.0", 8883, TLS)
    nats = (REFERENCE / "nats" / "nats.conf").read_text(encoding="utf-8")
    assert nats == broker_access.nats_conf(access, everywhere, "/var/lib/packline/jetstream")
    by_certificate = replace(everywhere, tls=replace(TLS, client_certificates=True))
    mosquitto = (REFERENCE / "mosquitto" / "mosquitto.conf").read_text(encoding="utf-8")
    assert mosquitto == broker_access.mosquitto_conf(by_certificate, FOLDER, "mosquitto")
