"""What may be shown of a person, and what is sealed: nothing else of them is anywhere."""

from __future__ import annotations

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cloud_core.domain.contact import ContactPlain, contact_of, last_digits
from cloud_core.domain.intake import ReceiverFields, make_receiver
from cloud_core.domain.masking import (
    HIDDEN_PHONE_DIGITS,
    Phone,
    mask_detail,
    mask_name,
    mask_phone,
    normalise_phone,
    split_extension,
)
from cloud_core.store.sealing import Sealer
from protocols.errors import Corrupt, Rejected, Unavailable

NAMES = st.text("甲乙丙丁测试演示欧阳ABCabc ·", min_size=1, max_size=24).filter(str.strip)
DIGITS = st.text(string.digits, min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("name", "masked"),
    [("王", "*"), ("王明", "王*"), ("王小明", "王*明"), ("欧阳小明", "欧**明"), ("", ""),
     ("John Smith", "J***h"), (" 王 小 明 ", "王*明"), ("王**", "王**"), ("𠮷野", "𠮷*")],
)  # fmt: skip
def test_a_name_hides_at_least_one_character(name: str, masked: str) -> None:
    assert mask_name(name) == masked


@given(NAMES)
def test_a_masked_name_never_contains_the_name(name: str) -> None:
    masked = mask_name(name)
    plain = "".join(name.split())
    assert "*" in masked
    assert plain not in masked
    assert len(masked.replace("*", "")) < len(plain)
    assert mask_name(masked) == masked


@pytest.mark.parametrize(
    ("phone", "masked"),
    [
        ("10000000001", "100******01"),
        ("100****0001", "100******01"),
        ("+86 100-0000-0001", "100******01"),
        ("１００００００００01", "100******01"),
        ("١٠٠٠٠٠٠٠٠٠٢", "100******02"),
        ("10012345678-1234", "100******78"),
        ("0571-88886666", "057*******66"),
        ("400-100-0000", "40******00"),
        ("88886666", "******66"),
        ("1234567", "1******"),
        ("123456", "******"),
        ("", ""),
    ],
)
def test_a_phone_hides_at_least_six_digits(phone: str, masked: str) -> None:
    assert mask_phone(phone) == masked


@given(DIGITS)
def test_a_masked_phone_hides_six_digits_or_all(digits: str) -> None:
    masked = mask_phone(digits)
    shown = sum(char.isdigit() for char in masked)
    assert shown <= 5
    number = split_extension(digits)[0]
    if len(number) <= HIDDEN_PHONE_DIGITS:
        assert shown == 0
    else:
        assert masked.count("*") >= HIDDEN_PHONE_DIGITS
    assert mask_phone(masked) == masked


@given(st.text(max_size=40))
def test_whatever_stands_in_a_phone_field_shows_no_more_than_five_digits(text: str) -> None:
    masked = mask_phone(text)
    assert set(masked) <= set("0123456789*")
    assert sum(char.isdigit() for char in masked) <= 5


@pytest.mark.parametrize(
    ("detail", "masked"),
    [
        ("演示路100号3幢2单元501室", "演示路*号*幢*单元*室"),
        ("样例大道1号A座1203", "样例大道*号*座*"),
        ("某小区三号楼二单元1001", "某小区*号楼*单元*"),
        ("演示苑12-3-401", "演示苑*"),
        ("演示路２０２室", "演示路*室"),
        ("演示路", "演示路"),
    ],
)
def test_building_and_room_are_hidden(detail: str, masked: str) -> None:
    assert mask_detail(detail) == masked


@given(st.text(max_size=80))
def test_no_digit_of_any_script_is_left_in_a_detail(text: str) -> None:
    assert not any(char.isdigit() for char in mask_detail(text))


@pytest.mark.parametrize(
    ("text", "phone"),
    [
        ("10000000001", Phone("10000000001", "")),
        (" +86 100 0000 0001 ", Phone("10000000001", "")),
        ("86-10000000001", Phone("10000000001", "")),
        ("10012345678-1234", Phone("10012345678", "1234")),
        ("10012345678转1234", Phone("10012345678", "1234")),
        ("10012345678 ext 12", Phone("10012345678", "12")),
        ("0571-88886666", Phone("057188886666", "")),
        ("0571-88886666-123", Phone("057188886666", "123")),
        ("(0571)88886666", Phone("057188886666", "")),
        ("400-100-0000", Phone("4001000000", "")),
        ("+12025550123", Phone("12025550123", "")),
    ],
)
def test_numbers_in_one_spelling(text: str, phone: Phone) -> None:
    assert normalise_phone(text) == phone


@pytest.mark.parametrize("text", ["123", "phone", "1" * 16, "12345678901234567", "0571-", "1-2"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(Rejected, match="phone_invalid"):
        normalise_phone(text)


def sealer(current: str = "k2", keys: tuple[str, ...] = ("k1", "k2")) -> Sealer:
    return Sealer({key: key.encode().ljust(32, b"!") for key in keys}, current, b"lookup".ljust(32))


PLAIN = ContactPlain("测试甲", "10000000001", "12", "演示路1号", "oaid", "#n#", "$p$", "#d#")


def test_what_is_sealed_opens_again_only_for_its_order() -> None:
    sealed = sealer().seal("DB2026AAAAAAAA", PLAIN)
    assert sealer().open("DB2026AAAAAAAA", sealed) == PLAIN
    assert "测试甲".encode() not in sealed
    assert b"10000000001" not in sealed
    assert sealed != sealer().seal("DB2026AAAAAAAA", PLAIN), "a fresh nonce every time"
    with pytest.raises(Corrupt, match="contact_broken"):
        sealer().open("DB2026BBBBBBBB", sealed)


def test_a_changed_key_still_opens_and_a_lost_one_never_again() -> None:
    old = sealer("k1").seal("DB2026AAAAAAAA", PLAIN)
    assert sealer("k2").open("DB2026AAAAAAAA", old) == PLAIN
    assert sealer("k2").key_id(old) == "k1"
    with pytest.raises(Unavailable, match="contact_key_unknown"):
        sealer("k2", ("k2",)).open("DB2026AAAAAAAA", old)


def test_every_altered_byte_is_found() -> None:
    sealed = sealer().seal("DB2026AAAAAAAA", PLAIN)
    for at in range(len(sealed)):
        altered = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises((Corrupt, Unavailable)):
            sealer().open("DB2026AAAAAAAA", altered)
        with pytest.raises((Corrupt, Unavailable)):
            sealer().open("DB2026AAAAAAAA", sealed[:at])


def test_a_phone_is_found_by_hash_however_it_was_written() -> None:
    hashes = {sealer().phone_hash(p) for p in ("10000000001", "+86 100-0000-0001", "10000000001-9")}
    assert len(hashes) == 1
    assert sealer().phone_hash("10000000002") not in hashes
    assert sealer().phone_hash("") == ""
    assert sealer().last_digits_hash("10000000001-9") == sealer().last_digits_hash("20000000001")
    assert last_digits("12") == ""


def test_bad_keys_are_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Sealer({"k": b"short"}, "k", b"x" * 32)
    with pytest.raises(ValueError, match="not among"):
        Sealer({"k": b"x" * 32}, "other", b"x" * 32)


def test_a_contact_never_prints_itself() -> None:
    assert "测试" not in repr(PLAIN)
    assert "1000" not in str(PLAIN)


@given(
    NAMES.filter(lambda n: "*" not in n),
    st.integers(0, 10**8 - 1).map(lambda n: f"100{n:08d}"),
    st.integers(1, 9999),
)
def test_the_masked_part_of_a_receiver_never_leaks_the_clear_part(
    name: str, phone: str, room: int
) -> None:
    detail = f"演示路{room}号{room}室"
    assume(len(name) < 2 or name not in detail)
    receiver = make_receiver(ReceiverFields(name=name, phone=phone, detail=detail), prefix="r.")
    plain = contact_of(receiver)
    shown = f"{receiver.name_masked}|{receiver.phone_masked}|{receiver.detail_masked}"
    assert plain.phone == phone
    assert plain.name not in receiver.name_masked
    assert len(plain.name) < 2 or plain.name not in shown
    assert phone not in shown
    assert phone[3:9] not in receiver.phone_masked
    assert str(room) not in receiver.detail_masked
