"""Bytes <-> messages: size first, then shape, then values. Raises `Corrupt`, never anything else.

A payload is JSON; its first byte tells the form: `{` plain, 0x78 zlib. Bounds are checked before
and while inflating and before decoding, so that a hostile payload costs no more than its size.
"""

from __future__ import annotations

import re
import zlib
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from protocols import limits
from protocols.commands import COMMANDS
from protocols.errors import Corrupt
from protocols.events import EVENTS
from protocols.messages import Batch, Command, Event

M = TypeVar("M", bound=Struct)

_encoder = msgspec.json.Encoder()
_decoders: dict[type[Struct], msgspec.json.Decoder[Any]] = {}
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_MISSING = re.compile(r"Object missing required field `([^`]+)`")


def encode(message: Struct) -> bytes:
    """A message as plain JSON bytes."""
    return _encoder.encode(message)


def encode_message(message: Struct) -> bytes:
    """A message as the payload to publish: compressed if large; raises `Corrupt` if too large.

    A row is hashed as it stands in the journal: rows are made by `encode`, never by this.
    """
    plain = _encoder.encode(message)
    payload = plain if len(plain) < limits.COMPRESS_FROM_BYTES else zlib.compress(plain, 1)
    if len(payload) > limits.BATCH_BYTES_MAX or len(plain) > limits.INFLATED_BYTES_MAX:
        raise Corrupt("message_too_large", "消息超过 128 KB 上限", "message above 128 KB")
    return payload


def encode_batch(batch: Batch) -> bytes:
    """A batch as bytes, compressed from `COMPRESS_FROM_EVENTS` events on."""
    plain = _encoder.encode(batch)
    if len(batch.ev) < limits.COMPRESS_FROM_EVENTS:
        return plain
    return zlib.compress(plain, 1)


def decode(payload: bytes, kind: type[M]) -> M:
    """Decode one message of a known kind; raise `Corrupt` naming the field."""
    if len(payload) > limits.BATCH_BYTES_MAX:
        raise Corrupt("message_too_large", "消息超过 128 KB 上限", "message above 128 KB")
    plain = _inflate(payload) if payload[:1] == b"\x78" else payload
    if plain[:1] != b"{":
        raise Corrupt("not_json", "消息不是 JSON 对象", "payload is not a JSON object")
    try:
        message = decode_plain(plain, kind)
    except Corrupt as error:
        if error.code == "field_invalid":
            _check_version(_version_in(plain))
        raise
    _check_version(getattr(message, "v", limits.VERSION))
    return message


def decode_plain(plain: bytes | Raw, kind: type[M]) -> M:
    """Decode JSON bytes whose size was checked before; raise `Corrupt`."""
    if kind is not Batch and _has_nul(plain):
        raise Corrupt("text_nul", "文字中含有空字符", "text contains U+0000")
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        message: M = decoder.decode(plain)
    except msgspec.ValidationError as error:
        text = str(error)
        raise Corrupt("field_invalid", f"字段不合约定：{text}", text, field=_field(text)) from error
    except RecursionError as error:
        raise Corrupt("json_too_deep", "JSON 嵌套过深", "JSON nested too deep") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corrupt("json_broken", "JSON 不完整或有误", str(error)) from error
    return message


def decode_event(row: bytes | Raw) -> Event:
    """Decode the envelope of one row; its body stays raw."""
    if len(bytes(row) if isinstance(row, Raw) else row) > limits.EVENT_BYTES_MAX:
        raise Corrupt("event_too_large", "单个事件超过 48 KB", "event above 48 KB")
    return decode_plain(row, Event)


def decode_event_body(stream: str, event: Event) -> Struct:
    """Decode an event's body by its type; `Corrupt("event_unknown")` for a type we do not know."""
    kind = EVENTS[stream].get(event.t)
    if kind is None:
        raise Corrupt(
            "event_unknown", f"事件类型 {event.t} 未知", f"unknown event {event.t}", field="t"
        )
    return decode_plain(event.d, kind)


def decode_command_body(command: Command) -> Struct:
    """Decode a command's body by its kind; `Corrupt("command_unknown")` for an unknown one."""
    kind = COMMANDS.get(command.k)
    if kind is None:
        raise Corrupt(
            "command_unknown", f"指令 {command.k} 未知", f"unknown command {command.k}", field="k"
        )
    return decode_plain(command.d, kind)


def raw(body: Struct) -> Raw:
    """A body as raw JSON, ready to stand in an envelope."""
    return Raw(_encoder.encode(body))


def _inflate(payload: bytes) -> bytes:
    machine = zlib.decompressobj()
    try:
        plain = machine.decompress(payload, limits.INFLATED_BYTES_MAX)
        if machine.unconsumed_tail or not machine.eof:
            code = "inflated_too_large" if machine.unconsumed_tail else "zlib_truncated"
            raise Corrupt(code, "压缩内容过大或不完整", "compressed payload too large or truncated")
        if machine.unused_data:
            raise Corrupt("zlib_trailing", "压缩内容之后还有多余数据", "bytes after the end")
    except zlib.error as error:
        raise Corrupt("zlib_broken", "压缩内容有误", str(error)) from error
    return plain


class _Versioned(Struct):
    v: int | None = None


_version_decoder = msgspec.json.Decoder(_Versioned)


def _version_in(plain: bytes) -> int | None:
    """The version of a message of another shape; None if it does not tell one."""
    try:
        return _version_decoder.decode(plain).v
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _check_version(version: int | None) -> None:
    if version is not None and version != limits.VERSION:
        raise Corrupt(
            "version_unknown",
            f"协议版本 {version} 不支持",
            f"protocol version {version} is not supported",
            field="v",
        )


def _has_nul(plain: bytes | Raw) -> bool:
    """Whether a text in `plain` holds U+0000, which JSON may escape and databases refuse."""
    data = bytes(plain)
    return b"\\u0000" in data and _NUL.search(data) is not None


def _field(text: str) -> str:
    """The JSON path out of a validation message: `d[0].q`, the missing field included."""
    _, _, path = text.partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    missing = _MISSING.match(text)
    return ".".join(part for part in (path, missing[1] if missing else "") if part)
