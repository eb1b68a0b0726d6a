"""Promises of training batches: every person E times, every token once, any step on its own."""

import functools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trainings import made_batches
from worlds import ATOMIC, PAIRS, made_tokenizer, setting, world_of

from capacity.errors import UserError
from capacity.tokenizers.tokenization import EOS_ID
from capacity.training.batches import IGNORED, TrainingBatches
from capacity.world.render import Renderer
from capacity.world.sampling import BLOCK, num_blocks, training_draws

EACH_PAIR = pytest.mark.parametrize(("world_name", "tokenizer_name"), PAIRS)
BIG = ATOMIC | {"N": BLOCK + 3000, "names": [64, 64, 64]}  # two blocks an exposure


def batches_of(world_name: str, tokenizer_name: str, seed: int = 5, **regime) -> TrainingBatches:
    world, tokenizer, _ = setting(world_name, tokenizer_name)
    return made_batches(
        world, tokenizer, {"packing": "rows", "context": None, "batch": 64, "exposures": 3} | regime, seed
    )


def stream_by_text(batches: TrainingBatches, tokenizer) -> list[int]:
    """EOS biography EOS biography ... EOS, by the text route."""
    world, stream = batches.world, [EOS_ID]
    for exposure in range(batches.exposures):
        for block in range(num_blocks(world)):
            texts = batches.renderer.texts(training_draws(world, batches.seed, exposure, block))
            for encoding in tokenizer.encode_batch(texts):
                stream += [*encoding.ids, EOS_ID]
    return stream


def all_steps(batches: TrainingBatches) -> tuple[np.ndarray, np.ndarray]:
    return batches.steps(0, batches.num_steps)


@EACH_PAIR
def test_rows_are_biographies_between_eos(world_name: str, tokenizer_name: str) -> None:
    batches = batches_of(world_name, tokenizer_name, exposures=2)
    inputs, targets = all_steps(batches)
    stream = stream_by_text(batches, setting(world_name, tokenizer_name)[1])
    assert inputs.shape == targets.shape == (batches.num_steps, 64, batches.renderer.max_length + 1)
    flat_inputs, flat_targets = inputs.reshape(-1, batches.context), targets.reshape(-1, batches.context)
    scored = flat_targets != IGNORED
    assert flat_targets[scored].tolist() == stream[1:]
    assert flat_inputs[scored].tolist() == stream[:-1]
    assert (flat_inputs[:, 0] == EOS_ID).all()
    assert (flat_inputs[~scored] == EOS_ID).all()
    lengths = scored.sum(axis=1)
    assert (scored == (np.arange(batches.context) < lengths[:, None])).all()
    assert np.count_nonzero(lengths) == batches.num_biographies


@EACH_PAIR
@pytest.mark.parametrize("context", [17, 64, 512])
def test_windows_are_the_stream_cut_every_context_targets(world_name: str, tokenizer_name: str, context: int) -> None:
    batches = batches_of(world_name, tokenizer_name, packing="windows", context=context, batch=4, exposures=2)
    inputs, targets = all_steps(batches)
    stream = stream_by_text(batches, setting(world_name, tokenizer_name)[1])
    assert inputs.shape == targets.shape == (batches.num_steps, 4, context)
    scored = targets.ravel() != IGNORED
    assert targets.ravel()[scored].tolist() == stream[1:]
    assert inputs.ravel()[scored].tolist() == stream[:-1]
    assert scored.sum() == np.flatnonzero(scored)[-1] + 1
    assert (inputs.ravel()[~scored] == EOS_ID).all()


@given(
    N=st.integers(1, 40),
    exposures=st.integers(1, 5),
    batch=st.integers(1, 9),
    context=st.integers(1, 40),
    packing=st.sampled_from(["rows", "windows"]),
)
@settings(deadline=None)
def test_every_person_is_told_e_times(N: int, exposures: int, batch: int, context: int, packing: str) -> None:
    world = world_of(ATOMIC | {"N": N})
    tokenizer = made_tokenizer({"kind": "word"}, world)
    regime = {"packing": packing, "batch": batch, "exposures": exposures}
    batches = made_batches(world, tokenizer, regime | {"context": context if packing == "windows" else None}, 1)
    _, targets = all_steps(batches)
    told = targets[targets != IGNORED].reshape(-1, 12)  # eleven words and EOS
    assert len(told) == N * exposures
    assert (told[:, 11] == EOS_ID).all()
    assert Counter(Counter(map(bytes, told[:, :3])).values()) == {exposures: N}
    units = N * exposures if packing == "rows" else -(-told.size // context)
    assert batches.num_steps == -(-units // batch)


@functools.cache
def whole_training(packing: str) -> tuple[TrainingBatches, tuple[np.ndarray, np.ndarray]]:
    context = 50 if packing == "windows" else None
    batches = batches_of("small_bios", "bpe", packing=packing, context=context, batch=7, exposures=4)
    return batches, all_steps(batches)


@pytest.mark.parametrize("packing", ["rows", "windows"])
@given(data=st.data())
@settings(deadline=None, max_examples=30)
def test_a_step_alone_equals_the_step_among_others(packing: str, data: st.DataObject) -> None:
    batches, (inputs, targets) = whole_training(packing)
    first = data.draw(st.integers(0, batches.num_steps - 1))
    count = data.draw(st.integers(1, batches.num_steps - first))
    batches._block.cache_clear()  # nothing remembered
    some = batches.steps(first, count)
    assert np.array_equal(some[0], inputs[first : first + count])
    assert np.array_equal(some[1], targets[first : first + count])


@pytest.mark.parametrize("packing", ["rows", "windows"])
def test_steps_run_on_across_blocks_and_exposures(packing: str) -> None:
    world = world_of(BIG)
    tokenizer, context = made_tokenizer({"kind": "word"}, world), 100 if packing == "windows" else None
    batches = made_batches(world, tokenizer, {"packing": packing, "context": context, "batch": 500, "exposures": 3}, 1)
    inputs, targets = all_steps(batches)
    told = targets[targets != IGNORED].reshape(-1, 12)
    assert set(Counter(map(bytes, told[:, :3])).values()) == {3}
    assert len(told) == 3 * world.N
    for first in [BLOCK // 500, world.N // 500, (world.N + BLOCK) // 500, batches.num_steps - 1]:
        if packing == "windows":
            first = min(first * 500 * 12 // (500 * 100), batches.num_steps - 1)
        alone = batches.steps(first, 1)
        assert np.array_equal(alone[0][0], inputs[first])
        assert np.array_equal(alone[1][0], targets[first])


@pytest.mark.parametrize("packing", ["rows", "windows"])
def test_another_seed_gives_other_steps(packing: str) -> None:
    regime = {"packing": packing, "context": 64 if packing == "windows" else None}
    one, same, other = (batches_of("full_bios", "bpe", seed, **regime).steps(3, 2) for seed in (5, 5, 6))
    assert np.array_equal(one[0], same[0])
    assert not np.array_equal(one[0], other[0])


def test_arrays_are_what_torch_takes() -> None:
    inputs, targets = batches_of("atomic", "word").steps(0, 2)
    assert inputs.dtype == targets.dtype == np.int32
    assert inputs.flags.c_contiguous
    assert targets.flags.c_contiguous
    assert inputs.max() < batches_of("atomic", "word").vocab_size == Renderer(*setting("atomic", "word")[:2]).vocab_size


def test_a_context_holds_the_longest_biography_that_a_probe_may_word() -> None:
    batches = batches_of("small_bios", "word", packing="windows", context=400)
    longest = batches.renderer.max_length
    batches_of("small_bios", "word", packing="windows", context=longest).check_context()
    with pytest.raises(UserError, match=f"context: {longest - 1}, but biographies can have {longest} tokens"):
        batches_of("small_bios", "word", packing="windows", context=longest - 1).check_context()


def test_steps_beyond_the_training_are_an_error() -> None:
    batches = batches_of("atomic", "word")
    for first, count in [(batches.num_steps, 1), (0, batches.num_steps + 1), (-1, 1), (0, 0)]:
        with pytest.raises(ValueError, match="steps"):
            batches.steps(first, count)
