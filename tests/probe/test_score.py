"""Scores of models whose knowledge is known: lookup tables, and transformers' own loss."""

import json
import math
from collections import Counter, defaultdict
from itertools import product
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM
from worlds import made_tokenizer, make_world

from capacity.errors import UserError
from capacity.probe.score import EXACT, FIRST_CHUNK_NATS, NATS, _batches, score_items, score_people
from capacity.probe.spec import ProbeDraws
from capacity.probe.temperatures import HalfLosses
from capacity.tables.bits import bits_offered, bits_stored, person_bits
from capacity.tables.rows import variant_row
from capacity.tables.table import GIVEN_COLUMNS
from capacity.world.pieces import EOS_ID
from capacity.world.prior import Account
from capacity.world.render import Renderer
from capacity.world.sampling import name_only_draws, probe_draws, training_draws

PROBE = ProbeDraws(draws=2, seed=5)
ATOMIC = {
    "kind": "bioD",
    "N": 40,
    "K": 3,
    "C": 1,
    "D": 8,
    "L": 1,
    "T": 8,
    "names": [8, 8, 8],
    "wording": "atomic",
}
SENTENCE = {**ATOMIC, "K": 2, "C": 2, "D": 5, "L": 2, "T": 4, "wording": "sentence"}
POOLS = {"first_names": 6, "middle_names": 5, "last_names": 7, "cities": 4, "universities": 5, "majors": 3}
POOLS |= {"employers": 12, "months": 3, "days": 4, "years": 5}
BIOS = {"kind": "bioS", "N": 30, "pools": POOLS, "templates": 4}


def make(settings, tokenizer={"kind": "word"}):  # noqa: B006
    """A small world with its renderer and the token sequences that each item can have."""
    world = make_world({**settings, "seed": 1})
    tokens = made_tokenizer(tokenizer, world)
    grammar = world.grammar
    slots = {"name": grammar.name} | {attribute.name: attribute.slots for attribute in grammar.attributes}
    if grammar.pronoun and grammar.pronoun.column:
        slots[grammar.pronoun.column] = (grammar.pronoun,)
    texts = {item: ["".join(parts) for parts in product(*map(grammar.texts, slots[item]))] for item in slots}
    values = {item: [tuple(tokens.encode(text).ids) for text in texts[item]] for item in texts}
    items = ["name", *(name for name, _ in world.account.items)]
    return SimpleNamespace(world=world, renderer=Renderer(world, tokens), items=items, values=values)


@pytest.fixture(scope="module", params=["atomic", "sentence", "bioS", "bioS-bpe"])
def small(request):
    specs = {"atomic": ATOMIC, "sentence": SENTENCE, "bioS": BIOS, "bioS-bpe": BIOS}
    return make(
        specs[request.param],
        {"kind": "bpe", "vocabulary": 400} if "bpe" in request.param else {"kind": "word"},
    )


@pytest.fixture(scope="module")
def bios():
    return make(BIOS)


class LookupModel:
    """Probabilities of the next token by the whole row so far; uniform where the table has no entry."""

    def __init__(self, vocab_size):
        self.vocab_size, self.table = vocab_size, defaultdict(Counter)

    def __call__(self, ids):
        logits = torch.zeros(*ids.shape, self.vocab_size)
        for row, place in product(range(ids.shape[0]), range(ids.shape[1])):
            counts = self.table.get(tuple(ids[row, : place + 1].tolist()))
            if counts:
                logits[row, place] = -torch.inf
                for token, count in counts.items():
                    logits[row, place, token] = math.log(count)
        return SimpleNamespace(logits=logits)


def rows_of(small, draws):
    """(tokens, labels) of each biography of the draws."""
    rendering = small.renderer.tokens(draws, labels=True)
    cuts = np.cumsum(rendering.lengths)[:-1]
    return zip(np.split(rendering.tokens, cuts), np.split(rendering.labels, cuts), strict=True)


def probe_rows(small, probe=PROBE):
    """All rows that score_people looks at, both contexts."""
    for draw in range(probe.draws):
        yield from rows_of(small, probe_draws(small.world, probe.seed, draw, 0, small.world.N))
        for attribute in small.world.grammar.attributes:
            draws = name_only_draws(small.world, probe.seed, draw, 0, small.world.N, attribute.name)
            yield from rows_of(small, draws)


def prefixes(tokens):
    """(row so far with its EOS, next token) for each token of a biography."""
    row = (EOS_ID, *tokens.tolist())
    return [(row[: place + 1], row[place + 1]) for place in range(len(tokens))]


def knows_everything(small, probe=PROBE):
    """The next token as often as it follows among all rows: names uniform over people, the rest certain."""
    model = LookupModel(small.renderer.vocab_size)
    for tokens, _ in probe_rows(small, probe):
        for prefix, token in prefixes(tokens):
            model.table[prefix][token] += 1
    return model


def knows_the_pools(small, rows):
    """Each item uniform over the values that its pools allow, whoever the person is."""
    model = LookupModel(small.renderer.vocab_size)
    continuations = {item: continuations_of(values) for item, values in small.values.items()}
    for tokens, labels in rows:
        start = 0
        for place, (prefix, _) in enumerate(prefixes(tokens)):
            if place == 0 or labels[place] != labels[place - 1]:
                start = place
            if labels[place]:
                item = small.items[labels[place] - 1]
                model.table[prefix] = continuations[item][tuple(tokens[start:place].tolist())]
    return model


def continuations_of(values):
    """The next token by the tokens of a value so far, counted over equally likely values."""
    counts = defaultdict(Counter)
    for value in values:
        for place, token in enumerate(value):
            counts[value[:place]][token] += 1
    return counts


def matrix(table, column, small):
    """A column of the scores as (N, 1 + items)."""
    return table[column].to_numpy().reshape(small.world.N, len(small.items))


def test_a_model_that_knows_everything_stores_what_is_offered(small):
    table = score_people(knows_everything(small), small.renderer, small.world, PROBE)
    N, account = small.world.N, small.world.account
    nats, exact = matrix(table, "nats", small), matrix(table, "exact", small)
    np.testing.assert_allclose(nats[:, 0].mean(), math.log(N), atol=1e-5)
    np.testing.assert_allclose(nats[:, 1:], 0, atol=1e-5)
    np.testing.assert_allclose(matrix(table, "nats_name_only", small)[:, 1:], 0, atol=1e-5)
    assert (exact[:, 1:] == 1).all()
    bits = person_bits(nats, matrix(table, "first_chunk_nats", small)[:, 1:], account)
    assert bits.total.sum() == pytest.approx(bits_offered(N, account), abs=1e-3)


def test_a_model_that_knows_only_the_pools_stores_nothing(small):
    table = score_people(knows_the_pools(small, probe_rows(small)), small.renderer, small.world, PROBE)
    priors = np.array([small.world.account.name_prior_bits, *(bits for _, bits in small.world.account.items)])
    for column in ("nats", "nats_name_only"):
        np.testing.assert_allclose(bits_stored(matrix(table, column, small), priors), 0, atol=1e-5)


def test_rows_are_people_in_order_by_items_in_order(small):
    table = score_people(knows_everything(small), small.renderer, small.world, PROBE)
    assert table["person"].to_pylist() == [person for person in range(small.world.N) for _ in small.items]
    assert table["item"].to_pylist() == small.items * small.world.N
    assert table.schema.field("nats").type == "double"


def test_the_employer_gets_no_credit_for_a_city_in_the_text(bios):
    employers = bios.world.grammar.attribute_index("employer")
    city = bios.world.grammar.attribute_index("working_city")
    city_of = bios.world.grammar.pools["working_cities"]
    training = training_draws(bios.world, 1, 0, 0)
    probes = [probe_draws(bios.world, PROBE.seed, draw, 0, bios.world.N) for draw in range(PROBE.draws)]
    model = knows_the_pools(bios, [*rows_of(bios, training), *probe_rows(bios)])
    item = 1 + bios.items.index("employer")
    for draws in (training, *probes):
        seen = (draws.order == city).argmax(axis=1) < (draws.order == employers).argmax(axis=1)
        people = zip(draws.people, rows_of(bios, draws), seen, strict=True)
        for person, (tokens, labels), city_is_seen in people:
            if city_is_seen:  # uniform over the employers of that city
                home = city_of[bios.world.facts["employer"][person]]
                pairs = zip(bios.values["employer"], city_of, strict=True)
                continuations = continuations_of([value for value, its_city in pairs if its_city == home])
                start = int((labels == item).argmax())
                for place in np.flatnonzero(labels == item):
                    so_far = tuple(tokens[start:place].tolist())
                    model.table[(EOS_ID, *tokens[:place].tolist())] = continuations[so_far]
    prior = math.log(len(city_of))
    leaking = score_items(model, bios.renderer.tokens(training, labels=True), len(bios.items), "cpu", 4096)
    assert (prior - leaking[NATS, :, item - 1]).mean() > 0.5  # nats that training order would have credited
    table = score_people(model, bios.renderer, bios.world, PROBE)
    np.testing.assert_allclose(matrix(table, "nats", bios)[:, item - 1], prior, atol=1e-5)


def test_one_wrong_token_makes_an_item_inexact_for_that_person_alone(bios):
    probe = ProbeDraws(draws=1, seed=5)
    model = knows_everything(bios, probe)
    item = bios.items.index("birth_date")
    tokens, labels = next(iter(rows_of(bios, probe_draws(bios.world, 5, 0, 0, bios.world.N))))
    year = int(np.flatnonzero(labels == item + 1)[-1])
    token, wrong = int(tokens[year]), int(tokens[year]) + 1
    model.table[(EOS_ID, *tokens[:year].tolist())] = Counter({token: 1, wrong: 3})
    table = score_people(model, bios.renderer, bios.world, probe)
    exact = matrix(table, "exact", bios)
    assert exact[0, item] == 0
    assert exact[1:, item].all()
    assert np.delete(exact[0, 1:], item - 1).all()
    assert matrix(table, "nats", bios)[0, item] == pytest.approx(math.log(4), abs=1e-5)


@pytest.mark.parametrize("unsure_of_first", [True, False])
def test_first_chunk_nats_are_the_loss_of_the_first_chunk_alone(unsure_of_first):
    small, probe = make(SENTENCE), ProbeDraws(draws=1, seed=5)
    model = knows_everything(small, probe)
    rendering = small.renderer.tokens(probe_draws(small.world, 5, 0, 0, small.world.N), labels=True)
    cuts = np.cumsum(rendering.lengths)[:-1]
    split = (np.split(part, cuts) for part in (rendering.tokens, rendering.labels, rendering.first_chunk))
    for tokens, labels, first in zip(*split, strict=True):
        for place in np.flatnonzero((labels > 1) & (first == unsure_of_first)):
            prefix, token = prefixes(tokens)[place]
            model.table[prefix] = Counter({token: 1, EOS_ID: 1})
    table = score_people(model, small.renderer, small.world, probe)
    first, nats = matrix(table, "first_chunk_nats", small), matrix(table, "nats", small)[:, 1:]
    assert nats.min() > SENTENCE["L"] * math.log(2) - 1e-5
    np.testing.assert_allclose(first[:, 1:], nats if unsure_of_first else 0, atol=1e-5)
    assert np.isnan(first[:, 0]).all()


def tiny_transformer(vocab_size, **changes):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = GPTNeoXConfig(vocab_size=vocab_size, initializer_range=0.5, **(sizes | changes))
    return GPTNeoXForCausalLM(config).eval()


def test_nats_of_a_person_are_transformers_own_loss(bios):
    model = tiny_transformer(bios.renderer.vocab_size)
    draws = probe_draws(bios.world, 5, 0, 0, bios.world.N)
    scores = score_items(model, bios.renderer.tokens(draws, labels=True), len(bios.items), "cpu", 512)
    for person, (tokens, labels) in enumerate(rows_of(bios, draws)):
        row = torch.tensor([[EOS_ID, *tokens.tolist()]])
        for item in range(len(bios.items)):
            targets = torch.where(torch.tensor([[0, *labels.tolist()]]) == item + 1, row, -100)
            loss = model(row, labels=targets).loss.item() * int((targets >= 0).sum())
            assert scores[NATS, person, item] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("batch_tokens", [1, 200, 10**6])
def test_batching_and_padding_change_nothing_but_rounding(bios, batch_tokens):
    model = tiny_transformer(bios.renderer.vocab_size)
    rendering = bios.renderer.tokens(probe_draws(bios.world, 5, 0, 0, bios.world.N), labels=True)
    assert len(set(rendering.lengths)) > 1
    alone = score_items(model, rendering, len(bios.items), "cpu", 1)
    batched = score_items(model, rendering, len(bios.items), "cpu", batch_tokens)
    np.testing.assert_allclose(batched[NATS], alone[NATS], rtol=1e-5)
    np.testing.assert_array_equal(batched[EXACT], alone[EXACT])


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(1, 200))
def test_batches_hold_each_token_once_within_the_budget(lengths, batch_tokens):
    seen = []
    for places, told in _batches(np.array(lengths), batch_tokens):
        assert places.size <= batch_tokens or len(places) == 1
        seen += places[told].tolist()
    assert sorted(seen) == list(range(sum(lengths)))


def test_scores_are_means_over_draws(bios):
    model = tiny_transformer(bios.renderer.vocab_size)
    table = score_people(model, bios.renderer, bios.world, ProbeDraws(draws=3, seed=5))
    renderings = [
        bios.renderer.tokens(probe_draws(bios.world, 5, draw, 0, bios.world.N), labels=True) for draw in range(3)
    ]
    singles = [score_items(model, rendering, len(bios.items), "cpu", 8192) for rendering in renderings]
    np.testing.assert_allclose(matrix(table, "nats", bios), np.mean(singles, axis=0)[NATS])
    np.testing.assert_allclose(matrix(table, "exact", bios), np.mean(singles, axis=0)[EXACT])
    for column, attribute in enumerate(bios.items[1:-1], start=1):
        draws = [name_only_draws(bios.world, 5, draw, 0, bios.world.N, attribute) for draw in range(3)]
        renderings = [bios.renderer.tokens(draw, labels=True) for draw in draws]
        singles = [score_items(model, one, len(bios.items), "cpu", 8192)[NATS, :, column] for one in renderings]
        name_only = matrix(table, "nats_name_only", bios)[:, column]
        np.testing.assert_allclose(name_only, np.mean(singles, axis=0), rtol=1e-5)


def test_first_chunks_right_after_the_name_are_scored_in_that_context():
    """Their loss is what the sets of values are told by (`R_name_only`), not that of whole paragraphs."""
    small = make({**SENTENCE, "sentences": "in_order"})
    model = tiny_transformer(small.renderer.vocab_size)
    table = score_people(model, small.renderer, small.world, PROBE)
    for column, attribute in enumerate(small.items[1:], start=1):
        draws = name_only_draws(small.world, PROBE.seed, 0, 0, small.world.N, attribute)
        single = score_items(model, small.renderer.tokens(draws, labels=True), len(small.items), "cpu", 8192)
        for name, score in (("nats", NATS), ("first_chunk_nats", FIRST_CHUNK_NATS)):
            found = matrix(table, f"{name}_name_only", small)[:, column]
            np.testing.assert_allclose(found, single[score, :, column], rtol=1e-5)
            follows_the_name = column == 1  # in the paragraph too
            assert np.allclose(found, matrix(table, name, small)[:, column], rtol=1e-3) == follows_the_name


def test_scores_pass_through_parquet_into_the_table(small, tmp_path):
    halves = HalfLosses(small.world.N, small.world.account)
    scores = score_people(knows_everything(small), small.renderer, small.world, PROBE, halves=halves)
    pq.write_table(scores, tmp_path / "scores")
    pq.write_table(halves.table(), tmp_path / "halves")
    account = Account(**json.loads(json.dumps(vars(small.world.account))))
    given = dict.fromkeys(GIVEN_COLUMNS, 1) | {"N": small.world.N}
    files = (pd.read_parquet(tmp_path / name) for name in ("scores", "halves"))
    row = variant_row(given, *files, account, P=100, num_resamples=100)
    assert row["R"] == pytest.approx(row["R_max"], abs=1e-4)
    assert row["R_calibrated"] == pytest.approx(row["R_max"], rel=2e-3)  # names of 15 people do not fit it exactly
    assert (row["accuracy"], row["R_name_only"]) == (1, pytest.approx(row["R"], abs=1e-4))


def test_a_loss_that_is_no_number_is_told_and_is_no_fact_that_a_text_leaves_out(small):
    model = knows_everything(small)

    def forward(ids):
        """Of half of the texts alone."""
        return SimpleNamespace(logits=torch.where(ids.sum(1)[:, None, None] % 2 == 0, torch.nan, model(ids).logits))

    with pytest.raises(UserError, match="tokens have a loss that is no number though the weights are finite"):
        score_people(forward, small.renderer, small.world, PROBE)


def test_dropout_is_off_while_scoring(bios):
    model = tiny_transformer(bios.renderer.vocab_size, hidden_dropout=0.5)
    expected = score_people(model, bios.renderer, bios.world, PROBE)["nats"]
    assert score_people(model.train(), bios.renderer, bios.world, PROBE)["nats"].equals(expected)


def test_a_biography_beyond_the_context_is_refused(bios):
    model = tiny_transformer(bios.renderer.vocab_size, max_position_embeddings=20)
    with pytest.raises(UserError, match="context 20"):
        score_people(model, bios.renderer, bios.world, PROBE)
