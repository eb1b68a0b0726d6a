"""Make a world: facts.parquet, one row a person, and grammar.json, how they are worded, what they offer."""

from dataclasses import asdict

from capacity.jobs.job import Job, job_parser
from capacity.world.facts import make_world, save_world
from capacity.world.kinds import read_world
from capacity.world.records import RecordsWorld
from capacity.world.records_file import num_dropped


def main() -> None:
    """Make the world that the spec describes."""
    args = job_parser(__doc__).parse_args()
    with Job(args, read_world) as job:
        world = make_world(job.settings)
        save_world(world, job.folder)
        if isinstance(job.settings, RecordsWorld):
            job.metrics["dropped"] = num_dropped(job.settings)
            print(f"{world.N:,} rows used, {job.metrics['dropped']:,} dropped for an empty cell", flush=True)
        job.metrics.update(people=world.N, account=asdict(world.account), beginnings=world.grammar.num_beginnings())


if __name__ == "__main__":
    main()
