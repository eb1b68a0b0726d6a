"""Turn the scores of all runs into the capacity table, one row a variant, and its summary over seeds."""

import json

import pandas as pd

from capacity.artefacts import Job, job_parser
from capacity.table import capacity_table, summarise, variant_row, write_table
from capacity.world.account import Account


def measured_row(job: Job, row: dict) -> dict:
    """One row: what the order says of the variant, and what its probe measured."""
    folder = job.add_input(f"probes/{row['probe_id']}")
    about = json.loads((folder / "about.json").read_text())
    training = about["training"]
    given = {
        **{column: value for column, value in row.items() if column != "probe_set"},
        "vocabulary": training["vocabulary"],
        "tokens": training["tokens"],
        "flops": training["flops"],
        "final_loss_nats": training["final_loss"],
        "weight_bits": about["weight_bits"],
    }
    scores = pd.read_parquet(folder / "scores.parquet")
    return variant_row(given, scores, Account(**about["account"]), training["parameters"], job.spec["resamples"])


def main() -> None:
    """Tabulate the rows that the order lists."""
    args = job_parser(__doc__).parse_args()
    with Job(args) as job:
        table = capacity_table([measured_row(job, row) for row in job.spec["rows"]])
        write_table(table, job.folder / "capacity_table.csv")
        write_table(summarise(table), job.folder / "capacity_summary.csv")
        job.metrics = {"rows": len(table)}


if __name__ == "__main__":
    main()
