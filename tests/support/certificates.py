"""A server's certificate of our own making, for pages served over TLS."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

BEGUN = datetime(2020, 1, 1, tzinfo=UTC)


def certificate(
    folder: Path, *, days: int = 36_500, addresses: tuple[str, ...] = ("127.0.0.1",)
) -> tuple[str, str]:
    """(certificate file, key file) for these IP addresses, good for `days` from 2020 on."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "packline test")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(one)) for one in addresses])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGUN)
        .not_valid_after(BEGUN + timedelta(days=days))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    written, secret = folder / "pda-cert.pem", folder / "pda-key.pem"
    written.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    secret.chmod(0o600)
    return str(written), str(secret)
