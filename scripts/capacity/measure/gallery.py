"""The gallery: cards of several measures side by side, ranked by what each keeps beside a GPT-2 of its own size."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from capacity.errors import UserError
from capacity.figures.drawing import COLOURS, GUIDE, MARKERS, save, style
from capacity.measure.pair import BASELINE, CANDIDATE

CARD = "card.json"
HEIGHT = 0.34  # inches an entry
HEAD = "| model | P | exposures | R | of GPT-2's R | int8 leaves | FLOPs a token, of GPT-2's | limits |"


def read_gallery(folder: Path) -> pd.DataFrame:
    """One row a card and number of exposures, the highest ratio after most exposures first; empty without a card.

    R: the most bits a parameter that it keeps. ratio: over GPT-2's, paired by seed, with its interval over seeds. int8:
    the share of R that is left, in the row of most exposures alone. flops: a token's in training, over GPT-2's. limits:
    how many the card names. Raises UserError for a file that is no card.
    """
    rows = [row for path in sorted(folder.glob(f"*/{CARD}")) for row in _rows(path)]
    if not rows:
        return pd.DataFrame()
    table = pd.DataFrame(rows)
    most = table[table["exposures"] == table["exposures"].max()].set_index("model")["ratio"]
    place = table["model"].map(most.rank(ascending=False, method="first"))
    return table.assign(place=place).sort_values(["exposures", "place"], ascending=[False, True]).drop(columns="place")


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of one card."""
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        flops = card["flops_a_token"]
        about = {"model": path.parent.name, "P": card["P"][CANDIDATE], "seeds": card["seeds"]}
        about["flops"] = flops[CANDIDATE] / flops[BASELINE]
        kept = {max(card["peak_ratio"], key=int): card["kept"]["int8"][CANDIDATE]["mean"]}
        for exposures, ratio in card["peak_ratio"].items():
            stored = {
                "R": card["peak"][exposures][CANDIDATE]["mean"],
                "R_baseline": card["peak"][exposures][BASELINE]["mean"],
            }
            ends = {"ratio": ratio["mean"], "ratio_low": ratio["low"], "ratio_high": ratio["high"]}
            rest = {"int8": kept.get(exposures), "limits": len(card["limits"])}
            yield {**about, "exposures": int(exposures), **stored, **ends, **rest}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: no card of capacity measure ({type(error).__name__}: {error})") from None


def gallery_markdown(table: pd.DataFrame) -> str:
    """The ranking as people read it."""
    lines = [HEAD, "|---" * HEAD.count(" | ") + "|---|"]
    for row in table.to_dict("records"):
        ratio = f"**{row['ratio']:.2f}** ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})"
        int8 = "" if math.isnan(row["int8"]) else f"{row['int8']:.3f}"
        lines.append(
            f"| [{row['model']}]({row['model']}/card.md) | {row['P']:,} | {row['exposures']:,} | {row['R']:.2f} | "
            f"{ratio} | {int8} | {row['flops']:.2f} | {row['limits']} |"
        )
    return "\n".join(lines) + "\n"


def plot_gallery(table: pd.DataFrame, folder: Path) -> None:
    """Writes gallery.png, .svg and .csv: a panel a number of exposures, the ratios with their intervals."""
    exposures = sorted(table["exposures"].unique(), reverse=True)
    models = list(dict.fromkeys(table["model"]))[::-1]
    with style():
        size = (3.4 * len(exposures) + 1, HEIGHT * len(models) + 1.2)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(1, len(exposures), sharey=True, squeeze=False)[0]
        for axes, E in zip(panels, exposures, strict=True):
            part = table[table["exposures"] == E].set_index("model").reindex(models)
            ends = [part["ratio"] - part["ratio_low"], part["ratio_high"] - part["ratio"]]
            axes.axvline(1, **GUIDE)
            axes.errorbar(
                part["ratio"],
                range(len(models)),
                xerr=ends,
                color=COLOURS[1],
                marker=MARKERS[0],
                linestyle="none",
                capsize=2,
            )
            axes.set(title=f"{E:,} exposures", xlabel="bits, over GPT-2's of the same size")
        panels[0].set_yticks(range(len(models)), models)
        save(figure, folder, "gallery", "How much do other models remember?", table)
