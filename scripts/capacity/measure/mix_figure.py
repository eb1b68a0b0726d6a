"""The figure of a mix: the share of the bits on offer that is kept, over exposures, a line a kind of text."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from capacity.figures.drawing import COLOURS, GUIDE, LINES, MARKERS, save, style
from capacity.measure.mix_card import HALF, MixCard


def plot_mix(card: MixCard, folder: Path) -> None:
    """Writes mix.png, .svg and .csv into the folder."""
    exposures = [cell.exposures for cell in card.arms[0].cells]
    with style():
        figure = Figure(figsize=(5.6, 3.8), layout="constrained")
        axes = figure.subplots()
        axes.axhline(HALF, **GUIDE)
        for number, arm in enumerate(card.arms):
            kept = [cell.kept for cell in arm.cells]
            axes.errorbar(
                exposures,
                [each.mean for each in kept],
                yerr=[[each.mean - each.low for each in kept], [each.high - each.mean for each in kept]],
                color=COLOURS[number % len(COLOURS)],
                marker=MARKERS[number % len(MARKERS)],
                linestyle=LINES[number % len(LINES)],
                capsize=2,
                label=arm.arm,
            )
        axes.set(xscale="log", xlabel="exposures of a fact", ylabel="share of the bits on offer that is kept")
        axes.xaxis.set_major_locator(FixedLocator(exposures))
        axes.xaxis.set_major_formatter(FixedFormatter([f"{each:,}" for each in exposures]))
        axes.xaxis.set_minor_locator(NullLocator())
        figure.legend(loc="outside lower center", ncols=1, frameon=False)
        rows = [
            {"text": arm.arm, "exposures": cell.exposures, "N": cell.N, "lr": cell.lr, "kept": cell.kept.mean}
            | {"kept_low": cell.kept.low, "kept_high": cell.kept.high}
            for arm in card.arms
            for cell in arm.cells
        ]
        save(figure, folder, "mix", "How often must a fact be told among junk?", pd.DataFrame(rows))
