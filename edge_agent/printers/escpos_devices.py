"""python-escpos finds and opens ESC/POS printers and knows models; it never writes a byte for us.

Imported only where such a printer is set up: it costs 0.3 s and leaves a folder in the temporary
directory at every start, which is why it is imported with a temporary directory of its own.
"""

from __future__ import annotations

import importlib
import logging
import socket
import tempfile
from functools import cache
from typing import Any

from protocols.errors import Rejected, Unavailable


@cache
def _library(module: str) -> Any:
    """`escpos.printer` or `escpos.capabilities`. Raises `Unavailable` with the fix in Chinese."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="packline-escpos-") as folder:
        tempfile.tempdir = folder
        try:
            return importlib.import_module(module)
        except ImportError as missing:
            raise Unavailable(
                "escpos_missing",
                "没有安装 python-escpos, 请运行 make setup",
                "python-escpos is not installed",
                field="profile",
            ) from missing
        finally:
            tempfile.tempdir = before
            logging.getLogger("escpos").setLevel(logging.WARNING)


def load() -> None:
    """Import the library now, so that no deadline of a connection pays for it."""
    _library("escpos.printer")


def open_socket(host: str, port: int, timeout_s: float) -> socket.socket:
    """A connected socket, opened by python-escpos. Raises `OSError`."""
    printer = _library("escpos.printer").Network(host, port, timeout=timeout_s)
    taken: socket.socket = _taken(printer, "socket")
    return taken


def open_serial(path: str, baud: int) -> Any:
    """An open `serial.Serial`, opened by python-escpos. Raises `OSError`."""
    printer = _library("escpos.printer").Serial(path, baudrate=baud, timeout=0, dsrdtr=False)
    return _taken(printer, "serial port")


def _taken(printer: Any, what: str) -> Any:
    """The library's device without the library: it would close it at a time of its own choosing."""
    errors = importlib.import_module("escpos.exceptions")
    try:
        printer.open()
    except errors.Error as absent:
        raise OSError(f"no {what}") from absent
    device = printer.device
    printer._device = False
    return device


def models() -> dict[str, dict[str, Any]]:
    """Model name -> what python-escpos knows of it."""
    profiles: dict[str, dict[str, Any]] = _library("escpos.capabilities").CAPABILITIES["profiles"]
    return profiles


def media_dots(model: str) -> int:
    """Printable width of a model in dots, 0 = not told. Raises `Rejected` for an unknown model."""
    known = models().get(model)
    if known is None:
        raise Rejected(
            "printer_profile",
            f"打印机配置有误: python-escpos 没有型号 {model}",
            "unknown ESC/POS model",
            field="escpos_model",
        )
    width = known.get("media", {}).get("width", {}).get("pixels", 0)
    return width if isinstance(width, int) else 0
