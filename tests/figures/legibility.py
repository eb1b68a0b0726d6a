"""What makes a figure hard to read: overlapping text, text off the canvas, points off the axes, colours too alike."""

from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

SLACK = 1.0  # pixels by which boxes may touch
LEAST_DISTANCE = 15.0  # in CIELAB; about 2.3 can just be told apart side by side
# Machado, Oliveira and Fernandes 2009, severity 1, in linear RGB.
SEEN = {
    "all colours": np.eye(3),
    "no long waves": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no medium waves": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no short waves": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = TO_XYZ.sum(axis=1)


def faults(figure: Figure) -> list[str]:
    """All that is wrong with a figure, one line a fault."""
    texts = _drawn_texts(figure)
    return [*_overlapping(texts), *_off_canvas(figure, texts), *_off_axes(figure), *_alike(figure)]


def _drawn_texts(figure: Figure) -> list[tuple[str, Bbox]]:
    """Every text that is drawn, with its box in pixels; a tick out of sight is not drawn."""
    drawn: list[Text] = []
    draw = Text.draw

    def noted(text: Text, renderer: Any) -> None:
        if text.get_visible() and text.get_text().strip():
            drawn.append(text)
        draw(text, renderer)

    canvas = FigureCanvasAgg(figure)
    Text.draw = noted  # type: ignore[method-assign]
    try:
        canvas.draw()
    finally:
        Text.draw = draw  # type: ignore[method-assign]
    return [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in dict.fromkeys(drawn)]


def _overlapping(texts: list[tuple[str, Bbox]]) -> list[str]:
    return [
        f"{one!r} overlaps {other!r}"
        for (one, a), (other, b) in combinations(texts, 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > SLACK and min(a.y1, b.y1) - max(a.y0, b.y0) > SLACK
    ]


def _off_canvas(figure: Figure, texts: list[tuple[str, Bbox]]) -> list[str]:
    whole = figure.bbox
    return [
        f"{text!r} leaves the canvas"
        for text, box in texts
        if box.x0 < -SLACK or box.y0 < -SLACK or box.x1 > whole.x1 + SLACK or box.y1 > whole.y1 + SLACK
    ]


def _off_axes(figure: Figure) -> list[str]:
    """Points with a marker, and marks of R_max, that are outside the axes that they belong to."""
    found = []
    for axes in figure.axes:
        box = axes.get_window_extent()
        for line in axes.lines:
            points = line.get_transform().transform(np.column_stack(line.get_data(orig=False)).astype(float))
            points = points[np.isfinite(points).all(axis=1)] if line.get_marker() not in ("None", "") else points[:0]
            outside = (points < [box.x0 - SLACK, box.y0 - SLACK]) | (points > [box.x1 + SLACK, box.y1 + SLACK])
            if outside.any():
                found.append(
                    f"{outside.any(axis=1).sum()} points marked {line.get_marker()} are outside {axes.get_title()!r}"
                )
    return found


def _alike(figure: Figure) -> list[str]:
    """Pairs of series colours, of figure and legend, that someone cannot tell apart."""
    lines = [line for axes in figure.axes for line in axes.lines if line.get_marker() not in ("None", "")]
    lines += [handle for legend in figure.legends for handle in legend.legend_handles]
    colours = dict.fromkeys(to_rgb(line.get_color()) for line in lines)
    series = [colour for colour in colours if colour == (0, 0, 0) or max(colour) - min(colour) > 0.1]  # grey: no series
    return [
        f"{a} and {b} are alike to one who sees {who}"
        for a, b in combinations(series, 2)
        for who, matrix in SEEN.items()
        if np.linalg.norm(_lab(a, matrix) - _lab(b, matrix)) < LEAST_DISTANCE
    ]


def _lab(colour: tuple[float, float, float], matrix: Any) -> Any:
    """A colour of sRGB in CIELAB, as it is seen through a matrix."""
    rgb = np.array(colour)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(np.array(matrix) @ linear, 0, 1) / WHITE
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])
