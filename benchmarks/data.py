"""Tokens a second on one core: the renderer against text that Hugging Face tokenizers encode.

Both routes start from the same draws and end with the same ids, which is checked first. The best of several
rounds counts. No route uses more than one thread.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ |= {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from capacity.config.dataset import BioD, BioS, Dataset, Junk, Records
from capacity.plan.world_specs import world_settings
from capacity.tokenizers.spec import OwnBpe, WordVocabulary, read_tokenizer
from capacity.tokenizers.tokenization import EOS_TOKEN, build_tokenizer
from capacity.world.facts import make_world
from capacity.world.junk import JunkPeople, junk_draws
from capacity.world.render import Renderer
from capacity.world.sampling import BLOCK, Draws, training_draws

BIO_S = BioS(kind="bioS", N=BLOCK)
BIO_D = BioD(kind="bioD", N=BLOCK, K=4, D=64, T=64, names=[64, 64, 64], wording="atomic")
SYLLABLES = ["ba", "ko", "mi", "ta", "re", "lu", "so", "ni", "va", "de", "pa", "ge"]
CASES = {
    "bioS, full pools, BPE": (BIO_S, {"kind": "bpe", "vocabulary": 3275, "split_digits": False}),
    "bioD, atomic, words": (BIO_D, {"kind": "word"}),
}


def best_rate(make: Callable[[], object], num_tokens: int, rounds: int) -> float:
    """Million tokens a second of processor time in the fastest round: other jobs hardly count."""
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        make()
        seconds.append(time.process_time() - start)
    return num_tokens / min(seconds) / 1e6


def measure(title: str, dataset: Dataset, tokenizer_spec: dict, rounds: int, text_people: int) -> None:
    """Print one table: a row a route, with its rate and its multiple of the whole text route."""
    world = make_world(world_settings(dataset, 1))
    tokenizer = build_tokenizer(read_tokenizer(tokenizer_spec), world)
    renderer = Renderer(world, tokenizer)
    draws = training_draws(world, 1, 0, 0)
    few = draws[:text_people]

    def encode(texts: list[str]) -> list[int]:
        return [token for encoding in tokenizer.encode_batch(texts) for token in encoding.ids]

    def by_text(some: Draws) -> list[int]:
        return encode(renderer.texts(some))

    texts, tokens = renderer.texts(few), renderer.tokens(draws, labels=False).tokens
    ids = by_text(few)
    assert ids == tokens[: len(ids)].tolist(), "the two routes differ"
    text_rate = best_rate(lambda: by_text(few), len(ids), rounds)
    rates = {
        "render text, then encode_batch": text_rate,
        "encode_batch alone": best_rate(lambda: encode(texts), len(ids), rounds),
        "encode_batch_fast alone, no offsets": best_rate(lambda: tokenizer.encode_batch_fast(texts), len(ids), rounds),
        "renderer": best_rate(lambda: renderer.tokens(draws, labels=False), len(tokens), rounds),
        "renderer, with labels": best_rate(lambda: renderer.tokens(draws, labels=True), len(tokens), rounds),
        "draw people, words, order + renderer": best_rate(
            lambda: renderer.tokens(training_draws(world, 1, 1, 0), labels=False), len(tokens), rounds
        ),
    }
    print(f"\n{title}: V = {renderer.vocab_size}, {len(tokens) / len(draws):.1f} tokens a biography")
    print(f"  {'route':40}{'M tokens/s':>12}{'ratio':>10}")
    for route, rate in rates.items():
        print(f"  {route:40}{rate:12.1f}{rate / text_rate:10.1f}")


def measure_merging(rounds: int, people: int) -> None:
    """Print what it costs where tokens reach across a value's end, so that texts are tokenised whole."""
    world = make_world(world_settings(BIO_S, 1))
    draws = training_draws(world, 1, 0, 0)[:people]
    tokenizer = Tokenizer(models.BPE())
    word = pre_tokenizers.Split(Regex(r" ?\S+|\s"), "isolated")  # marks and all: "Newark,"
    byte = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Sequence([word, byte]), decoders.ByteLevel()
    texts = Renderer(world, build_tokenizer(WordVocabulary(kind="word"), world)).texts(draws)
    trainer = trainers.BpeTrainer(vocab_size=3275, special_tokens=[EOS_TOKEN], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    start = time.process_time()
    renderer = Renderer(world, tokenizer, all_rows=True)
    seconds = time.process_time() - start
    assert renderer.pieces.merge, "no token reaches across"
    num_tokens = len(renderer.tokens(draws, labels=False).tokens)
    rates = [
        best_rate(lambda labels=labels: renderer.tokens(draws, labels=labels), num_tokens, rounds)
        for labels in (False, True)
    ]
    print(f"\nbioS, BPE whose tokens reach across a value's end: all pairs of pieces looked through in {seconds:.1f} s")
    print(f"  texts tokenised whole: {rates[0]:.2f} M tokens/s, {rates[1]:.2f} with labels")


def measure_table(num_rows: int) -> None:
    """Print what a user's own table costs until its texts can be told: read, BPE learned, all pieces tokenised."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "facts.csv"
        with open(file, "w") as table:
            table.write("entity,colour,size\n")
            for row in range(num_rows):
                word = "".join(SYLLABLES[row // len(SYLLABLES) ** place % len(SYLLABLES)] for place in range(7))
                table.write(f"{word.capitalize()} {row % 97},{['red', 'blue', 'green', 'grey'][row % 4]},{row % 89}\n")
        clock = time.process_time()
        world = make_world(world_settings(Records(kind="records", file=str(file), entity="entity"), 1))
    print(f"\ntable of {num_rows:,} entities and two attributes, seconds of processor time and MB at most:")
    clock = _tell("read and checked", clock)
    tokenizer = build_tokenizer(OwnBpe(kind="bpe", vocabulary=2000, split_digits=False), world)
    clock = _tell("BPE learned", clock)
    Renderer(world, tokenizer)
    _tell("pieces tokenised", clock)


def _tell(what: str, since: float) -> float:
    """Print the processor time since a reading of the clock, and the memory; the clock now."""
    now, peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  {what:20}{now - since:8.1f}{peak:10,.0f}", flush=True)
    return now


def measure_facts(num_people: int) -> None:
    """Print what facts cost, and junk of the paper's hundred million people, of which none is stored."""
    start = time.process_time()
    world = make_world(world_settings(BIO_S.model_copy(update={"N": num_people, "junk": Junk(people=100_000_000)}), 1))
    seconds = time.process_time() - start
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\nfacts of {num_people:,} people of bioS: {seconds:.1f} s of one core, {megabytes:,.0f} MB in all at most")
    junk = JunkPeople(world)
    renderer = Renderer(world, build_tokenizer(WordVocabulary(kind="word"), world)).for_junk(junk)
    num_tokens = len(renderer.tokens(junk_draws(junk, 1, 0), labels=False).tokens)
    rate = best_rate(lambda: renderer.tokens(junk_draws(junk, 1, 1), labels=False), num_tokens, 3)
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - megabytes
    print(f"junk of {junk.N:,} people: {rate:.1f} M tokens/s with their facts, {more:,.0f} MB more")


def main() -> None:
    """Measure both worlds, and facts and junk."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="rounds a route; the fastest counts (default: 7)")
    parser.add_argument("--text-people", type=int, default=5000, help="people on the text route (default: 5000)")
    parser.add_argument("--people", type=int, default=10_000_000, help="whose facts are made (default: 10 million)")
    parser.add_argument("--rows", type=int, help="instead: a table of one's own, of so many rows")
    args = parser.parse_args()
    if args.rows:
        measure_table(args.rows)
        return
    measure_facts(args.people)
    for title, (world, tokenizer) in CASES.items():
        measure(title, world, tokenizer, args.rounds, args.text_people)
    measure_merging(args.rounds, args.text_people)


if __name__ == "__main__":
    main()
