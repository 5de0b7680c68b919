"""Operators are set on the command line; the handhelds' page needs to know its own address."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_agent import settings
from edge_agent.cli.root import root
from edge_agent.domain import pin
from edge_agent.pages.operators import Operators
from protocols.errors import PacklineError, Rejected


def test_operators_are_set_listed_and_removed(tmp_path: Path) -> None:
    config = tmp_path / "edge.toml"
    config.write_text(f'site = "sha"\nagent = "sha-1"\ndata_dir = "{tmp_path}/data"\n')
    from edge_agent import cli

    assert cli.VERBS
    run = CliRunner()
    at = ["--config", str(config), "operator"]
    assert run.invoke(root, [*at, "set", "12", "--pin", "1234"]).exit_code == 2
    typed = run.invoke(root, [*at, "set", "12"], input="2580\n2580\n")
    assert typed.exit_code == 0, typed.output
    assert "2580" not in typed.output
    assert run.invoke(root, [*at, "list"]).output == "12\n"
    stored = Operators(tmp_path / "data").read()["12"]
    assert pin.fits("2580", stored)
    assert not pin.fits("2581", stored)
    assert not pin.fits("2580", "")
    assert run.invoke(root, [*at, "remove", "12"]).exit_code == 0
    assert run.invoke(root, [*at, "remove", "12"]).exit_code == 1


@pytest.mark.parametrize("text", ["", "[]", '{"12": "plain"}', '{"x": 1}', "\x00" * 9])
def test_a_broken_file_of_operators_lets_nobody_in(tmp_path: Path, text: str) -> None:
    (tmp_path / "operators.json").write_text(text)
    with pytest.raises(PacklineError) as refused:
        Operators(tmp_path).read()
    assert refused.value.code == "operators_unreadable"


@pytest.mark.parametrize(
    "more", [{"pda_names": []}, {"page_enabled": False}, {"pda_tls_cert_file": "cert.pem"}]
)
def test_a_handheld_page_without_address_or_key_is_refused(more: dict[str, object]) -> None:
    good = {"site": "sha", "agent": "sha-1", "pda_enabled": True, "pda_names": ["192.0.2.7"]}
    assert settings.check(good).pda_enabled
    with pytest.raises(Rejected) as refused:
        settings.check({**good, **more})
    assert refused.value.field.startswith("pda_")
