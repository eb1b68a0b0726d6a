"""The committed tables are what the committed claims, law and figure were made from."""

from pathlib import Path

import pytest

from capacity.config.claim import read_claims
from capacity.config.load import load_config
from capacity.errors import UserError
from capacity.tables.claims import as_markdown, judge
from capacity.tables.reference import read_tables
from capacity.tables.table import write_table

ROOT = Path(__file__).resolve().parents[2]
LAPTOP = ROOT / "results" / "reference" / "laptop"


def test_the_committed_verdicts_follow_from_the_committed_tables(tmp_path: Path):
    judged = judge(read_claims(ROOT / "claims.yaml"), read_tables(LAPTOP), "laptop")
    write_table(judged, tmp_path / "claims.csv")
    assert (LAPTOP / "claims.csv").read_text() == (tmp_path / "claims.csv").read_text(), "run `make reference`"
    assert (LAPTOP / "claims.md").read_text() == as_markdown(judged), "run `make reference`"
    main_ones = judged[[claim["headline"] for claim in read_claims(ROOT / "claims.yaml")]]
    assert as_markdown(main_ones) in (ROOT / "README.md").read_text(), "run `make reference`"


def test_claims_name_studies_of_the_configuration_or_say_why_not():
    studies = load_config([ROOT / "config.yaml"]).studies
    for claim in read_claims(ROOT / "claims.yaml"):
        for side in ("of", "to"):
            for study in claim[side]["study"] if claim[side] else []:
                assert study in studies or claim["not_run"], f"{claim['id']}: {study} is no study of config.yaml"


def test_every_result_of_the_paper_has_a_claim():
    assert {claim["result"] for claim in read_claims(ROOT / "claims.yaml")} == set(range(1, 13))


def test_a_folder_without_tables_and_one_with_another_study_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match="no study with a capacity_table"):
        read_tables(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "capacity_table.csv").write_bytes((LAPTOP / "sizes" / "capacity_table.csv").read_bytes())
    with pytest.raises(UserError, match="holds the study sizes; a folder holds the study of its name"):
        read_tables(tmp_path)
