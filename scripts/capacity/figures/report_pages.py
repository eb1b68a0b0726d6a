"""The pages and captions of the engine's HTML report: claims, the capacity table down to its manifests, findings.

Pages are whole in one file and work offline. What they show of manifests differs from one execution to the next, so
they belong to no artefact; the engine writes them anew for every report.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from capacity.artefacts.manifest import read_manifest
from capacity.errors import UserError
from capacity.tables.claims import number_and_interval, published_text, result_text
from capacity.tables.naming import cell_names
from capacity.tables.summary import summarise

COLUMNS = (
    *("study", "setting", "dataset", "N", "exposures", "tokenizer", "model", "regime", "lr", "seed", "scheme"),
    *("P", "R", "95 %", "R_calibrated", "R_max", "accuracy"),
)
NUMBERS = {"N", "exposures", "lr", "seed", "P", "95 %", "R_calibrated", "R_max", "accuracy"}
PARENTS = ("dataset", "tokenizer", "checkpoint", "variant", "probe")
MOST_EMBEDDED_BYTES = 4_000_000  # of manifests; the report, which holds the page as base64, stays below 10 MB


def write_pages(
    table: pd.DataFrame, claims: pd.DataFrame | None, studies: Mapping[str, Any], results: Path, templates: Path
) -> None:
    """Writes capacity_table.html, claims.html and a caption a figure into results/report/.

    studies: name -> question and paper, of the studies in the table. claims: as claims.csv has them, or None.
    """
    folder = results / "report"
    folder.mkdir(exist_ok=True)
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(templates), autoescape=True, trim_blocks=True)

    def write(page: str, **content: Any) -> None:
        (folder / page).write_text(environment.get_template(f"{page}.jinja").render(**content), encoding="utf-8")

    manifests = _manifests(table, results)
    embedded = len(json.dumps(manifests)) <= MOST_EMBEDDED_BYTES
    write(
        "capacity_table.html",
        columns=COLUMNS,
        numbers=NUMBERS,
        rows=[_table_row(row) for row in table.to_dict("records")],
        manifests=_json_in_html(manifests if embedded else {}),
        embedded=embedded,
    )
    rows = [] if claims is None else claims.to_dict("records")
    write("claims.html", rows=[_claim_row(row) for row in rows], scale=rows[0]["scale"] if rows else "")
    for name, text in captions(table, claims, studies).items():
        (folder / f"{name}.rst").write_text(text, encoding="utf-8")


def read_claims_table(path: Path) -> pd.DataFrame:
    """The verdicts in a claims.csv."""
    claims = pd.read_csv(path, keep_default_na=False, na_values={name: [""] for name in ("measured", "low", "high")})
    return claims.astype({"seeds": int})


def _table_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """One variant as text."""
    shown = {column: row[column] for column in COLUMNS if column in row}
    shown |= {"R": f"{row['R']:.3f}", "R_max": f"{row['R_max']:.3f}", "accuracy": f"{100 * row['accuracy']:.1f} %"}
    shown["lr"] = f"{row['lr']:g}"
    shown["R_calibrated"] = "" if pd.isna(row["R_calibrated"]) else f"{row['R_calibrated']:.3f}"
    shown |= {"95 %": f"{row['R_low']:.3f} to {row['R_high']:.3f}", "parents": artefacts_of(row)}
    return shown


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


def _claim_row(row: Mapping[str, Any]) -> dict[str, Any]:
    measured, interval = number_and_interval(row)
    texts = {"result_text": result_text(row), "published_text": published_text(row)}
    return {**row, **texts, "measured_text": measured, "interval_text": interval}


def captions(table: pd.DataFrame, claims: pd.DataFrame | None, studies: Mapping[str, Any]) -> dict[str, str]:
    """reStructuredText below each figure, by its name: the question, the paper's answer, what was found."""
    found = {
        "capacity": "Bits stored against parameters, R against R_max, and R by quantisation scheme, of all studies.",
        "figure1": "The paper's Figure 1 with this run's models in full precision, labelled layers-heads.",
    }
    for study, about in studies.items():
        lines = [_plain(about["question"]), f"*The paper:* {_plain(about['paper'])}"]
        lines += [f"*Measured:* {text}" for text in _findings(table[table["study"] == study])]
        lines += [f"*Claim:* {text}" for text in _claims_of(study, claims)]
        found[f"study-{study}"] = "\n\n".join(lines)
    return {name: text + "\n" for name, text in found.items()}


def _plain(text: str) -> str:
    """A text that reStructuredText, and the engine's templates, show as it is, in one line: no markup, no link."""
    escaped = re.sub(r"[^\w\s{]|_", r"\\\g<0>", " ".join(text.split()))
    return escaped.replace("{", "{{ '{' }}")


def _findings(rows: pd.DataFrame) -> Iterable[str]:
    """The highest mean R of each number of exposures and each scheme."""
    summary = summarise(rows)
    summary["cell"] = cell_names(summary.to_dict("records"))
    for (exposures, scheme), group in summary.groupby(["exposures", "scheme"], sort=False):
        best = group.loc[group["R"].idxmax()]
        interval = f"{best['R_low']:.2f} to {best['R_high']:.2f} over {best['seeds']} seeds; N = {best['N']}"
        under = f"{exposures} exposures under {_plain(str(scheme))}"
        calibrated = "" if pd.isna(best["R_calibrated"]) else f"; calibrated {best['R_calibrated']:.2f}"
        yield f"highest R after {under}: {best['R']:.2f} ({interval}{calibrated}), {_plain(best['cell'])}."


def _claims_of(study: str, claims: pd.DataFrame | None) -> Iterable[str]:
    for row in [] if claims is None else claims.to_dict("records"):
        if study in str(row["studies"]).split():
            measured, interval = number_and_interval(row)
            found = f"**{row['verdict']}**: {measured} ({interval}), published {published_text(row)}."
            yield f"{_plain(row['statement'])} {found}"
