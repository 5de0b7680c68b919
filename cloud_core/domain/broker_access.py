"""Who may say what at the broker: one list of agents, written as NATS and as mosquitto files.

An agent may publish below its own `up/`, subscribe to its own `dn/#` and to the core's state, and
nothing else; the core may do all below `v1/`. Pure texts: where they are stored is the adapter's
business (`store/broker_files.py`), nothing here knows a process or a socket.

Secrets are 256 random bits, one purpose each, made by the machine. They stand in the NATS file as
they are unless a bcrypt hash is given (no bcrypt in our lock; stretching adds nothing to 256 random
bits, and the file is 0600 on the broker's own host). mosquitto gets a salted PBKDF2 hash.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import pbkdf2_hmac

from protocols import limits, topics
from protocols.errors import Rejected

CORE_USER = topics.RESERVED_ID
SALT_BYTES = 12
PBKDF2_ROUNDS = 101
"""What mosquitto_passwd uses; see the module's remark on random secrets."""
QUEUED_MESSAGES_MAX = 100_000
"""mosquitto drops silently above it: agents x window x 2 streams must stay below (6,250 agents)."""
QUEUED_BYTES_MAX = 256 * 1024 * 1024
INFLIGHT_MAX = 100
ACK_PENDING_MAX = 1024
"""NATS: QoS 1 messages in flight per filter, counted twice for `#`, 65,535 in all a session:
a core subscribes with the one filter `ALL_UP_FILTER`, or with at most 31 of them."""
PACKET_BYTES_MAX = 2 * limits.BATCH_BYTES_MAX
KEEPALIVE_S_MAX = 120

_SECRET = re.compile(r"[A-Za-z0-9_-]{20,128}\Z")
_BCRYPT = re.compile(r"\$2[aby]\$\d\d\$[A-Za-z0-9./]{53}\Z")
_MOSQUITTO_HASH = re.compile(r"\$7\$\d+\$[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+\Z")


@dataclass(frozen=True, slots=True)
class BrokerAgent:
    """One agent's account: its id is the user name; `secret` plain or hashed for its broker."""

    site: str
    agent: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class BrokerAccess:
    """Every account of one broker: the core's and the agents'."""

    core_secret: str = field(repr=False)
    agents: tuple[BrokerAgent, ...] = ()
    more_core_secrets: tuple[str, ...] = field(default=(), repr=False)
    """Of further core processes on the same database: users `core-1`, `core-2`…"""

    @property
    def cores(self) -> list[tuple[str, str]]:
        """(user, secret) of every core process; mosquitto makes the user the client id."""
        every = (self.core_secret, *self.more_core_secrets)
        return [(core_user(number), secret) for number, secret in enumerate(every)]


def core_user(number: int) -> str:
    """The broker's user of the core process with this number: `core`, `core-1`, `core-2`…"""
    return f"{CORE_USER}-{number}" if number else CORE_USER


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files on the broker's host; `client_certificates`: CN = agent id instead of passwords."""

    cert_file: str
    key_file: str
    ca_file: str
    client_certificates: bool = False


@dataclass(frozen=True, slots=True)
class Listener:
    """Where the broker listens for MQTT; without TLS only ever on a loopback or private address."""

    host: str
    port: int
    tls: Tls | None = None


def check(access: BrokerAccess) -> BrokerAccess:
    """Return `access` if it can be written; raise `Corrupt` (ids) or `Rejected` (rest)."""
    seen = {user for user, _ in access.cores}
    for _, secret in access.cores:
        _check_secret(secret)
    for account in access.agents:
        topics.check_id(account.site, "site")
        topics.check_id(account.agent, "agent")
        if account.agent in seen:
            raise Rejected(
                "agent_repeated",
                f"代理 {account.agent} 重复",
                f"agent {account.agent} is listed twice",
                field="agent",
            )
        seen.add(account.agent)
        _check_secret(account.secret)
    return access


def nats_conf(access: BrokerAccess, listener: Listener, store_dir: str) -> str:
    """A nats-server configuration with its MQTT gateway; `store_dir` holds JetStream's files.

    MQTT topics are NATS subjects with `.` for `/`; a filter ending in `/#` also subscribes to the
    level above it, which therefore needs its own right. `$MQTT.sub.` is granted implicitly since
    2.11.12 and 2.12.3 and must not be listed. Source: docs.nats.io, "MQTT" and "Authorization".
    """
    check(access)
    users = [_nats_user(user, secret, ["v1.>"], ["v1", "v1.>"]) for user, secret in access.cores]
    for account in access.agents:
        root = f"v1.{account.site}.{account.agent}"
        reads = [f"{root}.dn", f"{root}.dn.>", topics.CORE_STATE_TOPIC.replace("/", ".")]
        users.append(_nats_user(account.agent, account.secret, [f"{root}.up.>"], reads))
    lines = [
        "# Written by Packline from the list of agents; changes here are lost.",
        'server_name: "packline"',
        "# Plain NATS clients find nobody to log in as: every user is for MQTT only.",
        'listen: "127.0.0.1:-1"',
        f"max_payload: {PACKET_BYTES_MAX}",
        f"jetstream {{ store_dir: {_quoted(store_dir)}, max_memory_store: 64MB, "
        "max_file_store: 2GB }",
        "authorization {",
        "  timeout: 10",
        "  users: [",
        *users,
        "  ]",
        "}",
        "mqtt {",
        f"  host: {_quoted(listener.host)}",
        f"  port: {listener.port}",
        f"  max_ack_pending: {ACK_PENDING_MAX}",
        '  ack_wait: "10s"',
        '  consumer_inactive_threshold: "10m"',
        "  reject_qos2_publish: true",
        *_nats_tls(listener.tls),
        "}",
    ]
    return "\n".join(lines) + "\n"


def mosquitto_conf(listener: Listener, directory: str, run_as: str = "") -> str:
    """A mosquitto configuration that reads `passwords` and `acl` in `directory` (absolute).

    `run_as`: the account mosquitto drops to when started as root. Options as in mosquitto.conf(5).
    """
    lines = [
        "# Written by Packline from the list of agents; changes here are lost.",
        f"listener {listener.port} {listener.host}",
        "# Without it another agent takes over a session by its client id.",
        "use_username_as_clientid true",
        *_mosquitto_tls(listener.tls),
        "allow_anonymous false",
        f"acl_file {directory}/acl",
    ]
    if listener.tls is None or not listener.tls.client_certificates:
        lines.append(f"password_file {directory}/passwords")
    lines += [
        "# Nagle and delayed acknowledgements together cost 44 ms a message.",
        "set_tcp_nodelay true",
        f"max_inflight_messages {INFLIGHT_MAX}",
        "# 0 would mean no bound; what does not fit is dropped, and healed by the core's own ack.",
        f"max_queued_messages {QUEUED_MESSAGES_MAX}",
        f"max_queued_bytes {QUEUED_BYTES_MAX}",
        f"max_packet_size {PACKET_BYTES_MAX}",
        f"max_keepalive {KEEPALIVE_S_MAX}",
        "# Retained messages only; sessions are clean.",
        "persistence true",
        f"persistence_location {directory}/data/",
        "autosave_interval 60",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type notice",
    ]
    if run_as:
        lines.append(f"user {run_as}")
    return "\n".join(lines) + "\n"


def mosquitto_acl(access: BrokerAccess) -> str:
    """The rights of every user by exact site and agent: nobody speaks for another site either."""
    check(access)
    blocks = [f"user {user}\ntopic readwrite v1/#" for user, _ in access.cores]
    for account in access.agents:
        root = f"v1/{account.site}/{account.agent}"
        blocks.append(
            f"user {account.agent}\n"
            f"topic write {root}/up/#\n"
            f"topic read {root}/dn/#\n"
            f"topic read {topics.CORE_STATE_TOPIC}"
        )
    return "\n\n".join(blocks) + "\n"


def mosquitto_passwords(access: BrokerAccess, random_bytes: Callable[[int], bytes]) -> str:
    """The password file: `user:$7$rounds$salt$hash` (PBKDF2-HMAC-SHA512), one line a user."""
    check(access)
    accounts = access.cores
    accounts += [(account.agent, account.secret) for account in access.agents]
    return "".join(
        f"{user}:{mosquitto_hash(secret, random_bytes(SALT_BYTES))}\n" for user, secret in accounts
    )


def mosquitto_hash(secret: str, salt: bytes) -> str:
    """The hash mosquitto_passwd would write for `secret`; a hash is returned as it is."""
    if _MOSQUITTO_HASH.match(secret):
        return secret
    digest = pbkdf2_hmac("sha512", secret.encode(), salt, PBKDF2_ROUNDS)
    encoded = [base64.b64encode(part).decode() for part in (salt, digest)]
    return f"$7${PBKDF2_ROUNDS}${encoded[0]}${encoded[1]}"


def _check_secret(secret: str) -> None:
    if not any(shape.match(secret) for shape in (_SECRET, _BCRYPT, _MOSQUITTO_HASH)):
        raise Rejected(
            "secret_shape",
            "密码须为 20 到 128 位字母、数字、- 或 _，由系统生成",
            "a secret is 20 to 128 of [A-Za-z0-9_-], made by the machine",
            field="secret",
        )


def _nats_user(user: str, secret: str, publish: list[str], subscribe: list[str]) -> str:
    return (
        f"    {{ user: {_quoted(user)}, password: {_quoted(secret)}, "
        f"permissions: {{ publish: {{ allow: {json.dumps(publish)} }}, "
        f"subscribe: {{ allow: {json.dumps(subscribe)} }} }}, "
        'allowed_connection_types: ["MQTT"] }'
    )


def _nats_tls(tls: Tls | None) -> list[str]:
    if tls is None:
        return []
    return [
        "  tls {",
        f"    cert_file: {_quoted(tls.cert_file)}",
        f"    key_file: {_quoted(tls.key_file)}",
        f"    ca_file: {_quoted(tls.ca_file)}",
        f"    verify: {'true' if tls.client_certificates else 'false'}",
        "    timeout: 10",
        "  }",
    ]


def _mosquitto_tls(tls: Tls | None) -> list[str]:
    if tls is None:
        return []
    lines = [f"certfile {tls.cert_file}", f"keyfile {tls.key_file}", "tls_version tlsv1.2"]
    if tls.client_certificates:
        lines += [
            f"cafile {tls.ca_file}",
            "require_certificate true",
            "# The certificate's common name is the user name, and so the client id.",
            "use_identity_as_username true",
        ]
    return lines


def _quoted(text: str) -> str:
    return json.dumps(text)
