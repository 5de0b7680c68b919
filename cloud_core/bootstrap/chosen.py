"""A core from its settings: the only place that turns their keys into plain values."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic

from sqlalchemy import Engine

from cloud_core.api.doors import Limits
from cloud_core.bootstrap.chance import RandomIds, SystemClock, process_name
from cloud_core.bootstrap.wiring import Knobs, Ports, Wired, wire
from cloud_core.channels.external_check import CheckTarget, read_targets
from cloud_core.channels.write_back import HttpWriteBack, Target
from cloud_core.domain.breaker import BreakerPolicy
from cloud_core.domain.broker_access import CORE_USER
from cloud_core.domain.policy import HOUR_MS, Policy
from cloud_core.link import LinkConfig, NoLink, PahoLink, read_password
from cloud_core.settings import Settings
from cloud_core.store import key_file
from cloud_core.store.channel_rows import ChannelRegister
from cloud_core.store.engine import open_engine, sqlite_path
from cloud_core.store.leases import Leases
from cloud_core.store.migrate import migrate
from cloud_core.store.secret_box import SecretBox
from cloud_core.worker import Pace
from protocols.errors import Rejected


def open_store(settings: Settings) -> Engine:
    """The database of the settings, at the newest schema."""
    file = sqlite_path(settings.database)
    if file is not None:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = open_engine(settings.database)
    migrate(engine)
    if file is not None:
        file.chmod(0o600)
    return engine


def build(settings: Settings, *, inline: bool = False) -> Wired:
    """A core from settings, with the real clock, ids, line and write-back.

    Raises `Unavailable` when the master key or a password file cannot be read.
    """
    keys = key_file.load(settings.master_key_path)
    engine = open_store(settings)
    clock = SystemClock()
    channels = ChannelRegister(engine, SecretBox(keys.keys, keys.current))

    def target_of(channel: str) -> Target:
        found = channels.get(channel)
        return Target(found.write_back_url, found.secrets)

    write_back = HttpWriteBack(
        target_of, clock, timeout_s=settings.write_back_timeout_s, tries=settings.write_back_tries
    )
    link = PahoLink(link_config(settings)) if settings.mqtt_enabled and not inline else NoLink()
    ports = Ports(clock, RandomIds(settings.order_id_prefix), link, write_back)
    knobs = knobs_of(settings, inline=inline)
    if engine.dialect.name == "postgresql":
        shared = None if inline else partial(Leases, holder=process_name(), monotonic=monotonic)
        knobs = replace(knobs, database_clock=True, share=shared)
    return wire(engine, keys, ports, knobs)


def link_config(settings: Settings) -> LinkConfig:
    """Where the broker is and who we are there. Raises `Unavailable` without the password file."""
    return LinkConfig(
        settings.mqtt_host, settings.mqtt_port, settings.mqtt_username or CORE_USER,
        settings.mqtt_username, read_password(settings.mqtt_password_path),
        settings.mqtt_keepalive_s,
        settings.mqtt_tls_ca_file, settings.mqtt_tls_cert_file, settings.mqtt_tls_key_file,
    )  # fmt: skip


def breaker_policy(settings: Settings) -> BreakerPolicy:
    """The numbers of every breaker, in ms."""
    return BreakerPolicy(
        late_in_a_row=settings.breaker_late_in_a_row,
        open_ms=settings.breaker_open_s * 1000,
        growth_percent=settings.breaker_growth_percent,
        open_max_ms=settings.breaker_open_max_s * 1000,
        calm_ms=settings.breaker_calm_h * HOUR_MS,
        trials=settings.breaker_trials,
        trial_ms=settings.breaker_trial_s * 1000,
        trial_wait_ms=settings.breaker_trial_wait_s * 1000,
        grace_ms=settings.breaker_grace_s * 1000,
        behind_max_ms=settings.breaker_behind_max_s * 1000,
    )


def systems_of(settings: Settings) -> Mapping[str, CheckTarget]:
    """The systems that rules may ask. Raises `Rejected("outside_file_broken")` naming the field."""
    if not settings.outside_file:
        return {}
    file = Path(settings.outside_file)
    try:
        return read_targets(tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Rejected(
            "outside_file_broken", f"无法读取外部系统文件 {file}", f"cannot read {file}",
            field="outside_file",
        ) from error  # fmt: skip


def knobs_of(settings: Settings, *, inline: bool) -> Knobs:
    """Every value behind the settings. Raises as `systems_of`."""
    policy = Policy(
        offer_ttl_s=settings.offer_ttl_s,
        ship_within_h=settings.ship_within_h,
        personal_hours=settings.personal_hours,
        phone_search_days=settings.phone_search_days,
        track_days=settings.track_days,
        raw_hours=settings.raw_hours,
        raw_kept_max=settings.raw_kept_max,
        quarantine_days=settings.quarantine_days,
        quarantine_kept_max=settings.quarantine_kept_max,
        track_base_url=settings.public_url,
        breaker=breaker_policy(settings),
        parked_alarm_min=settings.parked_alarm_min,
        hold_ttl_s=settings.hold_ttl_s,
        hold_ttl_max_s=settings.hold_ttl_max_s,
        hold_orphan_h=settings.hold_orphan_h,
        answer_hours=settings.answer_hours,
        change_confirm_s=settings.change_confirm_s,
        escalate_s=settings.escalate_s,
        return_inspect_s=settings.return_inspect_s,
        return_days=settings.return_days,
    )
    proxies = frozenset(p.strip() for p in settings.trusted_proxies.split(",") if p.strip())
    limits = Limits(
        event_body_max_bytes=settings.event_body_max_bytes,
        file_body_max_bytes=settings.file_body_max_bytes,
        channel_per_min=settings.channel_rate_per_min,
        api_per_min=settings.api_rate_per_min,
        anonymous_per_min=settings.anonymous_rate_per_min,
        public_url=settings.public_url,
        trusted_proxies=proxies,
    )
    pace = Pace(
        sweep_s=settings.sweep_s, parked_s=settings.sweep_parked_s, purge_s=settings.sweep_purge_s,
        sweep_rows=settings.sweep_rows,
    )  # fmt: skip
    return Knobs(
        policy=policy, pace=pace, limits=limits, inline=inline, systems=systems_of(settings),
        outside_timeout_s=settings.outside_timeout_s, judge_s=settings.breaker_judge_s,
    )  # fmt: skip
