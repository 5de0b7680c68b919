"""Nothing local, nothing secret and no real person's data is left in the files that ship."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.house.tree import ROOT, shipped_files, text_of

FILE_BYTES_MAX = 2 * 1024 * 1024

# Joined from parts, so that this file does not contain what it looks for.
FORBIDDEN = (
    "pypi" + ".org",
    "python" + "hosted.org",
    "registry" + ".npmjs",
    "registry" + ".yarnpkg",
    "proxy.golang" + ".org",
    "--index" + "-url",
    "--extra-index" + "-url",
    "/opt/" + "pypi",
    "/opt/" + "wheels",
    "/root" + "/",
    "/work" + "/main",
    "/work" + "/shared",
    "/tmp" + "/plan",
    "/home" + "/runner",
    "BEGIN" + " PRIVATE KEY",
    "BEGIN RSA" + " PRIVATE KEY",
)

# A number that could ring somewhere: 11 digits, mobile prefix 13 to 19. Samples use 100..., which
# is not given out.
MOBILE = re.compile(r"(?<![\w.])1[3-9]\d{9}(?![\w.])")


def shipped_texts() -> list[tuple[Path, str]]:
    return [(path, text) for path in shipped_files() if (text := text_of(path)) is not None]


@pytest.mark.parametrize("words", FORBIDDEN)
def test_no_file_names_a_registry_or_a_place_on_one_machine(words: str) -> None:
    found = [str(path) for path, text in shipped_texts() if words in text]
    assert not found


def test_no_sample_phone_could_be_somebodys() -> None:
    found = [
        f"{path}: {match[0]}" for path, text in shipped_texts() for match in MOBILE.finditer(text)
    ]
    assert not found


def test_no_shipped_file_is_huge() -> None:
    huge = [str(path) for path in shipped_files() if (ROOT / path).stat().st_size > FILE_BYTES_MAX]
    assert not huge


def test_the_lock_has_a_hash_for_every_package() -> None:
    for name in ("lock.txt", "hid.lock.txt"):
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        blocks = re.split(r"\n(?=\S)", text.strip())
        assert blocks
        assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []
        assert "://" not in text
