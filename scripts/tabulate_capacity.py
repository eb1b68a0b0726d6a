"""Turn the scores of all runs into the capacity table, one row a variant, and its summary over seeds.

Where a regime shows some people more often (zipf), capacity_bands.csv beside them has a row a band of people; where a
study asks questions, extraction_tries.csv has a row a try, and extraction_summary.csv means over seeds.
"""

import pandas as pd

from capacity.jobs.job import Job, job_parser
from capacity.tables.extraction_rows import seed_means, with_extraction
from capacity.tables.rows import tabulate
from capacity.tables.summary import summarise
from capacity.tables.table import capacity_table, write_table


def main() -> None:
    """Tabulate the rows that the spec lists."""
    args = job_parser(__doc__).parse_args()
    with Job(args, dict) as job:
        rows = [tabulate(labels, job.add_input, job.settings["resamples"]) for labels in job.settings["rows"]]
        table = capacity_table([row.variant for row in rows])
        whole = with_extraction(table, [row.asked for row in rows])
        bands = [band for row in rows for band in row.bands]
        tries = [attempt for row in rows for attempt in row.tries]
        write_table(whole, job.folder / "capacity_table.csv")
        write_table(summarise(table), job.folder / "capacity_summary.csv")
        if bands:
            write_table(pd.DataFrame(bands), job.folder / "capacity_bands.csv")
        if tries:
            write_table(pd.DataFrame(tries), job.folder / "extraction_tries.csv")
            write_table(seed_means(whole), job.folder / "extraction_summary.csv")
        job.metrics = {"rows": len(table)}


if __name__ == "__main__":
    main()
