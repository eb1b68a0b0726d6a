"""The committed tables are what the committed claims, law and figure were made from."""

from pathlib import Path

import pandas as pd
import pytest

from capacity.config.claim import read_claims
from capacity.config.load import load_config
from capacity.errors import UserError
from capacity.tables.claims import as_markdown, judge
from capacity.tables.claims_by_scale import counts_text, heads_in_order_of_size, of_record, scales_markdown
from capacity.tables.reference import read_tables, scales_of
from capacity.tables.table import write_table

ROOT = Path(__file__).resolve().parents[2]
LAPTOP = ROOT / "results" / "reference" / "laptop"
SCALES = scales_of(ROOT / "results" / "reference")
CLAIMS = read_claims(ROOT / "claims.yaml")


@pytest.mark.parametrize("folder", SCALES, ids=lambda folder: folder.name)
def test_the_committed_verdicts_follow_from_the_committed_tables(folder: Path, tmp_path: Path):
    judged = judge(CLAIMS, read_tables(folder), folder.name)
    write_table(judged, tmp_path / "claims.csv")
    assert (folder / "claims.csv").read_text() == (tmp_path / "claims.csv").read_text(), "run `make reference`"
    assert (folder / "claims.md").read_text() == as_markdown(judged), "run `make reference`"


def test_the_verdicts_of_all_scales_stand_side_by_side():
    tables = {folder.name: read_tables(folder) for folder in SCALES}
    judged = {scale: judge(CLAIMS, table, scale) for scale, table in tables.items()}
    heads = heads_in_order_of_size(tables, judged)
    counts = counts_text(of_record(judged, heads))
    everything = pd.Series(True, index=range(len(CLAIMS)))
    committed = (ROOT / "results" / "reference" / "claims.md").read_text()
    assert committed == f"{scales_markdown(judged, heads, everything)}\n{counts}", "run `make reference`"
    headlines = scales_markdown(judged, heads, pd.Series([claim["headline"] for claim in CLAIMS]))
    assert f"{headlines}\n{counts}" in (ROOT / "README.md").read_text(), "run `make reference`"


def test_the_verdict_of_record_is_that_of_the_largest_scale_that_was_run():
    rows = [
        {"id": "a", "verdict": "reproduced", "scale": "small"},
        {"id": "b", "verdict": "reproduced", "scale": "small"},
    ]
    larger = [
        {"id": "a", "verdict": "inconclusive", "scale": "large"},
        {"id": "b", "verdict": "not run", "scale": "large"},
    ]
    record = of_record({"large": pd.DataFrame(larger), "small": pd.DataFrame(rows)}, ["small", "large"])
    assert list(record["verdict"]) == ["inconclusive", "reproduced"]
    assert list(record["scale"]) == ["large", "small"]


def test_scales_stand_in_the_order_of_their_models():
    tables = {"a": [5e3, 5e3, 1e3], "b": [3e3, 3e3, 3e3]}
    frames = {name: pd.DataFrame({"checkpoint_id": ["x", "y", "z"], "P": P}) for name, P in tables.items()}
    unused = dict.fromkeys(frames, pd.DataFrame({"runs": [""]}))
    assert heads_in_order_of_size(frames, unused) == {"b": "b, 3k", "a": "a, 1k to 5k"}
    judged = unused | {"a": pd.DataFrame({"runs": ["x", "x y", ""]})}
    assert heads_in_order_of_size(frames, judged) == {"b": "b, 3k", "a": "a, 5k"}


def test_the_counts_name_the_results_of_which_nothing_is_reproduced():
    verdicts = ["reproduced", "inconclusive", "not reproduced", "not run", "not run"]
    record = pd.DataFrame({"result": [1, 1, 2, 3, ""], "verdict": verdicts})
    said = "Of all 5 claims: 1 reproduced, 1 not reproduced, 1 inconclusive, 2 not run."
    assert counts_text(record) == f"{said} Of the paper's results 2, 3 no claim is reproduced.\n"


def test_claims_name_studies_of_the_configuration_or_say_why_not():
    scales = [[ROOT / "config.yaml"], *([ROOT / "config.yaml", scale] for scale in (ROOT / "scales").glob("*.yaml"))]
    studies = {study for files in scales for study in load_config(files).studies}
    for claim in read_claims(ROOT / "claims.yaml"):
        for side in ("of", "to"):
            for study in claim[side]["study"] if claim[side] else []:
                assert study in studies or claim["not_run"], f"{claim['id']}: {study} is no study of any scale"


def test_every_result_of_the_paper_has_a_claim():
    assert {claim["result"] for claim in CLAIMS if claim["source"] is None} == set(range(1, 13))


def test_a_folder_without_tables_and_one_with_another_study_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match="no study with a capacity_table"):
        read_tables(tmp_path)
    with pytest.raises(UserError, match="no <scale>/<study>/capacity_table"):
        scales_of(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "capacity_table.csv").write_bytes((LAPTOP / "sizes" / "capacity_table.csv").read_bytes())
    with pytest.raises(UserError, match="holds the study sizes; a folder holds the study of its name"):
        read_tables(tmp_path)
