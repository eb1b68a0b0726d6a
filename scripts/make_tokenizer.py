"""Make a world's tokenizer: tokenizer.json and tokenizer_config.json, for transformers.AutoTokenizer."""

from capacity.jobs.job import Job, job_parser
from capacity.tokenizers.spec import keeps_all_rows, read_tokenizer
from capacity.tokenizers.tokenization import build_tokenizer, check_rendering, save_tokenizer
from capacity.world.facts import load_world
from capacity.world.text_renderer import renderer_of


def main() -> None:
    """Build the tokenizer that the spec describes for its dataset."""
    args = job_parser(__doc__).parse_args()
    with Job(args, read_tokenizer) as job:
        world = load_world(job.parent("dataset"))
        tokenizer = build_tokenizer(job.settings, world)
        all_rows = keeps_all_rows(job.settings)
        save_tokenizer(tokenizer, job.folder, all_rows)
        renderer = renderer_of(world, tokenizer, all_rows)
        check_rendering(renderer, tokenizer)
        sizes = {"vocab_size": renderer.vocab_size, "used": renderer.num_used}
        job.metrics.update(**sizes, longest_biography=renderer.max_length)


if __name__ == "__main__":
    main()
