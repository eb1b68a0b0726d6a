"""Draw the capacity figure, the paper's Figure 1 and one figure a study from the capacity table."""

from capacity.figures.capacity import plot_capacity
from capacity.figures.figure1 import plot_figure_one
from capacity.figures.studies import plot_study
from capacity.jobs.job import Job, job_parser
from capacity.tables.table import read_table


def main() -> None:
    """Draw what the spec asks for."""
    args = job_parser(__doc__).parse_args()
    with Job(args, dict) as job:
        table = read_table(job.parent("table") / "capacity_table.csv")
        plot_capacity(table, job.folder, **job.settings["display"])
        plot_figure_one(table, job.folder)
        for study in job.settings["studies"]:
            plot_study(table, study["name"], job.folder, study["question"], study["figure"])


if __name__ == "__main__":
    main()
