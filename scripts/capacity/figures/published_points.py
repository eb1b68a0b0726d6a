"""Points of the paper's own figure: GPT-2 on bioS(N) after 1000 exposures, arXiv 2404.05405, Figure 1(a).

Digitised by a third party from the figure's vector graphics. N and the formula of P give R_max; five models each for
N of 50K to 1M, one each above.
"""

from typing import NamedTuple


class Point(NamedTuple):
    """One model of the figure."""

    N: int
    P: float
    R_max: float
    R: float


def _series(N: int, millions: tuple[float, ...], R_max: tuple[float, ...], R: tuple[float, ...]) -> list[Point]:
    return [Point(N, 1e6 * P, *ratios) for P, *ratios in zip(millions, R_max, R, strict=True)]


FIGURE_1A = (
    *_series(50_000, (0.816, 1.01, 1.41, 1.61, 2.01), (3.63, 2.92, 2.10, 1.84, 1.48), (1.72, 1.93, 1.74, 1.67, 1.43)),
    *_series(100_000, (1.21, 1.61, 2.41, 3.21, 4.00), (4.80, 3.62, 2.42, 1.82, 1.46), (2.13, 2.16, 1.91, 1.74, 1.43)),
    *_series(200_000, (2.41, 2.85, 4.79, 5.58, 6.58), (4.75, 4.01, 2.39, 2.05, 1.74), (2.31, 2.35, 2.03, 1.90, 1.70)),
    *_series(500_000, (5.58, 7.16, 10.1, 13.5, 15.5), (5.01, 3.91, 2.76, 2.07, 1.81), (2.72, 2.50, 2.17, 1.98, 1.77)),
    *_series(1_000_000, (11.9, 17.2, 22.6, 26.9, 30.9), (4.61, 3.19, 2.44, 2.04, 1.78), (2.71, 2.34, 2.16, 1.97, 1.75)),
    Point(2_000_000, 52.1e6, 2.07, 2.01),
    Point(5_000_000, 122.3e6, 2.15, 2.05),
    Point(10_000_000, 255.3e6, 2.02, 1.95),
)
