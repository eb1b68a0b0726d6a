"""Verdicts at several scales side by side, so that a reader sees what changes with the size of the models."""

from collections.abc import Iterable, Mapping

import pandas as pd

from capacity.tables.claims import (
    INCONCLUSIVE,
    NOT_REPRODUCED,
    NOT_RUN,
    REPRODUCED,
    in_a_cell,
    number_and_interval,
    published_text,
    region_text,
    result_text,
)

Judged = Mapping[str, pd.DataFrame]  # scale -> one row a claim, as `judge` gives them


def heads_in_order_of_size(tables: Mapping[str, pd.DataFrame], judged: Judged) -> dict[str, str]:
    """Scale to the head of its column, such as `laptop, 3k to 18k`: the scale of the smallest median model first.

    Models are those that a claim rests on; where none does, all.
    """
    sizes = {scale: _models(table, judged[scale])["P"] for scale, table in tables.items()}
    order = sorted(sizes, key=lambda scale: float(sizes[scale].median()))
    return {scale: f"{scale}, {_range_text(sizes[scale].min(), sizes[scale].max())}" for scale in order}


def _models(table: pd.DataFrame, judged: pd.DataFrame) -> pd.DataFrame:
    """One row of each model that a claim rests on; where none does, of all."""
    models = table.drop_duplicates("checkpoint_id")
    used = models[models["checkpoint_id"].isin({run for runs in judged["runs"] for run in runs.split()})]
    return models if used.empty else used


def of_record(judged: Judged, scales: Iterable[str]) -> pd.DataFrame:
    """Each claim's row at the largest scale that was run. scales: the smallest first."""
    scales = list(scales)
    rows = []
    for number in range(len(next(iter(judged.values())))):
        at_scales = [judged[scale].iloc[number] for scale in scales]
        was_run = [row for row in at_scales if row["verdict"] != NOT_RUN]
        rows.append((was_run or at_scales)[-1])
    return pd.DataFrame(rows).reset_index(drop=True)


def scales_markdown(judged: Judged, heads: Mapping[str, str], keep: pd.Series) -> str:
    """The claims that `keep` marks as a Markdown table: what each scale measured, the verdict of the largest one.

    heads: of the columns, `heads_in_order_of_size`.
    """
    record = of_record(judged, heads)
    lines = [
        f"| result | the paper says | unit | published | accepted | {' | '.join(heads.values())} | verdict |",
        "|" + "---|" * (6 + len(heads)),
    ]
    for number in record.index[keep.to_numpy()]:
        row = record.loc[number]
        cells = [_cell(judged[scale].iloc[number]) for scale in heads]
        at = f" ({row['scale']})" if row["verdict"] != NOT_RUN else ""
        verdict = f"**{row['verdict']}**{at}" + (f": {row['reason']}" if row["reason"] else "")
        lines.append(
            f"| {result_text(row)} | {in_a_cell(row['statement'])} | {row['unit']} | {published_text(row)} | "
            f"{region_text(row)} | {' | '.join(cells)} | {verdict} |"
        )
    return "\n".join(lines) + "\n"


def counts_text(record: pd.DataFrame) -> str:
    """How many claims have which verdict, and of which of the paper's results none is reproduced, as one line."""
    counts = record["verdict"].value_counts()
    each = [f"{counts.get(verdict, 0)} {verdict}" for verdict in (REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE, NOT_RUN)]
    has_one = record.groupby("result")["verdict"].agg(lambda verdicts: REPRODUCED in set(verdicts))
    none = [f"{result}" for result, found in has_one.items() if result and not found]
    rest = f" Of the paper's results {', '.join(none)} no claim is reproduced." if none else ""
    return f"Of all {len(record)} claims: {', '.join(each)}.{rest}\n"


def _range_text(least: float, most: float) -> str:
    """From the smallest to the largest model."""
    return size_text(least) if least == most else f"{size_text(least)} to {size_text(most)}"


def size_text(size: float) -> str:
    """A number of parameters as people say it: 9k, 34k, 0.43M."""
    return f"{size / 1e3:.0f}k" if size < 1e6 else f"{size / 1e6:.3g}M"


def _cell(row: pd.Series) -> str:
    measured, interval = number_and_interval(row)
    return f"{measured} ({interval})" if measured else ""
