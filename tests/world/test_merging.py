"""Promises about tokenizers whose tokens reach from one piece of a text into the next: tokenised whole, or refused."""

import json
import re
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted import TINY
from test_quantize_checkpoint import make
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from trainings import made_batches
from worlds import ATOMIC, SENTENCE, SMALL_BIOS, SPECS, KnowsAll, ids_of, made_tokenizer, make_world, setting, world_of

from capacity.config.experiment import Config
from capacity.config.load import check, read_yaml
from capacity.errors import UserError
from capacity.extraction.questions import write_questions
from capacity.extraction.spec import QuestionSettings
from capacity.plan.grid import resolve
from capacity.probe.score import score_people
from capacity.probe.spec import ProbeDraws
from capacity.tables.scores import score_matrices
from capacity.tokenizers.tokenization import check_rendering
from capacity.world import token_merges
from capacity.world.facts import World
from capacity.world.grammar import EOS_TOKEN, Attribute, Grammar, Slot
from capacity.world.pieces import EOS_ID, FILLER, FIRST_VALUE, NAME, PieceTable
from capacity.world.render import Renderer
from capacity.world.sampling import Draws, name_only_draws, probe_draws, training_draws
from capacity.world.token_merges import Cuts, encode_pieces, read_grammar

WORDS_WITH_MARKS = Regex(r" ?\S+|\s")  # "Newark," is one word, and so is "NJ."


def learned(world: World, vocabulary: int, pattern: Regex | None) -> Tokenizer:
    """Byte-level BPE of a world's own text, cut by a pattern before it merges, or by none."""
    tokenizer = Tokenizer(models.BPE())
    steps: list[Any] = []
    if pattern:
        steps.append(pre_tokenizers.Split(pattern, "isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    reader = Renderer(world, made_tokenizer({"kind": "word"}, world))
    texts = [text for exposure in range(3) for text in reader.texts(training_draws(world, 7, exposure, 0))]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[EOS_TOKEN], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def spec_of(folder: Path, tokenizer: Tokenizer, compact: bool = True) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return {"kind": "pretrained", "folder": str(folder), "compact": compact}


def merging(world: World, folder: Path, compact: bool = True) -> tuple[Tokenizer, Renderer]:
    settings = spec_of(folder, learned(world, 600, WORDS_WITH_MARKS), compact)
    tokenizer = made_tokenizer(settings, world)
    return tokenizer, Renderer(world, tokenizer, all_rows=not compact)


def drawn(world: World) -> list[Draws]:
    draws = [training_draws(world, 7, 2, 0)[:80], probe_draws(world, 7, 0, 10, 60)]
    return draws + [name_only_draws(world, 7, 0, 0, 20, attribute.name) for attribute in world.grammar.attributes]


def character_labels(world_name: str, draws: Draws) -> list[list[int]]:
    """By another tokenizer, one that merges nothing: the label of every character of each text."""
    _, tokenizer, renderer = setting(world_name, "bpe")
    rendering = renderer.tokens(draws, labels=True)
    assert rendering.labels is not None
    told = [
        (len(tokenizer.decode([token])), label)
        for token, label in zip(rendering.tokens.tolist(), rendering.labels.tolist(), strict=True)
    ]
    ends = [0, *accumulate(rendering.lengths.tolist())]
    return [[label for size, label in told[a:b] for _ in range(size)] for a, b in pairwise(ends)]


PROSE = ["sentence", "small_bios", "full_bios"]


@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("world_name", PROSE)
def test_tokens_are_those_of_the_whole_text_and_every_character_of_an_item_is_scored(
    world_name: str, compact: bool, tmp_path: Path
) -> None:
    world = world_of(SPECS[world_name])
    tokenizer, renderer = merging(world, tmp_path, compact)
    assert renderer.pieces.merge
    published = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    joined = 0
    for draws in drawn(world):
        rendering, texts = renderer.tokens(draws, labels=True), renderer.texts(draws)
        assert rendering.labels is not None
        assert np.array_equal(renderer.tokens(draws, labels=False).tokens, rendering.tokens)
        ends = [0, *accumulate(rendering.lengths.tolist())]
        for row, (text, items) in enumerate(zip(texts, character_labels(world_name, draws), strict=True)):
            encoding = tokenizer.encode(text, add_special_tokens=False)
            assert rendering.tokens[ends[row] : ends[row + 1]].tolist() == encoding.ids
            assert published.encode(text).tokens == encoding.tokens
            for (start, stop), label in zip(encoding.offsets, rendering.labels[ends[row] : ends[row + 1]], strict=True):
                reached = set(items[start:stop])
                assert reached | {FILLER} == {FILLER, int(label)}
                joined += len(reached) > 1
        if draws.order.shape[1] == len(world.grammar.attributes):
            assert np.array_equal(renderer.lengths(draws), rendering.lengths)
            assert renderer.min_length <= rendering.lengths.min() <= rendering.lengths.max() <= renderer.max_length
        assert int(rendering.tokens.max()) < renderer.vocab_size
    assert joined > 100


def test_the_first_chunk_of_a_value_is_marked_where_tokens_reach_over_its_end(tmp_path: Path) -> None:
    """Values such as "v01 v10, v03 v03, v11 v02." of three chunks: the tokens of "v01 v10" alone are marked."""
    world = world_of(SENTENCE)
    tokenizer = made_tokenizer(spec_of(tmp_path, learned(world, 300, None), compact=False), world)
    renderer = Renderer(world, tokenizer, all_rows=True)
    draws = training_draws(world, 7, 0, 0)[:40]
    rendering = renderer.tokens(draws, labels=True)
    assert rendering.first_chunk is not None
    firsts, ends = [], [0, *accumulate(rendering.lengths.tolist())]
    for text in renderer.texts(draws):
        offsets = tokenizer.encode(text, add_special_tokens=False).offsets
        chunks = [found.span() for found in re.finditer(r"(?<= is) v\d+ v\d+", text)]
        firsts += [any(start < end and begin < stop for begin, end in chunks) for start, stop in offsets]
    assert rendering.first_chunk.tolist() == firsts
    assert len(firsts) == ends[-1]


def planted(values: tuple[str, ...] = ("aa", "ba")) -> Grammar:
    return Grammar(
        pools={"names": ("Cox", "Fox"), "values": values},
        name=(Slot("name", "names"),),
        name_suffix="'s",
        pronoun=None,
        attributes=(Attribute("value", (Slot("value", "values"),), ((" is", "."),)),),
    )


def by_hand(grammar: Grammar, *merges: tuple[str, str]) -> Tokenizer:
    """Without a pattern: letters, and the merges given."""
    letters = sorted({letter for piece in grammar.pieces() for letter in piece})
    words = dict.fromkeys([EOS_TOKEN, *letters, *("".join(pair) for pair in merges)])
    tokenizer = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, list(merges)))
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def test_a_planted_token_across_a_values_end_belongs_to_the_value() -> None:
    world = replace(make_world(ATOMIC), grammar=planted(), facts={"name": np.array([0, 1]), "value": np.array([0, 1])})
    tokenizer = by_hand(world.grammar, ("x", "'"), ("a", "."))
    renderer = Renderer(world, tokenizer, all_rows=True)
    draws = Draws(np.array([0, 1]), np.zeros((2, 1), np.uint8), np.zeros((2, 1), np.uint8))
    rendering = renderer.tokens(draws, labels=True)
    assert rendering.labels is not None
    read = [tokenizer.id_to_token(token) for token in rendering.tokens[:12].tolist()]
    assert renderer.texts(draws)[0] == " Cox's is aa."
    assert read == [" ", "C", "o", "x'", "s", " ", "i", "s", " ", "a", "a.", " "]
    told = {"N": NAME, ".": FILLER, "V": FIRST_VALUE}
    assert rendering.labels[:11].tolist() == [told[letter] for letter in "NNNN....VVV"]
    assert rendering.labels[11:].tolist() == rendering.labels[:11].tolist()


def all_texts(grammar: Grammar) -> list[str]:
    """Of a grammar of one name and one attribute."""
    (attribute,) = grammar.attributes
    return [
        name + grammar.name_suffix + before + value + after
        for name in grammar.texts(grammar.name[0])
        for before, after in attribute.templates
        for value in grammar.texts(attribute.slots[0])
    ]


def ids_in(tokenizer: Tokenizer, texts: list[str]) -> set[int]:
    return {token for text in texts for token in tokenizer.encode(text).ids}


def merging_junctions(tokenizer: Tokenizer, grammar: Grammar) -> list[bool]:
    """By brute force: whether any two pieces of a junction read otherwise together, for each junction."""
    known = encode_pieces(tokenizer, grammar)
    return [
        any(tokenizer.encode(a + b).ids != known[a] + known[b] for a in lefts for b in rights if a and b)
        for lefts, rights in grammar.junctions()
    ]


PATTERNS = {
    "marks stick to words": WORDS_WITH_MARKS,
    "as GPT-2": Regex(r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s"),
    "as GPT-4": Regex(r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s"),
    "none": None,
}


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("vocabulary", [300, 600])
@pytest.mark.parametrize("settings", [SMALL_BIOS, SENTENCE, ATOMIC], ids=["bios", "sentence", "atomic"])
def test_where_a_pattern_is_said_to_cut_no_two_pieces_merge(
    settings: dict[str, Any], vocabulary: int, pattern: str
) -> None:
    grammar = world_of(settings).grammar
    tokenizer = learned(world_of(settings), vocabulary, PATTERNS[pattern])
    cuts, merging_there = Cuts(tokenizer), merging_junctions(tokenizer, grammar)
    for (lefts, rights), merges in zip(grammar.junctions(), merging_there, strict=True):
        assert not (merges and cuts.between([*filter(None, lefts)], [*filter(None, rights)]))
    assert read_grammar(tokenizer, grammar).merge == any(merging_there)


@pytest.mark.parametrize(
    ("values", "merges"),
    [
        (("Cox", "Fox"), [("x", ".")]),  # a value always loses its end: x alone is told in the name
        (("Cox", "Fot"), [("x", "."), ("C", "o")]),
        (("Cab", "Cad", "Cax"), [("b", "."), ("d", "."), (" ", "C")]),
        (("York", "Cork", "pork"), [("Y", "o"), ("r", "k"), ("Yo", "rk"), ("York", ".")]),
        (("q", "z"), [("q", "."), ("z", ".")]),  # no text holds q or z alone
    ],
)
def test_the_rows_are_the_tokens_that_texts_hold(values: tuple[str, ...], merges: list[tuple[str, str]]) -> None:
    grammar = planted(values)
    tokenizer = by_hand(grammar, *merges)
    reading = read_grammar(tokenizer, grammar)
    assert reading.merge
    assert reading.used == ids_in(tokenizer, all_texts(grammar))


def test_pieces_that_always_merge_are_no_rows(tmp_path: Path) -> None:
    """A world in which all is told, often: V is what its texts hold, and far less than the vocabulary."""
    settings = SMALL_BIOS | {"N": 2000, "pools": SMALL_BIOS["pools"] | {"first_names": 30, "middle_names": 30}}
    world = make_world(settings)
    _, renderer = merging(world, tmp_path)
    occurring = {EOS_ID}
    for exposure in range(6):
        occurring |= set(renderer.tokens(training_draws(world, 7, exposure, 0), labels=False).tokens.tolist())
    assert len(occurring) <= renderer.vocab_size <= len(occurring) + 3
    alone = {token for ids in encode_pieces(renderer.pieces.tokenizer, world.grammar).values() for token in ids}
    assert len(alone - occurring) > 5


def test_without_a_pattern_every_pair_is_tried() -> None:
    """One name of two that end alike merges with what follows: no other pair would show it."""
    grammar = planted()
    tokenizer = by_hand(grammar, ("C", "o"), ("Co", "x"), ("Cox", "'"))
    assert read_grammar(tokenizer, grammar).merge
    assert tokenizer.token_to_id("Cox'") in read_grammar(tokenizer, grammar).used


def test_a_pair_may_need_more_tokens_together_and_room_is_made_for_it() -> None:
    """ab and cd are tokens, but bc comes first: abcd is a, bc, d."""
    grammar = replace(planted(("ab",)), attributes=(Attribute("value", (Slot("value", "values"),), ((" is", "cd"),)),))
    tokenizer = by_hand(grammar, ("b", "c"), ("a", "b"), ("c", "d"))
    table = PieceTable(grammar, False, tokenizer, all_rows=True)
    assert (table.merge, table.most_change) == (True, 1)


def test_one_word_that_merges_among_many_that_end_alike_is_found() -> None:
    """Where marks stick to words, what merges hangs on the whole word, not on how it ends."""
    grammar = planted(("York", "Cork", "pork", "fork"))
    tokenizer = by_hand(grammar, ("Y", "o"), ("r", "k"), ("Yo", "rk"), ("York", "."))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r" |[^ ]+"), "isolated")
    assert tokenizer.token_to_id("York.") in read_grammar(tokenizer, grammar).used


@pytest.mark.parametrize("values", [("12", "312"), ("312", "12")])
def test_digits_that_are_counted_in_threes_are_told_apart_by_how_many_there_are(values: tuple[str, ...]) -> None:
    """12 and 312 end alike; before 45 the pattern cuts behind the second alone."""
    told = Attribute("value", (Slot("value", "values"),), ((" is", "45"),))
    grammar = replace(planted(values), attributes=(told,))
    tokenizer = by_hand(grammar, ("1", "2"), ("12", "4"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\d{1,3}|[^\d]+"), "isolated")
    assert tokenizer.token_to_id("124") in read_grammar(tokenizer, grammar).used


@pytest.mark.parametrize("letters", ["sx", "xs"])
def test_letters_behind_an_apostrophe_count(letters: str) -> None:
    """'s is a word of its own, 'x is two."""
    templates = tuple((f"{letter} is", ".") for letter in letters)
    told = Attribute("value", (Slot("value", "values"),), templates)
    grammar = replace(planted(), name_suffix="'", attributes=(told,))
    tokenizer = by_hand(grammar, ("'", "s"), ("'", "x"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"'s|'| ?[a-zA-Z]+|[.]"), "isolated")
    used = read_grammar(tokenizer, grammar).used
    assert tokenizer.token_to_id("'s") in used
    assert tokenizer.token_to_id("'x") not in used


@pytest.mark.parametrize("values", [(" fire", " Who're"), (" Who're", " fire")])
def test_a_contraction_that_ends_a_text_is_seen_whole(values: tuple[str, str]) -> None:
    """A word goes on in what follows, a contraction does not."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r" ?[A-Za-z]+(?:'re)?|[.]"), "isolated")
    assert not Cuts(tokenizer).between([*values], ["man."])


def test_a_rendering_that_is_not_the_texts_own_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should a pair ever be missed, the tokenizer's job says so."""
    world = world_of(SMALL_BIOS)
    tokenizer = learned(world, 600, WORDS_WITH_MARKS)
    check_rendering(Renderer(world, tokenizer, all_rows=True), tokenizer)
    monkeypatch.setattr(token_merges, "_merged", lambda *_: [])
    with pytest.raises(UserError, match=r"^tokenizer: it reads pieces of a text otherwise than the text"):
        check_rendering(Renderer(world, tokenizer, all_rows=True), tokenizer)


# --- what is refused


def test_a_token_that_joins_two_facts_is_refused_and_named(tmp_path: Path) -> None:
    world = world_of(SMALL_BIOS)
    settings = spec_of(tmp_path, learned(world, 900, None), compact=False)
    tokenizer = made_tokenizer(settings, world)
    renderer = Renderer(world, tokenizer, all_rows=True)
    with pytest.raises(UserError, match=r"^tokenizer: its token '.*' joins two facts of a text; use one that splits"):
        renderer.tokens(training_draws(world, 7, 0, 0), labels=True)
    raw: dict[str, Any] = read_yaml(TINY)
    raw["tokenizers"]["bpe"] = spec_of(tmp_path, learned(world, 900, None), compact=False)
    specs = resolve(check(Config, {**raw, "study": ["prose"]}, "planted")).specs.values()
    make(tmp_path / "results", "make_dataset.py", next(each for each in specs if each.stage == "datasets"))
    with pytest.raises(AssertionError, match="joins two facts of a text"):  # before anything is trained
        make(tmp_path / "results", "make_tokenizer.py", next(each for each in specs if each.stage == "tokenizers"))


def test_tokens_over_three_pieces_are_refused_where_they_are_no_rows_and_taken_where_all_are(tmp_path: Path) -> None:
    world = world_of(SENTENCE)
    tokenizer, draws = learned(world, 400, None), training_draws(world, 7, 0, 0)[:50]
    cut = made_tokenizer(spec_of(tmp_path, tokenizer), world)
    with pytest.raises(UserError, match=r"^tokenizer: its tokens reach over whole pieces of a text; use compact: f"):
        check_rendering(Renderer(world, cut), cut)
    kept = made_tokenizer(spec_of(tmp_path, tokenizer, compact=False), world)
    renderer = Renderer(world, kept, all_rows=True)
    ids = [token for text in renderer.texts(draws) for token in ids_of(kept, text)]
    assert renderer.tokens(draws, labels=True).tokens.tolist() == ids


def test_a_token_that_no_two_pieces_make_is_refused_when_it_comes() -> None:
    """Of "Cox", "s" and " is" the first two make "xs", all three "xs "."""
    world = replace(
        make_world(ATOMIC),
        grammar=replace(planted(("xa", "ba")), name_suffix="s"),
        facts={"name": np.array([0, 1]), "value": np.array([0, 1])},
    )
    renderer = Renderer(world, by_hand(world.grammar, ("x", "s"), ("xs", " ")))
    draws = Draws(np.array([0, 1]), np.zeros((2, 1), np.uint8), np.zeros((2, 1), np.uint8))
    with pytest.raises(UserError, match=r"^tokenizer: its tokens reach over whole pieces of a text; use compact: f"):
        renderer.tokens(draws, labels=False)


def test_a_tag_that_merges_with_a_name_is_refused() -> None:
    grammar = replace(planted(), tag="#")
    tokenizer = by_hand(grammar, ("#", " "))
    with pytest.raises(UserError, match=r"^tag: the tokenizer joins '#' with a name; use one that splits at blanks$"):
        PieceTable(grammar, False, tokenizer, all_rows=True)


def test_a_closed_vocabulary_that_lacks_the_joined_word_says_so() -> None:
    grammar = replace(planted(), name_suffix="son")
    words = pre_tokenizers.Split(Regex(r" ?\w+|\W"), "isolated")
    known = dict.fromkeys(word for piece in grammar.pieces() for word, _ in words.pre_tokenize_str(piece))
    tokenizer = Tokenizer(models.WordLevel({EOS_TOKEN: 0} | {word: n for n, word in enumerate(known, 1)}))
    tokenizer.pre_tokenizer, tokenizer.decoder = words, decoders.Fuse()
    with pytest.raises(UserError, match=r"^tokenizer: it cannot read .*; put blanks around values$"):
        PieceTable(grammar, False, tokenizer, all_rows=True)


# --- what is trained and scored


def test_a_model_that_knows_all_but_a_texts_last_token_loses_that_one_alone(tmp_path: Path) -> None:
    world = world_of(SMALL_BIOS)
    _, renderer = merging(world, tmp_path)
    scores = score_people(KnowsAll(renderer.vocab_size), renderer, world, ProbeDraws(draws=1, seed=7)).to_pandas()
    nats = score_matrices(scores, world.account)["nats"]
    rendering = renderer.tokens(probe_draws(world, 7, 0, 0, world.N), labels=True)
    assert rendering.labels is not None
    last = rendering.labels[np.cumsum(rendering.lengths) - 1]
    lost = np.zeros(nats.shape, dtype=bool)
    lost[np.flatnonzero(last != FILLER), last[last != FILLER] - NAME] = True
    assert nats[~lost] == pytest.approx(0, abs=1e-3)
    assert set(nats[lost].round(3)) == {0, 30}  # shorter texts of a batch show their last token too


@pytest.mark.parametrize("windows", ["pure", "mixed"])
def test_steps_hold_the_texts_and_any_of_them_is_made_alone(windows: str, tmp_path: Path) -> None:
    world = make_world(SMALL_BIOS | {"N": 40, "junk": {"people": 900, "share": 0.75, "windows": windows}})
    tokenizer, renderer = merging(world, tmp_path)
    regime = {"batch": 4, "exposures": 3, "packing": "windows", "context": 64}
    batches = made_batches(world, tokenizer, regime, seed=5)
    inputs, targets = batches.steps(0, batches.num_steps)
    assert np.array_equal(batches.steps(3, 2)[1], targets[3:5])
    assert np.array_equal(batches.steps(3, 1)[0][0], inputs[3])
    rows = targets.reshape(-1, 64)
    if batches.mixture:  # whole windows of junk between those of the stream
        rows = rows[: batches.mixture.num_units][batches.mixture.split(0, batches.mixture.num_units)[0]]
    stream = rows[rows >= 0]
    told = tokenizer.decode_batch([part.tolist() for part in np.split(stream, np.flatnonzero(stream == EOS_ID) + 1)])
    ours = [text for exposure in range(3) for text in renderer.texts(training_draws(world, 5, exposure, 0))]
    whole = [text.removesuffix(EOS_TOKEN) for text in told if text]
    assert [text for text in whole if text in set(ours)] == ours
    assert (whole == ours) == (windows == "pure")


def test_rows_hold_one_text_each(tmp_path: Path) -> None:
    world = world_of(SMALL_BIOS)
    tokenizer, renderer = merging(world, tmp_path)
    regime = {"batch": 8, "exposures": 1, "packing": "rows", "context": None}
    inputs, targets = made_batches(world, tokenizer, regime, seed=5).steps(0, 2)
    rows = targets.reshape(-1, targets.shape[-1])
    texts = renderer.texts(training_draws(world, 5, 0, 0)[:16])
    assert [ids_of(tokenizer, text) for text in texts] == [row[row > EOS_ID].tolist() for row in rows]
    assert np.array_equal(inputs[..., 1:][targets[..., :-1] > EOS_ID], targets[..., :-1][targets[..., :-1] > EOS_ID])


@pytest.mark.long
def test_through_the_jobs_to_a_score(tmp_path: Path) -> None:
    """Dataset, tokenizer, training, a variant calibrated on text, and its scores."""
    world, results = world_of(SMALL_BIOS), tmp_path / "results"
    raw: dict[str, Any] = read_yaml(TINY)
    raw["tokenizers"]["bpe"] = spec_of(tmp_path, learned(world, 600, WORDS_WITH_MARKS))
    raw["quantizers"]["int8"] = {"method": "gptq", "bits": 8, "calibration": 3}
    specs = resolve(check(Config, {**raw, "study": ["prose"]}, "planted")).specs.values()
    made = {}
    for stage in ("datasets", "tokenizers", "checkpoints", "variants", "probes"):
        spec = next(each for each in specs if each.stage == stage)
        made[stage] = make(results, spec.script, spec)
    training = json.loads((results / str(spec.members[0].parents["variant"]) / "training.json").read_text())
    assert training["vocabulary"] == made["tokenizers"]["metrics"]["vocab_size"]


def test_windows_over_more_text_than_can_be_counted_are_refused(tmp_path: Path) -> None:
    world = world_of(SMALL_BIOS)
    tokenizer, _ = merging(world, tmp_path)
    regime = {"batch": 8, "exposures": 10**6, "packing": "windows", "context": 64}
    with pytest.raises(UserError, match=r"^packing: windows over about .* tokens.*; use packing: rows, or 3e\+08 tok"):
        made_batches(world, tokenizer, regime, seed=5)
    made_batches(world, tokenizer, regime | {"packing": "rows", "context": None}, seed=5)


def test_questions_are_refused_where_no_answer_reads_as_the_value_in_a_biography(tmp_path: Path) -> None:
    world = world_of(SMALL_BIOS)
    tokenizer, _ = merging(world, tmp_path)
    settings = QuestionSettings(asked=0.5, choosing=0.2, wordings={}, seed=1)
    with pytest.raises(UserError, match=r"^extraction: the tokenizer joins the end of a value with what follows"):
        write_questions(world, tokenizer, settings, tmp_path)
