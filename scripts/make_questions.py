"""Word the questions about a world's people: those that fine-tuning reads, those only asked; and a tokenizer."""

from capacity.extraction.questions import rows_of, write_questions
from capacity.extraction.spec import QuestionSettings
from capacity.jobs.job import Job, job_parser
from capacity.tokenizers.tokenization import load_tokenizer, save_tokenizer
from capacity.world.facts import load_world


def main() -> None:
    """Write the texts and the tokenizer that the spec describes."""
    args = job_parser(__doc__).parse_args()
    with Job(args, QuestionSettings.read) as job:
        world, tokenizer = load_world(job.parent("dataset")), load_tokenizer(job.parent("tokenizer"))
        known = write_questions(world, tokenizer, job.settings, job.folder)
        save_tokenizer(known, job.folder)
        job.metrics = {"vocab_size": rows_of(known)}


if __name__ == "__main__":
    main()
