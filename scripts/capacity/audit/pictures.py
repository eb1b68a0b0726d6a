"""Pictures of an audited folder: whether one is what its data gives, and whether one may be opened at all."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

from capacity.audit.numbers import text_deviation

PLACE = 1e-3  # relative, of a coordinate that another processor computed
SHADE = 32 / 255  # of a pixel
MADE_ID = re.compile(r"\b[A-Za-z][0-9a-f]{10}\b")  # of a shape, by a digest of its coordinates
# What drawings of this project consist of; nothing of it runs or fetches.
DRAWN = {
    *("svg", "g", "defs", "path", "use", "rect", "clipPath", "style", "image"),
    *("metadata", "RDF", "Work", "format", "type", "title"),
}
OUTSIDE = re.compile(r"url\((?!#)|@import|expression\(", re.IGNORECASE)


def is_same_picture(mine: Path, other: Path) -> bool:
    """Whether two pictures of one kind, SVG or PNG, show the same, to what two processors compute otherwise."""
    try:
        if mine.read_bytes() == other.read_bytes():
            return True
        if mine.suffix == ".svg":
            texts = (MADE_ID.sub("id", path.read_text(encoding="utf-8")) for path in (mine, other))
            return text_deviation(*texts) <= PLACE
        return _are_same_pixels(mine, other)
    except (OSError, ValueError, SyntaxError):
        return False


def _are_same_pixels(mine: Path, other: Path) -> bool:
    from matplotlib.image import imread

    a, b = imread(mine), imread(other)
    return a.shape == b.shape and bool((np.abs(a - b) <= SHADE).all())


def unsafe(path: Path) -> str:
    """What of an SVG runs, fetches, or is none of what a drawing consists of; empty where nothing does."""
    try:
        text = path.read_bytes().decode("utf-8")
        if "<!ENTITY" in text or "<?xml-stylesheet" in text:
            return "declares entities or a style sheet"
        elements = list(ET.fromstring(text).iter())
    except (OSError, ValueError, ET.ParseError, RecursionError) as error:
        return f"is no readable SVG ({type(error).__name__})"
    for element in elements:
        tag = _local(element.tag)
        if tag not in DRAWN:
            return f"holds <{tag[:40]}>, of which no drawing here consists"
        for name, value in element.attrib.items():
            leads_out = _local(name) == "href" and not value.startswith(("#", "data:image/png;base64,"))
            if leads_out or _local(name).lower().startswith("on") or OUTSIDE.search(value):
                return f"has {_local(name)[:40]}={value[:40]!r}, which runs or fetches something"
        if OUTSIDE.search(element.text or ""):
            return f"has a <{tag}> that fetches something"
    return ""


def _local(name: str) -> str:
    """A name without its namespace."""
    return name.rpartition("}")[2]
