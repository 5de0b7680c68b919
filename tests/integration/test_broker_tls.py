"""TLS on both brokers, and mosquitto's reference set-up: the certificate says who an agent is."""

from __future__ import annotations

import datetime as dt
import ipaddress
import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cloud_core.domain.broker_access import BrokerAccess, BrokerAgent, Tls
from protocols import topics
from tests.support.mqtt_probe import Certificates, Probe
from virtual_warehouse.broker import EmbeddedBroker, MosquittoBroker, find_mosquitto

SITE = "hz-01"
REFERENCE_ACL = Path(__file__).parents[2] / "firmware_configs" / "broker" / "mosquitto" / "acl"
needs_mosquitto = pytest.mark.skipif(
    find_mosquitto() is None,
    reason="NOT PROVED ON MOSQUITTO: it is not installed (apt-get install mosquitto)",
)

Issue = Callable[[str], Certificates]


@pytest.fixture
def issue(tmp_path: Path) -> Issue:
    """A made-up CA that gives a certificate for a common name; its own is `ca.pem`."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = _certificate("Test CA", ca_key, ca_key, "Test CA", authority=True)
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))

    def one(name: str) -> Certificates:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(name, key, ca_key, "Test CA")
        cert_file, key_file = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        key_file.chmod(0o600)
        return Certificates(str(ca_file), str(cert_file), str(key_file))

    return one


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    issuer: str,
    *,
    authority: bool = False,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    identifier = x509.SubjectKeyIdentifier.from_public_key(signer.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([loopback]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .sign(signer, hashes.SHA256())
    )


def access() -> BrokerAccess:
    agents = tuple(
        BrokerAgent(SITE, agent, secrets.token_urlsafe(32)) for agent in ("bench-1", "bench-2")
    )
    return BrokerAccess(secrets.token_urlsafe(32), agents)


@pytest.mark.parametrize(
    "kind", [EmbeddedBroker, pytest.param(MosquittoBroker, marks=needs_mosquitto)]
)
def test_messages_travel_encrypted_with_passwords(
    kind: type[EmbeddedBroker | MosquittoBroker], issue: Issue, tmp_path: Path
) -> None:
    server = issue("broker")
    everyone = access()
    tls = Tls(server.cert_file, server.key_file, server.ca_file)
    broker = kind(tmp_path / "broker", everyone, tls=tls)
    trust = Certificates(server.ca_file)
    topic = topics.up(SITE, "bench-1", "st")
    try:
        address = broker.start()
        agent = everyone.agents[0]
        with (
            Probe(address, "core", everyone.core_secret, tls=trust) as core,
            Probe(address, agent.agent, agent.secret, tls=trust) as bench,
            Probe(address, agent.agent, "wrong", "stranger", tls=trust) as stranger,
        ):
            assert not stranger.connected
            assert core.subscribe(topics.ALL_UP_FILTER) == 1
            assert bench.publish(topic, b"sealed")
            core.hear(topic, b"sealed")
    finally:
        broker.stop()


@needs_mosquitto
def test_with_the_reference_rights_a_certificate_is_an_identity(
    issue: Issue, tmp_path: Path
) -> None:
    server = issue("broker")
    tls = Tls(server.cert_file, server.key_file, server.ca_file, client_certificates=True)
    broker = _ReferenceRights(tmp_path / "broker", replace(access(), agents=()), tls=tls)
    own, other = (topics.up(SITE, agent, "st") for agent in ("bench-1", "bench-2"))
    down = topics.down(SITE, "bench-1", "cmd")
    try:
        address = broker.start()
        with (
            Probe(address, "", "", "any-id", tls=issue("core")) as core,
            Probe(address, "", "", "bench-2", tls=issue("bench-1")) as agent,
            Probe(address, "", "", "bench-2", tls=issue("bench-2")) as victim,
        ):
            assert core.subscribe("v1/#") == 1
            assert agent.subscribe(topics.down_filter(SITE, "bench-1")) == 1
            agent.subscribe(topics.down_filter(SITE, "bench-2"))
            agent.publish(other, b"forged")
            assert agent.publish(own, b"honest")
            core.hear(own, b"honest")
            assert core.publish(topics.down(SITE, "bench-2", "cmd"), b"not yours")
            assert core.publish(down, b"yours")
            agent.hear(down, b"yours")
            assert [one.payload for one in agent.heard] == [b"yours"]
            assert b"forged" not in [one.payload for one in core.heard]
            assert agent.connected
            assert victim.connected
    finally:
        broker.stop()


@needs_mosquitto
def test_without_a_certificate_of_our_ca_nobody_gets_in(issue: Issue, tmp_path: Path) -> None:
    server = issue("broker")
    tls = Tls(server.cert_file, server.key_file, server.ca_file, client_certificates=True)
    everyone = access()
    broker = MosquittoBroker(tmp_path / "broker", everyone, tls=tls)
    try:
        address = broker.start()
        trust = Certificates(server.ca_file)
        with Probe(address, "core", everyone.core_secret, tls=trust) as stranger:
            assert not stranger.connected
    finally:
        broker.stop()


class _ReferenceRights(MosquittoBroker):
    """mosquitto with the rights shipped in firmware_configs instead of generated ones."""

    def _write(self) -> Path:
        conf = super()._write()
        (self.directory / "acl").write_text(REFERENCE_ACL.read_text(encoding="utf-8"))
        return conf
