"""Turn the scores of all runs into the capacity table, one row a variant, and its summary over seeds.

Where a regime tells some people more often (zipf), capacity_bands.csv beside them has a row a band of people; where a
study asks questions, extraction_tries.csv has a row a try, and extraction_summary.csv means over seeds.
"""

import json
from typing import Any

import pandas as pd

from capacity.jobs.job import Job, job_parser
from capacity.tables.exposure_bands import band_rows
from capacity.tables.extraction_rows import choose, extraction_columns, seed_means, tried, with_extraction
from capacity.tables.table import capacity_table, summarise, variant_row, write_table
from capacity.world.account import Account


def asked_row(
    job: Job, row: dict, scores: pd.DataFrame, account: Account, P: int
) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """What can be asked for of one variant, and what each try answered; nothing where its study does not ask."""
    if "answers" not in row:
        return None, []
    asked = row["answers"]
    folders = [job.add_input(f"answers/{attempt['answers_id']}") for attempt in asked["tries"]]
    tries = [tried(attempt, folder) for attempt, folder in zip(asked["tries"], folders, strict=True)]
    best = choose(tries)
    held_out = pd.read_parquet(folders[best] / "held_out.parquet")
    columns = extraction_columns(tries[best], held_out, scores, account, P, job.settings["resamples"])
    about = {name: row[name] for name in ("study", "run", "setting", "seed", "scheme")}
    about["extraction"] = asked["extraction"]
    lines = [{**about, **attempt, "chosen": place == best} for place, attempt in enumerate(tries)]
    lines = [{name.removesuffix("_id"): value for name, value in line.items()} for line in lines]  # no rows of variants
    return {"extraction": asked["extraction"], **columns}, lines


def measured_row(job: Job, row: dict) -> tuple[dict, list[dict], dict | None, list[dict]]:
    """One row: what the order says of the variant, and what its probe measured; its bands; what can be asked for."""
    folder = job.add_input(f"probes/{row['probe_id']}")
    about = json.loads((folder / "about.json").read_text())
    training = about["training"]
    given = {
        **{column: value for column, value in row.items() if column not in ("probe_set", "zipf", "answers")},
        "vocabulary": training["vocabulary"],
        "tokens": training["tokens"],
        "flops": training["flops"],
        "final_loss_nats": training["final_loss"],
        "weight_bits": about["weight_bits"],
        "bits_per_weight": about["bits_per_weight"],
        "P_active": training["active_parameters"],
        "flops_a_token": training["flops_a_token"],
        "dropped": training.get("dropped"),
        "largest_load": training.get("largest_load"),
    }
    scores = pd.read_parquet(folder / "scores.parquet")
    account = Account(**about["account"])
    bands = band_rows(row, row["zipf"], scores, account) if "zipf" in row else []
    junk = pd.read_parquet(folder / "junk.parquet") if (folder / "junk.parquet").is_file() else None
    P = training["parameters"]
    variant = variant_row(given, scores, account, P, job.settings["resamples"], junk)
    return variant, bands, *asked_row(job, row, scores, account, P)


def main() -> None:
    """Tabulate the rows that the order lists."""
    args = job_parser(__doc__).parse_args()
    with Job(args, dict) as job:
        measured = [measured_row(job, row) for row in job.settings["rows"]]
        rows, bands_of, asked, tries_of = zip(*measured, strict=True)
        table = capacity_table(rows)
        bands = [band for some in bands_of for band in some]
        tries = [attempt for some in tries_of for attempt in some]
        if bands:
            write_table(pd.DataFrame(bands), job.folder / "capacity_bands.csv")
        if tries:
            write_table(pd.DataFrame(tries), job.folder / "extraction_tries.csv")
        write_table(summarise(table), job.folder / "capacity_summary.csv")
        whole = with_extraction(table, list(asked))
        if tries:
            write_table(seed_means(whole), job.folder / "extraction_summary.csv")
        write_table(whole, job.folder / "capacity_table.csv")
        job.metrics = {"rows": len(table)}


if __name__ == "__main__":
    main()
