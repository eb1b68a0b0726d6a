"""The engine judges the claims that the configuration names, and again only where claims or table changed."""

import csv

from checkout import TARGETS, Checkout

CLAIMS = """claims:
  - {id: open, result: 1, statement: It holds., published: 2, relation: at least, tolerance: 0.1, statistic: peak,
     of: {study: [base]}}
  - {id: calibrated, result: 1, statement: It holds., published: 2, relation: at least, tolerance: 0.1, statistic: peak,
     column: R_calibrated, of: {study: [base], scheme: [int8]}}
  - {id: absent, result: 2, statement: It holds., published: 2, relation: at least, tolerance: 0.1, statistic: peak,
     of: {study: [unknown]}}
"""


def test_claims_are_judged_from_the_table_that_is_there(checkout: Checkout):
    (checkout.path / "claims.yaml").write_text(CLAIMS)
    checkout.edit("config.yaml", lambda text: text + "claims: claims.yaml\n")
    answer = checkout.engine(targets=("results/claims.csv", *TARGETS))
    assert answer.returncode == 0, answer.stdout + checkout.logs()
    with open(checkout.path / "results" / "claims.csv", newline="") as file:
        rows = {row["id"]: (row["verdict"], row["reason"], row["scale"]) for row in csv.DictReader(file)}
    assert rows == {
        "open": ("inconclusive", "1 seed, 3 are needed", "laptop"),
        "calibrated": ("inconclusive", "1 seed, 3 are needed", "laptop"),
        "absent": ("not run", "no rows of unknown with scheme none", "laptop"),
    }
    with open(checkout.path / "results" / "capacity_table.csv", newline="") as file:
        for row in csv.DictReader(file):
            assert 0 <= float(row["R_calibrated"]) <= float(row["R_max"])
            assert 0.5 <= float(row["temperature"]) <= 16
    assert "judge_claims.py" in answer.stdout
    assert "tabulate_capacity.py" not in answer.stdout
