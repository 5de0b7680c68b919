"""An independent renderer agrees with our ZPL, dot for dot.

`zpl-renderer-js` (a build of zebrash) knows nothing of our encoder or our reader. It is fetched by
npm, so this runs only when asked: `ZPL_RENDERER=install` (into a folder of its own that is
thrown away) or `ZPL_RENDERER=<folder that holds node_modules>`.
"""

import base64
import io
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from edge_agent import labels
from edge_agent.printers import zpl
from tests.support.labels import FIELDS, ROOT, renderer
from virtual_warehouse.printer import read_codes

pytestmark = pytest.mark.integration
PACKAGE = "zpl-renderer-js@3.4.0"
SCRIPT = """
const { ready } = require("zpl-renderer-js");
const chunks = [];
process.stdin.on("data", (chunk) => chunks.push(chunk));
process.stdin.on("end", async () => {
  const { api } = await ready;
  const pictures = [];
  for (const [text, width, height, dpmm] of JSON.parse(Buffer.concat(chunks).toString()))
    pictures.push(await api.zplToBase64Async(text, width, height, dpmm));
  process.stdout.write(JSON.stringify(pictures), () => process.exit(0));
});
"""


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    asked = os.environ.get("ZPL_RENDERER", "")
    if not asked:
        pytest.skip("ZPL NOT CHECKED by an independent renderer: set ZPL_RENDERER=install")
    if shutil.which("node") is None:
        pytest.skip("ZPL NOT CHECKED by an independent renderer: there is no node")
    if asked != "install":
        return Path(asked)
    folder = tmp_path_factory.mktemp("node")
    words = ["npm", "install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts"]
    try:
        done = subprocess.run(
            [*words, "--prefix", str(folder), PACKAGE],
            capture_output=True, text=True, timeout=90, cwd=folder, check=False,
        )  # fmt: skip
        told = "" if done.returncode == 0 else done.stderr[-300:]
    except (OSError, subprocess.TimeoutExpired) as error:
        told = str(error)
    if told:
        pytest.skip(f"ZPL NOT CHECKED by an independent renderer: {PACKAGE} not to be had: {told}")
    return folder


def rendered(modules: Path, wanted: list[tuple[str, int, int, int]]) -> list[Image.Image]:
    done = subprocess.run(
        ["node", "-e", SCRIPT], input=json.dumps(wanted), capture_output=True, text=True,
        timeout=100, cwd=modules, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    files = [base64.b64decode(picture) for picture in json.loads(done.stdout)]
    return [Image.open(io.BytesIO(file)).convert("L").point(_threshold, "1") for file in files]


def _threshold(grey: int) -> int:
    return 255 if grey >= 128 else 0


@pytest.mark.parametrize("dpi", [203, 300])
def test_an_independent_renderer_sees_the_same_dots(modules: Path, dpi: int) -> None:
    dots = {203: 8, 300: 12}[dpi]
    drawn: list[Image.Image] = []
    wanted: list[tuple[str, int, int, int]] = []
    for stem in ("waybill-100x150", "waybill-76x130", "return-ticket-76x130"):
        template = labels.read_template(ROOT / "firmware_configs" / "labels" / f"{stem}.toml")
        fields = FIELDS if template.kind == "waybill" else labels.SAMPLES[template.kind]
        image = renderer().render(template, fields, dpi)
        size = template.width_mm, template.height_mm
        for encoding in zpl.ENCODINGS:
            data = zpl.frame(image, *size, encoding=encoding, job_tag="J-1")
            drawn.append(image)
            wanted.append((data.decode("ascii"), *size, dots))
    for ours, theirs in zip(drawn, rendered(modules, wanted), strict=True):
        assert theirs.size == ours.size
        assert ImageChops.logical_xor(ours, theirs).convert("L").getbbox() is None
        assert read_codes(theirs) == read_codes(ours)
