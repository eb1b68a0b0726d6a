"""Make a world's tokenizer: tokenizer.json and tokenizer_config.json, for transformers.AutoTokenizer."""

from capacity.artefacts import Job, job_parser
from capacity.tokenization import build_tokenizer, save_tokenizer
from capacity.world import load_world, renderer_of


def main() -> None:
    """Build the tokenizer that the order describes for its dataset."""
    args = job_parser(__doc__).parse_args()
    with Job(args) as job:
        world = load_world(job.parent("dataset"))
        tokenizer = build_tokenizer(job.spec, world)
        save_tokenizer(tokenizer, job.folder)
        renderer = renderer_of(world, tokenizer)
        job.metrics.update(vocab_size=renderer.vocab_size, longest_biography=renderer.max_length)


if __name__ == "__main__":
    main()
