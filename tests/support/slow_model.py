"""A state machine of hypothesis against the real core, each run on one engine of the test."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test


def agrees_with(
    machine: type[RuleBasedStateMachine], *, examples: int, steps: int, same: bool = True
) -> None:
    """Play `examples` histories of at most `steps` steps; `same` plays the same ones every time."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, derandomize=same,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
