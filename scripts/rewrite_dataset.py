"""Have a rewriter write texts of people, and check them: facts.parquet and grammar.json again, and texts.parquet.

A job that is killed leaves the batches it wrote, and goes on from there when started again.
"""

import shutil

from capacity.jobs.job import Job, job_parser
from capacity.rewriting.rewrite import rewrite_world
from capacity.rewriting.spec import RewritingSettings
from capacity.world.facts import load_world, save_world


def main() -> None:
    """Rewrite the dataset as the spec says."""
    args = job_parser(__doc__).parse_args()
    with Job(args, RewritingSettings.read) as job:
        world, counts = rewrite_world(load_world(job.parent("dataset")), job.settings, job.resume)
        save_world(world, job.folder)
        job.metrics.update(counts)
    shutil.rmtree(job.resume)


if __name__ == "__main__":
    main()
