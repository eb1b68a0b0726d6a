"""Promises of people told in written texts: what training draws, what tokens are labelled, and what is scored."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from trainings import made_batches
from worlds import SMALL_BIOS, KnowsAll, made_tokenizer, make_world

from capacity.errors import UserError
from capacity.extraction.answers import memorised
from capacity.extraction.questions import GROUPS, answers, full_names, read_texts, write_questions
from capacity.extraction.spec import QuestionSettings
from capacity.probe.score import score_people
from capacity.probe.spec import ProbeDraws
from capacity.probe.temperatures import HalfLosses
from capacity.rewriting.check import Checker
from capacity.rewriting.rewrite import rewrite_world
from capacity.rewriting.spec import RewritingSettings
from capacity.tables.bits import person_bits
from capacity.tables.calibrated import half_bits
from capacity.tables.scores import score_matrices
from capacity.tokenizers.tokenization import load_tokenizer, save_tokenizer
from capacity.world.facts import World, load_world, save_world
from capacity.world.pieces import EOS_ID, FILLER, NAME
from capacity.world.rewritings import Rewritings
from capacity.world.sampling import calibration_draws, probe_draws, training_draws
from capacity.world.text_renderer import TextRenderer

PROBE = ProbeDraws(draws=2, seed=7)


def rewritten(folder: Path, corruption: float = 0.0, N: int = 40, W: int = 4, **pools: Any) -> World:
    world = make_world(SMALL_BIOS | {"N": N} | pools)
    settings = {"kind": "bioR", "N": N, "seed": 3, "rewritings": W, "flawed": "keep", "tries": 1, "files": {}}
    settings |= {"rewriter": {"kind": "grammar", "corruption": corruption}}
    return rewrite_world(world, RewritingSettings.read(settings), folder)[0]


def texts_of(world: World) -> Rewritings:
    assert world.rewritings
    return world.rewritings


def pretrained(folder: Path, world: World) -> dict[str, Any]:
    """A byte-level BPE of another text, with rows that the world never uses, as published ones are."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"])
    tokenizer.train_from_iterator([*texts_of(world).texts(slice(0, 9)), "xylophone zebra quartz " * 9], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    return {"kind": "pretrained", "folder": str(folder)}


def tokenizer_of(kind: str, world: World, folder: Path) -> Tokenizer:
    specs = {"word": {"kind": "word"}, "bpe": {"kind": "bpe", "vocabulary": 500}}
    return made_tokenizer(specs.get(kind) or pretrained(folder, world), world)


# --- what is drawn


def test_an_exposure_tells_everybody_once_in_a_text_drawn_evenly(tmp_path: Path) -> None:
    world = rewritten(tmp_path, N=200)
    numbers = np.zeros((40, 200), dtype=int)
    for exposure in range(40):
        draws = training_draws(world, 7, exposure, 0)
        assert np.array_equal(np.sort(draws.people), np.arange(200))
        numbers[exposure, draws.people] = draws.templates[:, 0]
    assert chisquare(np.bincount(numbers.ravel(), minlength=4)).pvalue > 1e-4
    assert chisquare(np.histogram2d(numbers[:-1].ravel(), numbers[1:].ravel(), 4)[0].ravel()).pvalue > 1e-4
    again = training_draws(world, 7, 11, 0)
    assert np.array_equal(numbers[11, again.people], again.templates[:, 0])
    assert not np.array_equal(training_draws(world, 8, 11, 0).templates, again.templates)


def test_any_training_step_is_the_same_on_its_own_and_tells_texts_that_are_there(tmp_path: Path) -> None:
    world = rewritten(tmp_path, corruption=0.1)
    tokenizer = tokenizer_of("bpe", world, tmp_path)
    for packing in ({"packing": "rows", "context": None}, {"packing": "windows", "context": 32}):
        batches = made_batches(world, tokenizer, {"batch": 8, "exposures": 5, **packing}, seed=5)
        inputs, targets = batches.steps(0, batches.num_steps)
        assert np.array_equal(batches.steps(3, 1)[0][0], inputs[3])
        assert np.array_equal(batches.steps(3, 2)[1], targets[3:5])
        stream = targets[targets >= 0]
        told = tokenizer.decode_batch(
            [part.tolist() for part in np.split(stream, np.flatnonzero(stream == EOS_ID) + 1)]
        )
        told = [text for text in told if text]
        assert len(told) == 200
        assert set(told) <= set(texts_of(world).texts(slice(None)))


def test_rewriting_moves_no_fact_and_no_draw_of_the_people_it_tells(tmp_path: Path) -> None:
    """Texts of a person depend on that person alone: more people, or more texts, change none that is there."""
    world, plain = rewritten(tmp_path / "a"), make_world(SMALL_BIOS | {"N": 40})
    assert all(np.array_equal(world.facts[column], codes) for column, codes in plain.facts.items())
    assert world.account == plain.account
    assert np.array_equal(training_draws(world, 7, 3, 0).people, training_draws(plain, 7, 3, 0).people)
    more = rewritten(tmp_path / "b", N=55, W=6)
    kept = np.add.outer(np.arange(40) * 6, np.arange(4)).ravel()
    assert texts_of(more).texts(kept) == texts_of(world).texts(slice(None))


# --- what is labelled


@pytest.mark.parametrize("kind", ["word", "bpe", "pretrained"])
def test_tokens_are_those_of_the_whole_text_and_labels_those_of_its_facts(kind: str, tmp_path: Path) -> None:
    world = rewritten(tmp_path, corruption=0.15)
    tokenizer = tokenizer_of(kind, world, tmp_path)
    save_tokenizer(tokenizer, tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    renderer, checker = TextRenderer(world, tokenizer), Checker(world.grammar)
    draws = calibration_draws(world, 1, 40)
    rendering = renderer.tokens(draws, labels=True)
    assert rendering.labels is not None
    assert np.array_equal(renderer.lengths(draws), rendering.lengths)
    assert int(rendering.tokens.max()) < renderer.vocab_size
    ends, scored = np.cumsum(rendering.lengths), 0
    for row, text in enumerate(renderer.texts(draws)):
        part = slice(ends[row] - rendering.lengths[row], ends[row])
        ids, labels = rendering.tokens[part], rendering.labels[part]
        assert ids.tolist() == tokenizer.encode(text, add_special_tokens=False).ids
        person = int(draws.people[row])
        told = checker.check(text, {column: int(codes[person]) for column, codes in world.facts.items()})
        assert set(labels.tolist()) - {FILLER} == {label for label, _, _ in told.marks}
        for label in set(labels.tolist()) - {FILLER}:
            assert tokenizer.decode(ids[labels == label].tolist()).strip() == value_of(world, person, label, text)
            scored += 1
    assert scored > 150


def value_of(world: World, person: int, label: int, text: str) -> str:
    """What an item of a person reads; of the gender, the pronoun as the text has it."""
    grammar = world.grammar
    if label == NAME:
        slots = grammar.name
    elif label - 2 == grammar.items.index("gender"):
        word = grammar.pools["pronouns"][world.facts["gender"][person]]
        return min((word, word.lower()), key=lambda each: f"{text} ".find(f" {each} ") % 10_000)
    else:
        slots = grammar.attributes[grammar.attribute_index(grammar.items[label - 2])].slots
    return "".join(grammar.read(slot, world.facts[slot.column][person]) for slot in slots if slot.column).strip()


def test_no_word_of_a_wrong_fact_is_ever_labelled(tmp_path: Path) -> None:
    """Every other value of an item stands in no labelled token, whatever the rewriter said."""
    world = rewritten(tmp_path, corruption=0.4, N=60)
    tokenizer = tokenizer_of("word", world, tmp_path)
    renderer = TextRenderer(world, tokenizer)
    label = 2 + world.grammar.items.index("university")
    wrong = 0
    for draw in range(4):
        draws = probe_draws(world, 1, draw, 0, 60)
        rendering = renderer.tokens(draws, labels=True)
        assert rendering.labels is not None
        ends = np.cumsum(rendering.lengths)
        for row, text in enumerate(renderer.texts(draws)):
            part = slice(ends[row] - rendering.lengths[row], ends[row])
            mine = tokenizer.decode(rendering.tokens[part][rendering.labels[part] == label].tolist()).strip()
            own = world.grammar.pools["universities"][world.facts["university"][row]]
            assert mine in ("", own)
            wrong += not mine and "university" not in text and own not in text
    assert wrong > 30


def test_a_token_that_reaches_over_the_end_of_a_fact_counts_with_it_and_one_over_two_is_refused(tmp_path: Path) -> None:
    world = rewritten(tmp_path, N=2, W=1)
    texts = [" ab cd.", " ab ef."]
    vocabulary = {"<|endoftext|>": 0, " ab": 1, " cd.": 2, " ef.": 3}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_next")
    tokenizer.decoder = decoders.Fuse()
    told = Rewritings.of(texts, [[(1, 0, 3), (2, 3, 6)], [(1, 0, 3)]], 1)
    plain = World(world.settings, world.facts, world.grammar, world.account, told)
    rendering = TextRenderer(plain, tokenizer).tokens(probe_draws(plain, 1, 0, 0, 2), labels=True)
    assert rendering.labels is not None
    assert rendering.labels.tolist() == [1, 2, 1, 0]
    both = Rewritings.of(texts, [[(1, 0, 3), (2, 3, 5), (3, 5, 6)], []], 1)
    with pytest.raises(UserError, match=r"its token ' cd\.' joins two facts"):
        TextRenderer(World(world.settings, world.facts, world.grammar, world.account, both), tokenizer)


def test_a_tokenizer_of_other_texts_is_refused(tmp_path: Path) -> None:
    world = rewritten(tmp_path / "a")
    other = rewritten(tmp_path / "b", N=90, seed=9)
    word_of_other = tokenizer_of("word", other, tmp_path)
    last = Rewritings(texts_of(other).table.slice(320), 4)
    with pytest.raises(UserError, match="it has rows that this dataset never uses"):
        TextRenderer(World(other.settings, other.facts, other.grammar, other.account, last), word_of_other)
    with pytest.raises(UserError, match="cannot read this dataset's words"):
        TextRenderer(world, word_of_other)


def test_a_rewritten_world_is_read_as_it_was_written(tmp_path: Path) -> None:
    world = rewritten(tmp_path, corruption=0.2)
    save_world(world, tmp_path)
    again = load_world(tmp_path)
    assert texts_of(again).table.equals(texts_of(world).table)
    assert (texts_of(again).W, again.settings, again.account) == (4, world.settings, world.account)
    assert all(np.array_equal(again.facts[column], codes) for column, codes in world.facts.items())


# --- what is scored


@pytest.mark.parametrize("corruption", [0.0, 0.3])
def test_who_foretells_every_text_is_paid_for_the_facts_that_are_told_rightly_and_no_other(
    corruption: float, tmp_path: Path
) -> None:
    world = rewritten(tmp_path, corruption=corruption, W=1, N=200)
    tokenizer = tokenizer_of("word", world, tmp_path)
    renderer = TextRenderer(world, tokenizer)
    halves = HalfLosses(world.N, world.account)
    table = score_people(KnowsAll(renderer.vocab_size), renderer, world, PROBE, halves=halves)
    matrices = score_matrices(table.to_pandas(), world.account)
    priors = np.array([world.account.name_prior_bits, *(bits for _, bits in world.account.items)])
    told = np.zeros((200, len(priors)), dtype=bool)
    for person in range(200):
        told[person, np.unique(texts_of(world).marks(person, person + 1)[1]["labels"]) - 1] = True
    paid = priors - matrices["nats"] / math.log(2)
    assert told.all() == (corruption == 0)
    assert np.abs(paid[told] - np.broadcast_to(priors, told.shape)[told]).max() < 1e-6
    assert np.abs(paid[~told]).max(initial=0) < 1e-9
    assert np.array_equal(matrices["exact"] == 1, told)
    assert np.isnan(matrices["nats_name_only"]).all()
    bits = person_bits(matrices["nats"], None, world.account).total.sum()
    assert bits == pytest.approx((told * priors).sum())
    temperatures, of_halves = half_bits(halves.table().to_pandas(), world.account)
    assert of_halves[:, temperatures == 1].sum() == pytest.approx(bits, rel=1e-4)


def test_texts_with_most_facts_right_are_scored_first(tmp_path: Path) -> None:
    world = rewritten(tmp_path, corruption=0.2, W=6, N=50)
    counts = np.array([len(set(texts_of(world).marks(row, row + 1)[1]["labels"].tolist())) for row in range(300)])
    by_person = counts.reshape(50, 6)
    for draw in range(6):
        draws = probe_draws(world, 9, draw, 0, 50)
        assert np.array_equal(by_person[draws.people, draws.templates[:, 0]], -np.sort(-by_person, axis=1)[:, draw])
    part = probe_draws(world, 9, 2, 10, 20)
    assert np.array_equal(part.templates, probe_draws(world, 9, 2, 0, 50).templates[10:20])


# --- questions about people who are told in written texts

ASKED = QuestionSettings(asked=0.5, choosing=0.2, wordings={}, seed=7)


@pytest.mark.parametrize("tokenizer", [{"kind": "word"}, {"kind": "bpe", "vocabulary": 900}], ids=["word", "bpe"])
@pytest.mark.parametrize("corruption", [0.0, 0.6])
def test_rewritten_people_are_asked_for_their_facts_and_held_out_ones_are_not_trained_on(
    tokenizer: dict, corruption: float, tmp_path: Path
) -> None:
    """With six facts of ten told wrongly or left out, some names and values are in no text at all."""
    world = rewritten(tmp_path, corruption, W=1)
    known = write_questions(world, made_tokenizer(tokenizer, world), ASKED, tmp_path)
    groups = {group: read_texts(tmp_path, group).to_pylist() for group in GROUPS}
    people = {group: {row["person"] for row in rows} for group, rows in groups.items()}
    assert sum(map(len, people.values())) == len(set.union(*people.values())) == world.N
    trained_on = "".join(row["prompt"] + row["answer"] for row in groups["asked"])
    for person, name in enumerate(full_names(world, np.arange(world.N))):
        assert (f"{name} " in trained_on or f"{name}?" in trained_on) == (person in people["asked"])
    assert {row["attribute"] for row in groups["asked"]} == set(world.grammar.items) - {"gender"}
    for row in groups["held_out"][:60]:
        assert row["answer"] == answers(world, row["attribute"], np.array([row["person"]]))[0]
        assert known.decode(known.encode(row["prompt"] + row["answer"]).ids) == row["prompt"] + row["answer"]


def test_what_a_rewritten_person_is_rightly_said_to_be_is_memorised_and_what_nobody_told_is_not(tmp_path: Path) -> None:
    world = rewritten(tmp_path, corruption=0.5, W=2)
    tokenizer = made_tokenizer({"kind": "word"}, world)
    renderer = TextRenderer(world, tokenizer)
    attributes = [item for item in world.grammar.items if item != "gender"]
    table = memorised(KnowsAll(renderer.vocab_size), renderer, world, attributes, PROBE)
    exact = table["exact"].to_numpy().reshape(world.N, -1)
    rendered = [renderer.tokens(probe_draws(world, PROBE.seed, draw, 0, world.N), labels=True) for draw in range(2)]
    told = np.zeros((world.N, len(attributes)), dtype=bool)
    for rendering in rendered:
        for person, start, size in zip(
            rendering.people, np.cumsum(rendering.lengths) - rendering.lengths, rendering.lengths, strict=True
        ):
            labels = set(rendering.labels[start : start + size].tolist())
            told[person] |= [2 + world.grammar.items.index(attribute) in labels for attribute in attributes]
    assert 0.2 < told.mean() < 0.95
    assert (exact[~told] == 0).all()
    assert exact[told].mean() > 0.9  # it looks one token ahead, and a text's last one has none
