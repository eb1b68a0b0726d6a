"""Draw the capacity figure from the capacity table."""

from capacity.artefacts import Job, job_parser
from capacity.figures import plot_capacity
from capacity.table import read_table


def main() -> None:
    """Draw what the order asks for."""
    args = job_parser(__doc__).parse_args()
    with Job(args) as job:
        table = read_table(job.parent("table") / "capacity_table.csv")
        plot_capacity(table, job.folder, **job.spec["display"])


if __name__ == "__main__":
    main()
