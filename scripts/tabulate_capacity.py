"""Turn the scores of all runs into the capacity table, one row a variant, and its summary over seeds.

Where a regime tells some people more often (zipf), capacity_bands.csv beside them has a row a band of people.
"""

import json

import pandas as pd

from capacity.artefacts import Job, job_parser
from capacity.bands import band_rows
from capacity.table import capacity_table, summarise, variant_row, write_table
from capacity.world.account import Account


def measured_row(job: Job, row: dict) -> tuple[dict, list[dict]]:
    """One row: what the order says of the variant, and what its probe measured; and its bands, if it has any."""
    folder = job.add_input(f"probes/{row['probe_id']}")
    about = json.loads((folder / "about.json").read_text())
    training = about["training"]
    given = {
        **{column: value for column, value in row.items() if column not in ("probe_set", "zipf")},
        "vocabulary": training["vocabulary"],
        "tokens": training["tokens"],
        "flops": training["flops"],
        "final_loss_nats": training["final_loss"],
        "weight_bits": about["weight_bits"],
        "P_active": training["active_parameters"],
        "flops_a_token": training["flops_a_token"],
        "dropped": training.get("dropped"),
        "largest_load": training.get("largest_load"),
    }
    scores = pd.read_parquet(folder / "scores.parquet")
    account = Account(**about["account"])
    bands = band_rows(row, row["zipf"], scores, account) if "zipf" in row else []
    return variant_row(given, scores, account, training["parameters"], job.spec["resamples"]), bands


def main() -> None:
    """Tabulate the rows that the order lists."""
    args = job_parser(__doc__).parse_args()
    with Job(args) as job:
        measured = [measured_row(job, row) for row in job.spec["rows"]]
        table = capacity_table([row for row, _ in measured])
        bands = [band for _, rows in measured for band in rows]
        if bands:
            write_table(pd.DataFrame(bands), job.folder / "capacity_bands.csv")
        write_table(table, job.folder / "capacity_table.csv")
        write_table(summarise(table), job.folder / "capacity_summary.csv")
        job.metrics = {"rows": len(table)}


if __name__ == "__main__":
    main()
