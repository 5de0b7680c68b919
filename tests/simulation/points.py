"""The points that every campaign of 20 seeds must reach (reliability §3a), and who looks for them.

A fault that never hit where it hurts proves nothing: each name here is a moment in which a wrong
program would have gone wrong. Those of holds at checkout, breakers and certificates come with them.
"""

from __future__ import annotations

import sqlite3
from typing import Final

JUDGED_FROM_SEEDS: Final = 20

POINTS: Final = {
    "crash_between_commit_and_beep": "the agent died after the commit, before the tone",
    "agent_died_between_send_and_ack": "an agent died with batches on their way",
    "core_crash_between_commit_and_ack": "the core died after a commit, before its answer",
    "resent_batch_acked": "a batch was sent more than once and then acknowledged",
    "broker_lost_state_in_flight": "the broker died with messages on their way",
    "rerouted_while_old_owner_offline": "an offer was taken from an agent that was cut off",
    "stale_token_refused": "an agent refused a command below its fence",
    "print_unknown": "a label whose fate nobody knows",
    "label_reprinted": "a person asked for a marked copy and it came out",
    "label_held_by_boot": "a boot without the core kept a queued label back",
    "clock_stepped_during_an_offer": "a clock jumped while an offer was open",
    "card_wiped": "an agent came back with an empty card",
    "clone_detected": "rows or epochs showed that two cards were at work",
    "core_recovered": "a restored core heard every agent's replay",
    "shipment_reattached": "a restored core was told of a shipment it had forgotten",
    "stopped_on_the_bench": "an order was cancelled while it was picked or packed",
    "handed_over_after_stop": "a parcel left although its order was cancelled",
    "incident_recorded": "a fact came under an old token",
    "hold_expired_while_paid": "an order was paid whose hold had just expired",
    "victim_rerouted": "a count took a shipment's goods and another warehouse got it",
    "breaker_opened": "a warehouse was late three times and was ejected",
    "breaker_half_open_closed": "trials left in time and closed a breaker",
    "breaker_cap": "a breaker stayed closed because too many were open",
    "sole_holder_kept": "an ejected warehouse got what only it could send",
    "split_order": "an order was sent in parts",
    "claim_won_by_second": "a warehouse that was not the best said yes first and got it",
    "asked_outside": "another system said yes to an order, or its time was over",
    "parked_and_served": "a shipment waited for a warehouse or for stock and was sent",
}

_IN_CORE: Final = {
    "rerouted_while_old_owner_offline": (
        "SELECT 1 FROM trail WHERE change = 'taken_back:timeout' LIMIT 1"
    ),
    "stale_token_refused": "SELECT 1 FROM outbox WHERE result = 'stale_token' LIMIT 1",
    "print_unknown": "SELECT 1 FROM event WHERE type = 'label.unknown' LIMIT 1",
    "clone_detected": "SELECT 1 FROM alarm WHERE kind = 'card_doubled' LIMIT 1",
    "core_recovered": "SELECT 1 FROM trail WHERE change = 'recovered' LIMIT 1",
    "shipment_reattached": "SELECT 1 FROM trail WHERE change LIKE 'reattached:%' LIMIT 1",
    "stopped_on_the_bench": (
        "SELECT 1 FROM event WHERE type = 'task.stopped'"
        " AND instr(CAST(row AS TEXT), 'put_back') > 0 LIMIT 1"
    ),
    "handed_over_after_stop": "SELECT 1 FROM shipment WHERE stop = 'intercept' LIMIT 1",
    "incident_recorded": "SELECT 1 FROM incident LIMIT 1",
    "hold_expired_while_paid": "SELECT 1 FROM trail WHERE change = 'hold:expired' LIMIT 1",
    "victim_rerouted": (
        "SELECT 1 FROM trail t JOIN trail n ON n.subject = t.subject AND n.id > t.id"
        " WHERE t.change LIKE 'victim:%' AND n.change = 'routed>offered' LIMIT 1"
    ),
    "breaker_opened": "SELECT 1 FROM trail WHERE change = 'breaker:opened' LIMIT 1",
    "breaker_half_open_closed": "SELECT 1 FROM trail WHERE change = 'breaker:closed' LIMIT 1",
    "breaker_cap": "SELECT 1 FROM trail WHERE change = 'breaker:capped' LIMIT 1",
    "sole_holder_kept": "SELECT 1 FROM shipment WHERE instr(decision, 'sole_holder') > 0 LIMIT 1",
    "split_order": "SELECT 1 FROM trail WHERE change = 'split' LIMIT 1",
    "claim_won_by_second": (
        "SELECT 1 FROM trail t JOIN shipment s ON s.id = t.subject"
        " WHERE t.change = 'claimed' AND instr(s.decision, '\"claim\"') > 0 LIMIT 1"
    ),
    "asked_outside": (
        "SELECT 1 FROM trail WHERE change IN ('outside:accepted', 'outside:fallback') LIMIT 1"
    ),
    "parked_and_served": (
        "SELECT 1 FROM trail t JOIN shipment s ON s.id = t.subject"
        " WHERE t.change LIKE 'parked:%' AND s.state = 'handed_over' LIMIT 1"
    ),
}


def reached_in(database: sqlite3.Connection) -> set[str]:
    """The points whose traces lie in a core's database."""
    return {name for name, sql in _IN_CORE.items() if database.execute(sql).fetchone()}
