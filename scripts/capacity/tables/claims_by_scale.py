"""Verdicts at several scales side by side, so that a reader sees what changes with the size of the models."""

from collections.abc import Mapping

import pandas as pd

from capacity.tables.claims import NOT_RUN, number_and_interval, published_text, result_text

Judged = Mapping[str, pd.DataFrame]  # scale -> one row a claim, as `judge` gives them


def in_order_of_size(tables: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    """Scale to the median number of parameters of its runs, the smallest first."""
    sizes = {scale: float(table.drop_duplicates("checkpoint_id")["P"].median()) for scale, table in tables.items()}
    return dict(sorted(sizes.items(), key=lambda item: item[1]))


def of_record(judged: Judged, sizes: Mapping[str, float]) -> pd.DataFrame:
    """Each claim's row at the largest scale that was run; `sizes` gives the scales, the smallest first."""
    rows = []
    for number in range(len(next(iter(judged.values())))):
        at_scales = [judged[scale].iloc[number] for scale in sizes]
        was_run = [row for row in at_scales if row["verdict"] != NOT_RUN]
        rows.append((was_run or at_scales)[-1])
    return pd.DataFrame(rows).reset_index(drop=True)


def scales_markdown(judged: Judged, sizes: Mapping[str, float], keep: pd.Series) -> str:
    """The claims that `keep` marks as a Markdown table: what each scale measured, the verdict of the largest one."""
    record = of_record(judged, sizes)
    heads = [f"{scale}, {size_text(size)}" for scale, size in sizes.items()]
    lines = [
        f"| result | the paper says | published | {' | '.join(heads)} | verdict |",
        "|" + "---|" * (4 + len(heads)),
    ]
    for number in record.index[keep.to_numpy()]:
        row = record.loc[number]
        cells = [_cell(judged[scale].iloc[number]) for scale in sizes]
        at = f" ({row['scale']})" if row["verdict"] != NOT_RUN else ""
        verdict = f"**{row['verdict']}**{at}" + (f": {row['reason']}" if row["reason"] else "")
        lines.append(
            f"| {result_text(row)} | {row['statement']} | {published_text(row)} | {' | '.join(cells)} | {verdict} |"
        )
    return "\n".join(lines) + "\n"


def size_text(size: float) -> str:
    """A number of parameters as people say it: 9k, 34k, 0.43M."""
    return f"{size / 1e3:.0f}k" if size < 1e6 else f"{size / 1e6:.3g}M"


def _cell(row: pd.Series) -> str:
    measured, interval = number_and_interval(row)
    return f"{measured} ({interval})" if measured else ""
