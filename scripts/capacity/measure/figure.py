"""The figure of a card: R against what is offered, the candidate beside the baseline, a panel a number of exposures."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from capacity.figures.drawing import COLOURS, GUIDE, MARKERS, R_MAX, R, save, style
from capacity.measure.card import MeasureCard
from capacity.measure.pair import BASELINE, CANDIDATE


def plot_card(card: MeasureCard, folder: Path) -> None:
    """Writes card.png, .svg and .csv into the folder."""
    exposures = sorted(card.peak, reverse=True)
    with style():
        figure = Figure(figsize=(3.2 * len(exposures) + 0.6, 3.2), layout="constrained")
        panels = figure.subplots(1, len(exposures), sharey=True, squeeze=False)[0]
        for axes, E in zip(panels, exposures, strict=True):
            cells = sorted((cell for cell in card.cells if cell.exposures == E), key=lambda cell: cell.N)
            most = max(max(cell.R_max.values()) for cell in cells)
            axes.plot([0, most], [0, most], **GUIDE)
            for number, (who, label) in enumerate({CANDIDATE: card.name, BASELINE: card.against}.items()):
                means = [cell.R[who] for cell in cells]
                ends = [[each.mean - each.low for each in means], [each.high - each.mean for each in means]]
                axes.errorbar(
                    [cell.R_max[who] for cell in cells],
                    [each.mean for each in means],
                    yerr=ends,
                    color=COLOURS[number],
                    marker=MARKERS[number],
                    capsize=2,
                    label=label,
                )
            axes.set(xlabel=f"bits offered a parameter, {R_MAX}", title=f"{E:,} exposures", ylim=(0, None))
        panels[0].set_ylabel(f"bits stored a parameter, {R}")
        panels[0].legend(frameon=False)
        title = f"How much does {card.name} remember?"
        save(figure, folder, "card", title, pd.DataFrame(_rows(card)))


def _rows(card: MeasureCard) -> Iterator[dict[str, Any]]:
    """What is drawn, one row a point."""
    for cell in card.cells:
        for who, stored in cell.R.items():
            yield {"exposures": cell.exposures, "N": cell.N, "R_max": cell.R_max[who], "model": who} | {
                "R": stored.mean,
                "R_low": stored.low,
                "R_high": stored.high,
            }
