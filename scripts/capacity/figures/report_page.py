"""The report: one HTML page with claims, figures, loss curves and the capacity table down to its manifests.

The page is whole in one file and works offline. What it shows of manifests differs from one execution to the next, so
it belongs to no artefact; the engine writes it anew for every report.
"""

import base64
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from capacity.artefacts.manifest import read_manifest
from capacity.errors import UserError
from capacity.figures.training_curves import plot_curves, read_curves
from capacity.jobs.run_loggers import CURVES
from capacity.tables.claims import number_and_interval, published_text, region_text
from capacity.tables.naming import cell_names
from capacity.tables.summary import summarise

COLUMNS = (
    *("study", "run", "seed", "scheme", "N", "exposures", "P"),
    *("R", "95 %", "R_calibrated", "R_max", "accuracy"),
)
FINDING_COLUMNS = ("exposures", "scheme", "R", "interval", "seeds", "R_calibrated", "N", "run")
NUMBERS = {"N", "exposures", "seed", "seeds", "P", "R", "95 %", "interval", "R_calibrated", "R_max", "accuracy"}
ALWAYS = {"run", "scheme", "P", "R", "95 %", "R_max", "accuracy"}  # columns that stay where all rows say the same
PARENTS = ("dataset", "tokenizer", "checkpoint", "variant", "probe")
MOST_EMBEDDED_BYTES = 4_000_000  # of manifests
MAIN_FIGURES = ("figure1", "capacity")

Row = dict[str, Any]


def write_report(
    table: pd.DataFrame,
    claims: pd.DataFrame | None,
    studies: Mapping[str, Any],
    results: Path,
    templates: Path,
    output: Path,
) -> None:
    """Writes the page, and on the way the loss curves of the table's studies into results/curves/.

    studies: name -> question and paper. claims: as claims.csv has them, or None.
    """
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(templates), autoescape=True, trim_blocks=True)
    records = table.to_dict("records")
    rows = [_table_row({**row, "run": name}) for row, name in zip(records, cell_names(records), strict=True)]
    columns, same = _columns(rows, COLUMNS)
    manifests = _manifests(table, results)
    embedded = len(json.dumps(manifests)) <= MOST_EMBEDDED_BYTES
    judged = [] if claims is None else [_claim_row(row) for row in claims.to_dict("records")]
    told = [row for row in judged if row["studies"]]
    page = environment.get_template("report.html.jinja").render(
        models=table["checkpoint_id"].nunique(),
        scale=judged[0]["scale"] if judged else "",
        verdicts=Counter(row["verdict"] for row in told),
        claims=told,
        further=[row for row in judged if not row["studies"]],
        images={name: _image(results / "figures" / f"{name}.png") for name in MAIN_FIGURES},
        studies=[
            _study(name, studies.get(name, {}), rows, told, results)
            for name, rows in table.groupby("study", sort=False)
        ],
        columns=columns,
        same=same,
        numbers=NUMBERS,
        rows=rows,
        manifests=_json_in_html(manifests if embedded else {}),
        embedded=embedded,
    )
    output.write_text(page, encoding="utf-8")


def read_claims_table(path: Path) -> pd.DataFrame:
    """The verdicts in a claims.csv."""
    claims = pd.read_csv(path, keep_default_na=False, na_values={name: [""] for name in ("measured", "low", "high")})
    return claims.astype({"seeds": int})


def _study(
    name: Any, about: Mapping[str, str], rows: pd.DataFrame, claims: Sequence[Row], results: Path
) -> dict[str, Any]:
    """What the page shows of one study. rows: of the table."""
    found = list(findings(rows))
    return {
        "name": name,
        "question": about.get("question", ""),
        "paper": about.get("paper", ""),
        "figure": _image(results / "figures" / f"study-{name}.png"),
        "findings": found,
        "finding_columns": [column for column in FINDING_COLUMNS if any(str(row[column]) for row in found)],
        "claims": [row for row in claims if name in str(row["studies"]).split()],
        "curves": _curves(str(name), rows, results),
    }


def _curves(name: str, rows: pd.DataFrame, results: Path) -> str:
    """The loss curves of a study as an image; none where the trainings are not here."""
    curves, _ = read_curves(rows.to_dict("records"), results)
    if curves.empty:
        return ""
    folder = results / CURVES
    folder.mkdir(exist_ok=True)
    plot_curves(curves, name, folder)
    return _image(folder / f"{name}.png")


def _image(path: Path) -> str:
    """An image as the address of its own bytes."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _table_row(row: Mapping[str, Any]) -> Row:
    """One variant as text. row: of the table, `run` being the name of its cell."""
    shown = {column: row[column] for column in COLUMNS if column in row}
    shown |= {"R": f"{row['R']:.3f}", "R_max": f"{row['R_max']:.3f}", "accuracy": f"{100 * row['accuracy']:.1f} %"}
    shown["R_calibrated"] = _number(row["R_calibrated"], 3)
    shown |= {"95 %": f"{row['R_low']:.3f} to {row['R_high']:.3f}", "parents": artefacts_of(row)}
    return shown


def _number(value: float, digits: int) -> str:
    return "" if pd.isna(value) else f"{value:.{digits}f}"


def _columns(rows: Sequence[Row], columns: Sequence[str]) -> tuple[list[str], Row]:
    """The columns in which rows differ, and what the others say, where they say anything."""
    differ = [column for column in columns if column in ALWAYS or len({row[column] for row in rows}) > 1]
    same = {column: rows[0][column] for column in columns if column not in differ}
    return differ, {column: value for column, value in same.items() if value != ""}


def artefacts_of(row: Mapping[str, Any]) -> list[str]:
    """Names of the artefacts that a row of the table rests on."""
    return [f"{parent}s/{row[f'{parent}_id']}" for parent in PARENTS]


def _manifests(table: pd.DataFrame, results: Path) -> dict[str, Any]:
    """The manifests of all artefacts that the table rests on, without the digests of each module."""
    names = dict.fromkeys(name for row in table.to_dict("records") for name in artefacts_of(row))
    manifests: dict[str, Any] = {}
    for name in names:
        try:
            manifest = read_manifest(results / name)
        except UserError as error:
            manifests[name] = str(error)
            continue
        manifest["code"] = {key: value for key, value in manifest["code"].items() if key != "modules"}
        manifests[name] = manifest
    return manifests


def _json_in_html(value: Any) -> Markup:
    """JSON that may stand in a script element whatever it holds."""
    return Markup(json.dumps(value).replace("<", "\\u003c"))


def _claim_row(row: Mapping[str, Any]) -> Row:
    measured, interval = number_and_interval(row)
    texts = {"published_text": published_text(row), "region_text": region_text(row)}
    return {**row, **texts, "measured_text": measured, "interval_text": interval}


def findings(rows: pd.DataFrame) -> Iterable[Row]:
    """The highest mean R of each number of exposures and each scheme, at chosen rates, and the run that it is of."""
    summary = summarise(rows[rows["chosen"].astype(bool)])
    summary["run"] = cell_names(summary.to_dict("records"))
    for _, group in summary.groupby(["exposures", "scheme"], sort=False):
        best = group.loc[group["R"].idxmax()]
        interval = f"{best['R_low']:.2f} to {best['R_high']:.2f}" if best["seeds"] > 1 else ""
        shown = {column: best[column] for column in ("exposures", "scheme", "seeds", "N", "run")}
        yield shown | {"R": f"{best['R']:.2f}", "interval": interval, "R_calibrated": _number(best["R_calibrated"], 2)}
