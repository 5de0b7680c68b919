"""Our own scripts and styles, served under the digest of what is in them, so that they may be kept
by a browser for ever."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

_TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_KEPT = {"Cache-Control": "public, max-age=31536000, immutable"}


async def serve(request: Request) -> Response:
    """`/assets/{digest}/{name}`."""
    name = request.path_params["name"]
    if request.path_params["digest"] != digest() or name not in files():
        return PlainTextResponse("not found\n", status_code=404)
    kind = _TYPES[name.rpartition(".")[2]]
    return Response(files()[name], media_type=kind, headers=_KEPT)


@cache
def files() -> dict[str, bytes]:
    """Name -> content of every script and style."""
    folder = resources.files("edge_agent") / "pages" / "static"
    return {
        entry.name: entry.read_bytes()
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.rpartition(".")[2] in _TYPES
    }


@cache
def digest() -> str:
    """Changes with any of the files."""
    whole = hashlib.sha256()
    for name, content in files().items():
        whole.update(f"{name} {len(content)}\n".encode() + content)
    return whole.hexdigest()[:16]


@cache
def early() -> tuple[str, str]:
    """The script that stands in the page itself, and its source in the content policy."""
    text = files()["early.js"].decode()
    code = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return text, f"'sha256-{code}'"


@cache
def environment() -> Environment:
    """Where the pages' templates are."""
    return Environment(
        loader=PackageLoader("edge_agent", "pages/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,  # they come with the program and change with it alone
    )


def prepare(name: str) -> None:
    """Compile a template before it is asked for: on a Pi that takes longer than a tone may wait."""
    environment().get_template(name)
