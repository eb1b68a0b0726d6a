"""What a causal language model stores of each person of a world: losses and greedy matches by person and item.

A biography is one row that starts with EOS, as in training. One forward pass gives the loss of every labelled
token and whether it is the model's first choice. Probe draws word each person anew, with the
working city after the employer; paragraphs that a world keeps are scored as they are, and a city
that precedes its employer counts as part of it. Of written texts those with most facts right are scored, and in
each only the facts that it mentions rightly. The second context is the full name and one attribute's sentence.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch.nn import functional

from capacity.errors import UserError
from capacity.probe.spec import ProbeDraws
from capacity.probe.temperatures import TEMPERATURES, HalfLosses, nats_at_temperatures
from capacity.world.facts import World
from capacity.world.grammar import Attribute
from capacity.world.junk import JunkPeople, junk_probe_draws
from capacity.world.pieces import EOS_ID, FILLER, NAME
from capacity.world.render import Renderer, Rendering
from capacity.world.sampling import BLOCK, name_only_draws, probe_draws
from capacity.world.text_renderer import TextRenderer

Array = NDArray[np.float64]
Model = Callable[[torch.Tensor], Any]  # token ids (rows, width) to anything with .logits (rows, width, V)
Render = Callable[[int, int, int], Rendering]  # draw, first person, last person + 1

# Tokens a forward pass, padding included: sets the speed, and moves scores by rounding alone, but for experts that have
# less room than they may be asked for (test_capacity below count).
BATCH_TOKENS = {"cpu": 4096, "gpu": 65_536}
NATS, FIRST_CHUNK_NATS, EXACT = range(3)  # the first axis of an array of scores
LOSSES = slice(NATS, EXACT)
SCORES = 3  # of them; behind them stand, if asked for, nats and first-chunk nats at each of TEMPERATURES


def score_people(
    model: Model,
    renderer: Renderer | TextRenderer,
    world: World,
    probe: ProbeDraws,
    device: str = "cpu",
    halves: HalfLosses | None = None,
) -> pa.Table:
    """Scores of a world, one row a person and item; people in order, the name first, then the value items.

    model: a transformers causal model on `device`, or anything else that is called and returns logits alike.
    Columns: person; item; nats, summed over the item's tokens; nats_name_only, the same in the one-sentence
    context (name and gender have no sentence, theirs are repeated); first_chunk_nats and first_chunk_nats_name_only,
    the same of the first chunk of a bioD value, NaN elsewhere; exact, the share of draws in which all tokens of the
    item are the first choice.
    halves: where losses of whole paragraphs at other temperatures are added up; None where nobody asks for them.
    Raises UserError where a biography is longer than the model's context.
    """
    if isinstance(model, torch.nn.Module):
        model.eval()
    batch_tokens = BATCH_TOKENS["cpu" if device == "cpu" else "gpu"]
    items = _items(world)

    def mean_scores(render: Render, num_draws: int, halves: HalfLosses | None = None) -> Array:
        return _mean_scores(model, render, num_draws, world.N, len(items), device, batch_tokens, halves)

    def paragraphs(draw: int, start: int, stop: int) -> Rendering:
        return renderer.tokens(probe_draws(world, probe.seed, draw, start, stop), labels=True)

    def one_sentence(attribute: Attribute) -> Render:
        return lambda draw, start, stop: renderer.tokens(
            name_only_draws(world, probe.seed, draw, start, stop, attribute.name), labels=True
        )

    kept = world.rewritings.W if world.rewritings else world.grammar.paragraphs
    draws = min(probe.draws, kept or probe.draws)  # more would be the same again
    scores = mean_scores(paragraphs, draws, halves)
    if world.rewritings:  # no sentence of a written text stands on its own
        return _table(items, _with_priors(scores, world), np.full_like(scores[LOSSES], np.nan))
    name_only = scores[LOSSES].copy()
    for attribute in world.grammar.attributes:
        if attribute.is_item:
            num_draws = draws if len(attribute.templates) > 1 else 1  # one wording: all draws are equal
            column = items.index(attribute.name)
            name_only[:, :, column] = mean_scores(one_sentence(attribute), num_draws)[LOSSES, :, column]
    return _table(items, scores, name_only)


def score_junk(model: Model, renderer: Renderer, world: World, probe: ProbeDraws, device: str = "cpu") -> pa.Table:
    """Scores of junk people as `score_people` gives them, of as many as the world has people at most; one context."""
    junk, items = JunkPeople(world), _items(world)
    if isinstance(model, torch.nn.Module):
        model.eval()
    junk_renderer = renderer.for_junk(junk)

    def paragraphs(draw: int, start: int, stop: int) -> Rendering:
        return junk_renderer.tokens(junk_probe_draws(junk, probe.seed, draw, start, stop), labels=True)

    num_people, batch_tokens = min(junk.N, world.N), BATCH_TOKENS["cpu" if device == "cpu" else "gpu"]
    scores = _mean_scores(model, paragraphs, probe.draws, num_people, len(items), device, batch_tokens)
    return _table(items, scores, np.full_like(scores[LOSSES], np.nan))


def _items(world: World) -> list[str]:
    return ["name", *(name for name, _ in world.account.items)]


def _mean_scores(
    model: Model,
    render: Render,
    num_draws: int,
    num_people: int,
    num_items: int,
    device: str,
    batch_tokens: int,
    halves: HalfLosses | None = None,
) -> Array:
    """Means over the draws that mention an item, float (3, num_people, num_items); NaN where none does."""
    means = np.empty((SCORES, num_people, num_items))
    for start in range(0, num_people, BLOCK):
        stop = min(start + BLOCK, num_people)
        draws = (
            score_items(model, render(draw, start, stop), num_items, device, batch_tokens, halves is not None)
            for draw in range(num_draws)
        )
        block = _mean_of_numbers(draws)
        means[:, start:stop] = block[:SCORES]
        if halves is not None:
            halves.add(start, block[SCORES:].reshape(2, len(TEMPERATURES), stop - start, num_items))
    return means


def _mean_of_numbers(draws: Iterator[Array]) -> Array:
    """The mean of arrays of one shape where they are numbers; NaN where none is."""
    total, count = np.zeros(()), np.zeros(())
    for some in draws:
        total = total + np.where(np.isnan(some), 0.0, some)
        count = count + ~np.isnan(some)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _with_priors(scores: Array, world: World) -> Array:
    """Scores in which an item that no scored text mentions rightly is not stored: its prior in nats, no match."""
    priors = np.array([world.account.name_prior_bits, *(bits for _, bits in world.account.items)]) * np.log(2)
    unmentioned = np.isnan(scores[NATS])
    scores[NATS][unmentioned] = np.broadcast_to(priors, unmentioned.shape)[unmentioned]
    scores[EXACT][unmentioned] = 0.0
    return scores


def _table(items: list[str], scores: Array, name_only: Array) -> pa.Table:
    """From scores (3, N, items), and their losses in the one-sentence context."""
    num_people = scores.shape[1]
    item_codes = np.tile(np.arange(len(items), dtype=np.int16), num_people)
    return pa.table(
        {
            "person": np.repeat(np.arange(num_people, dtype=np.int32), len(items)),
            "item": pa.DictionaryArray.from_arrays(item_codes, items),
            "nats": scores[NATS].ravel(),
            "nats_name_only": name_only[NATS].ravel(),
            "first_chunk_nats": scores[FIRST_CHUNK_NATS].ravel(),
            "first_chunk_nats_name_only": name_only[FIRST_CHUNK_NATS].ravel(),
            "exact": scores[EXACT].ravel(),
        }
    )


def score_items(
    model: Model,
    rendering: Rendering,
    num_items: int,
    device: str,
    batch_tokens: int,
    at_temperatures: bool = False,
) -> Array:
    """Scores of B biographies by item, float (3, B, num_items): nats, nats of the first chunk, exact or not.

    Item i is what the rendering labels i + 1. NaN where a biography does not mention the item or marks no first
    chunk. Token losses are fp32 log-softmax; they are summed in float64.
    at_temperatures: then nats at each of TEMPERATURES follow along the first axis, and nats of first chunks.
    """
    nats, hit = _score_tokens(model, rendering, device, batch_tokens, at_temperatures)
    labels, first = _labels(rendering)
    scored = np.flatnonzero(labels != FILLER)
    B = len(rendering.lengths)
    cells = np.repeat(np.arange(B), rendering.lengths)[scored] * num_items + labels[scored] - NAME
    first = first[scored]

    def sums(cells: NDArray[np.int64], weights: NDArray[np.floating] | None = None) -> Array:
        return np.bincount(cells, weights, minlength=B * num_items).astype(float).reshape(B, num_items)

    mentioned, marked = sums(cells) > 0, sums(cells[first]) > 0
    whole = [np.where(mentioned, sums(cells, row), np.nan) for row in nats]
    first_chunk = [np.where(marked, sums(cells[first], row[first]), np.nan) for row in nats]
    exact = np.where(mentioned, sums(cells[~hit]) == 0, np.nan)
    return np.stack([whole[0], first_chunk[0], exact, *whole[1:], *first_chunk[1:]])


@torch.inference_mode()
def _score_tokens(
    model: Model, rendering: Rendering, device: str, batch_tokens: int, at_temperatures: bool
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Of the M labelled tokens: losses in nats, (1, M), and whether each is the model's first choice, (M,).

    at_temperatures: then the losses at each of TEMPERATURES follow, (1 + temperatures, M). Raises UserError where a
    loss is NaN, which would count as a fact that no text mentions.
    """
    _check_context(model, int(rendering.lengths.max()))
    labels, _ = _labels(rendering)
    column = (labels != FILLER).cumsum() - 1  # of a labelled token
    rows = 1 + len(TEMPERATURES) if at_temperatures else 1
    nats, hit = np.zeros((rows, column[-1] + 1), dtype=np.float32), np.zeros(column[-1] + 1, dtype=bool)
    for places, present in _batches(rendering.lengths, batch_tokens):
        tokens = np.where(present, rendering.tokens[places], EOS_ID).astype(np.int64)
        inputs = np.concatenate([np.full((len(tokens), 1), EOS_ID), tokens[:, :-1]], axis=1)
        scored = present & (labels[places] != FILLER)
        mine = column[places[scored]]
        logits_RTV = model(torch.from_numpy(inputs).to(device)).logits
        logits_MV = logits_RTV[torch.from_numpy(scored).to(device)].float()
        targets_M = torch.from_numpy(tokens[scored]).to(device)
        nats[0, mine] = functional.cross_entropy(logits_MV, targets_M, reduction="none").cpu().numpy()
        hit[mine] = (logits_MV.argmax(dim=1) == targets_M).cpu().numpy()
        if at_temperatures and len(targets_M):
            nats[1:, mine] = nats_at_temperatures(logits_MV, targets_M).cpu().numpy()
    if none := int(np.isnan(nats).any(axis=0).sum()):
        raise UserError(
            f"{none} of {len(hit)} tokens have a loss that is no number though the weights are finite: look in the "
            "model's forward pass for a division by zero or a number too large for its precision"
        )
    return nats, hit


def _batches(lengths: NDArray[np.int64], batch_tokens: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """Batches of rows: where in the flat tokens each (row, column) stands, and whether the row has it.

    Rows of like length come together; rows times width stays within batch_tokens, one row at least. Padding
    stands at the end, where it changes no token before it; its places are clipped to the flat array.
    """
    starts = lengths.cumsum() - lengths
    by_length = np.argsort(lengths, kind="stable")
    first = 0
    while first < len(lengths):
        most = max(1, batch_tokens // int(lengths[by_length[first]]))
        widths = lengths[by_length[first : first + most]]
        num_rows = max(1, int(np.count_nonzero(widths * np.arange(1, len(widths) + 1) <= batch_tokens)))
        rows = by_length[first : first + num_rows]
        column = np.arange(widths[num_rows - 1])
        yield np.minimum(starts[rows, None] + column, lengths.sum() - 1), column < lengths[rows, None]
        first += num_rows


def _labels(rendering: Rendering) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The labels and first-chunk marks of a rendering that has them."""
    assert rendering.labels is not None, "render with labels=True"
    assert rendering.first_chunk is not None, "render with labels=True"
    return rendering.labels.astype(np.int64), rendering.first_chunk


def _check_context(model: Model, length: int) -> None:
    context = getattr(getattr(model, "config", None), "max_position_embeddings", None)
    if context is not None and length > context:
        raise UserError(
            f"biographies of up to {length} tokens for a model of context {context}: train it with a regime "
            f"whose context is at least {length}"
        )
