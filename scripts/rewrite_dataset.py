"""Have a rewriter write texts of people, and check them.

facts.parquet and grammar.json again, texts.parquet, and survival.csv: how many texts have which fact right.

A job that is killed leaves the batches it wrote, and goes on from there when started again. Where another process
writes the same texts, this one waits for it.
"""

from capacity.errors import ending_where_unwritable
from capacity.jobs.allocation import time_budget
from capacity.jobs.job import Job, job_parser
from capacity.jobs.lease import held
from capacity.jobs.stop import goes_on_later
from capacity.rewriting.rewrite import KEPT, SURVIVAL, rewrite_world, survival_text
from capacity.rewriting.spec import RewritingSettings
from capacity.world.facts import load_world, save_world


def main() -> None:
    """Rewrite the dataset as the spec says."""
    job = Job(job_parser(__doc__).parse_args(), RewritingSettings.read)
    with goes_on_later(), ending_where_unwritable(job.results), held(job.resume, job.is_made, time_budget()) as mine:
        if mine:
            write(job)
        else:
            print(f"{job.spec.name}: made by another process", flush=True)


def write(job: Job[RewritingSettings]) -> None:
    """Write, check, publish, and remove what was kept."""
    with job:
        world, counts = rewrite_world(load_world(job.parent("dataset")), job.settings, job.resume)
        save_world(world, job.folder)
        (job.folder / SURVIVAL).write_text(survival_text(counts, ["name", *world.grammar.items]), encoding="utf-8")
        job.metrics.update(counts)
        whole = counts["texts"] - counts["flaws_kept"]["flawed"]
        print(f"{whole:,} of {counts['texts']:,} texts have every fact right; {SURVIVAL} has each", flush=True)
    (job.resume / KEPT).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
