"""The documents stay true: commands exist, links resolve, lists mirror the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.house.tree import ROOT, module_of, shipped_files, text_of, with_suffix

VERBS_MAX = 14
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
MAKE = re.compile(r"\bmake ([a-z][a-z-]*)")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
VERB = re.compile(r"^([a-z][a-z-]*):.*?## \S", re.MULTILINE)
NOT_PLACES = {"tools", "requirements"}


def verbs() -> set[str]:
    return set(VERB.findall((ROOT / "Makefile").read_text(encoding="utf-8")))


def document(name: str) -> str:
    path = ROOT / "docs" / name
    if not path.exists():
        pytest.skip(f"docs/{name} is not written")
    return path.read_text(encoding="utf-8")


def test_the_makefile_has_few_verbs_and_help_for_each() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):(?!=)", makefile, re.MULTILINE))
    assert targets == verbs()
    assert len(targets) <= VERBS_MAX


def test_the_readme_gives_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {"demo", "test"} <= set(MAKE.findall(" ".join(CODE.findall(readme))))


def test_every_make_command_in_a_document_exists() -> None:
    missing = [
        f"{path}: make {verb}"
        for path in with_suffix(".md")
        for code in CODE.findall(text_of(path) or "")
        for verb in MAKE.findall(code)
        if verb not in verbs()
    ]
    assert not missing


def test_every_link_between_documents_resolves() -> None:
    broken = [
        f"{path}: {target}"
        for path in with_suffix(".md")
        for target in LINK.findall(CODE.sub("", text_of(path) or ""))
        if not target.startswith(("http://", "https://", "mailto:")) and not resolves(path, target)
    ]
    assert not broken


def resolves(document_path: Path, target: str) -> bool:
    name, _, anchor = target.partition("#")
    place = (ROOT / document_path).parent / name if name else ROOT / document_path
    if not place.exists() or ROOT not in place.resolve().parents:
        return place.resolve() == ROOT
    if not anchor or place.suffix != ".md":
        return True
    headings = HEADING.findall(place.read_text(encoding="utf-8"))
    return anchor.lower() in {slug(heading) for heading in headings}


def slug(heading: str) -> str:
    """The anchor of a heading, as the usual hosts build it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def test_every_top_level_folder_is_on_the_map() -> None:
    architecture = document("ARCHITECTURE.md")
    folders = {path.parts[0] for path in shipped_files() if len(path.parts) > 1}
    missing = [
        name
        for name in sorted(folders)
        if name not in NOT_PLACES and not name.startswith(".") and f"{name}/" not in architecture
    ]
    assert not missing


def test_the_glossary_mirrors_the_vocabulary() -> None:
    glossary = document("GLOSSARY.md").splitlines()
    vocabulary = pytest.importorskip("protocols.vocabulary")
    words: dict[str, str] = vocabulary.WORDS
    missing = [
        f"{english} / {chinese}"
        for english, chinese in words.items()
        if not any(english in line and chinese in line for line in glossary)
    ]
    assert not missing


def test_the_settings_reference_names_every_setting() -> None:
    reference = document("SETTINGS.md")
    missing = [
        f"{path}: {name}"
        for path in with_suffix(".py")
        if path.parts[0] in ("edge_agent", "cloud_core") and "settings" in path.as_posix()
        for name in declared_settings(module_of(path))
        if f"`{name}`" not in reference
    ]
    assert not missing


def declared_settings(module: ast.Module) -> list[str]:
    """The annotated fields of the module's public classes: what a user can set."""
    return [
        statement.target.id
        for node in module.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        for statement in node.body
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
    ]


def test_every_decision_record_has_its_parts_and_a_line_in_the_list() -> None:
    records = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
    index = (ROOT / "docs" / "adr" / "README.md").read_text(encoding="utf-8")
    numbers = [record.name[:4] for record in records]
    assert numbers == [f"{n:04d}" for n in range(1, len(records) + 1)]
    for record in records:
        text = record.read_text(encoding="utf-8")
        assert re.findall(r"^## (.+)$", text, re.MULTILINE)[:3] == [
            "Context", "Decision", "Consequences",
        ], record.name  # fmt: skip
        assert record.name in index
