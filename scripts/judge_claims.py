"""Hold the capacity table against published claims: claims.csv, and the same as a Markdown table."""

from capacity.jobs.job import Job, job_parser
from capacity.tables.claims import as_markdown, judge
from capacity.tables.table import read_table, write_table


def main() -> None:
    """Judge the claims that the spec lists."""
    args = job_parser(__doc__).parse_args()
    with Job(args, dict) as job:
        table = read_table(job.parent("table") / "capacity_table.csv")
        judged = judge(job.settings["claims"], table, job.settings["scale"])
        write_table(judged, job.folder / "claims.csv")
        (job.folder / "claims.md").write_text(as_markdown(judged), encoding="utf-8")
        job.metrics = {"verdicts": judged["verdict"].value_counts().to_dict()}


if __name__ == "__main__":
    main()
