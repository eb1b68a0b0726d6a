"""Pictures: another one is told from one that another processor drew, and none that runs or fetches passes."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from capacity.audit.pictures import is_same_picture, unsafe
from capacity.environment import REPOSITORY

DRAWING = REPOSITORY / "results" / "reference" / "figure1.svg"


@pytest.fixture(params=[".svg", ".png"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """A committed picture twice."""
    paths = (tmp_path / f"a{request.param}", tmp_path / f"b{request.param}")
    for path in paths:
        path.write_bytes(DRAWING.with_suffix(request.param).read_bytes())
    return paths


def move(path: Path, far: float) -> None:
    """Change some numbers, or a square of pixels."""
    if path.suffix == ".svg":
        text = path.read_text()
        first = text.index('<use xlink:href="#m')
        at = text.index(' x="', first) + 4
        end = text.index('"', at)
        path.write_text(f"{text[:at]}{float(text[at:end]) * (1 + far):.6f}{text[end:]}")
    else:
        pixels = matplotlib.image.imread(path)[..., :3].copy()
        pixels[50:70, 50:70] = np.clip(pixels[50:70, 50:70] - far * 20, 0, 1)
        matplotlib.image.imsave(path, pixels)


def test_a_picture_is_the_same_to_what_processors_compute_otherwise(pair: tuple[Path, Path]):
    mine, other = pair
    assert is_same_picture(mine, other)
    if mine.suffix == ".svg":
        text = mine.read_text()
        made = text[text.index('<path id="m') + 10 :][:11]
        mine.write_text(text.replace(made, made[:1] + "0123456789"))
        assert is_same_picture(mine, other)
        move(mine, 1e-6)
        assert is_same_picture(mine, other)


def test_a_point_that_was_moved_is_another_picture(pair: tuple[Path, Path]):
    mine, other = pair
    move(mine, 0.05)
    assert not is_same_picture(mine, other)
    mine.write_bytes(b"nothing")
    assert not is_same_picture(mine, other)


def test_committed_drawings_may_be_opened():
    drawings = sorted(DRAWING.parent.rglob("*.svg"))
    assert len(drawings) > 10
    assert [path for path in drawings if unsafe(path)] == []


@pytest.mark.parametrize(
    "evil",
    [
        "<script>alert(1)</script>",
        "<foreignObject><body/></foreignObject>",
        '<g onload="alert(1)"/>',
        '<image xlink:href="https://example.org/x.png"/>',
        '<use href="other.svg#x"/>',
        '<a xlink:href="#x"/>',
        "<style>@import 'x.css';</style>",
        '<g style="fill: url(https://example.org/x)"/>',
        "<animate/>",
        "<broken",
    ],
)
def test_a_drawing_that_runs_or_fetches_something_is_told(tmp_path: Path, evil: str):
    path = tmp_path / "x.svg"
    path.write_text(DRAWING.read_text().replace("</svg>", f"{evil}</svg>"))
    assert unsafe(path)


@pytest.mark.parametrize("head", ['<?xml-stylesheet href="x.css"?>', '<!DOCTYPE svg [<!ENTITY a "b">]>'])
def test_a_style_sheet_or_an_entity_is_told(tmp_path: Path, head: str):
    path = tmp_path / "x.svg"
    path.write_text(head + '<svg xmlns="http://www.w3.org/2000/svg"/>')
    assert unsafe(path)
