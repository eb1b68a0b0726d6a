"""What a model answers: greedy text, whether it is right, and the loss of the right answer.

A row is EOS and a prompt; the answer ends with EOS. Rows are filled up behind, where a causal model does not look, so
that neither the batch nor the lengths of other prompts change an answer, but for experts with less room than they may
be asked for (test_capacity below count).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from capacity.extraction.questions import encode
from capacity.probe.score import BATCH_TOKENS, EXACT, NATS, score_items
from capacity.probe.spec import ProbeDraws
from capacity.world.facts import World
from capacity.world.pieces import EOS_ID, NAME
from capacity.world.render import Renderer, Rendering
from capacity.world.sampling import BLOCK, probe_draws
from capacity.world.text_renderer import TextRenderer

Model = Callable[[torch.Tensor], Any]  # token ids (rows, width) to anything with .logits (rows, width, V)
Tokens = list[list[int]]


def answer_texts(model: Model, tokenizer: Tokenizer, texts: pa.Table, device: str = "cpu") -> pa.Table:
    """The texts with what the model makes of them: the columns said, exact, first_token and nats for the prompt.

    texts: as `capacity.extraction.questions.texts` gives them; the prompt and the answer are left out of what
    is returned. said: the greedy continuation up to EOS, or one token more than the longest right answer. exact:
    said is the answer. first_token: its first token is. nats: summed over the answer's tokens, without its EOS.
    """
    if isinstance(model, torch.nn.Module):
        model.eval()
    most = BATCH_TOKENS["cpu" if device == "cpu" else "gpu"]
    prompts, right = (encode(tokenizer, texts[column].to_pylist()) for column in ("prompt", "answer"))
    said = greedy(model, prompts, max(map(len, right)) + 1, device, most)
    spoken = tokenizer.decode_batch(said, skip_special_tokens=True)
    exact = [text == answer for text, answer in zip(spoken, texts["answer"].to_pylist(), strict=True)]
    first = [tokens[:1] == answer[:1] for tokens, answer in zip(said, right, strict=True)]
    kept = texts.drop_columns(["prompt", "answer"])
    columns = {"said": spoken, "exact": exact, "first_token": first, "nats": nats(model, prompts, right, device, most)}
    for name, column in columns.items():
        kept = kept.append_column(name, pa.array(column))
    return kept


@torch.inference_mode()
def greedy(model: Model, prompts: Tokens, num_new: int, device: str, batch_tokens: int) -> Tokens:
    """The most likely tokens after each prompt, one after another, without EOS and what would follow it."""
    answers: Tokens = [[] for _ in prompts]
    by_length = np.argsort([len(prompt) for prompt in prompts], kind="stable")
    first = 0
    while first < len(by_length):
        width = len(prompts[by_length[first]]) + 1 + num_new
        rows = by_length[first : first + max(1, batch_tokens // width)]
        for row, tokens in zip(rows, _continued(model, [prompts[row] for row in rows], num_new, device), strict=True):
            ends = np.flatnonzero(tokens == EOS_ID)
            answers[row] = tokens[: ends[0] if len(ends) else num_new].tolist()
        first += len(rows)
    return answers


def _continued(model: Model, prompts: Tokens, num_new: int, device: str) -> NDArray[np.int64]:
    """The next num_new tokens of each prompt, (rows, num_new); what comes after EOS means nothing."""
    lengths = np.array([len(prompt) + 1 for prompt in prompts])
    rows, longest = np.arange(len(prompts)), int(lengths.max())
    tokens = np.full((len(prompts), longest + num_new), EOS_ID, dtype=np.int64)
    for row, prompt in enumerate(prompts):
        tokens[row, 1 : len(prompt) + 1] = prompt
    ended = np.zeros(len(prompts), dtype=bool)
    for new in range(num_new):
        logits = model(torch.from_numpy(tokens[:, : longest + new]).to(device)).logits
        last = torch.from_numpy(lengths + new - 1).to(logits.device)
        tokens[rows, lengths + new] = logits[torch.from_numpy(rows).to(logits.device), last].argmax(1).cpu().numpy()
        ended |= tokens[rows, lengths + new] == EOS_ID
        if ended.all():
            break
    return tokens[rows[:, None], lengths[:, None] + np.arange(num_new)]


def nats(model: Model, prompts: Tokens, right: Tokens, device: str, batch_tokens: int) -> NDArray[np.float64]:
    """The loss of each right answer's tokens after its prompt, summed, (rows,)."""
    tokens = np.concatenate([np.array(p + a, dtype=np.int64) for p, a in zip(prompts, right, strict=True)])
    sizes = np.array([[len(p), len(a)] for p, a in zip(prompts, right, strict=True)])
    labels = np.repeat(np.tile(np.array([0, NAME], dtype=np.uint8), len(prompts)), sizes.ravel())
    lengths = sizes.sum(axis=1)
    rendering = Rendering(tokens, lengths, np.arange(len(prompts)), labels, np.zeros(len(tokens), dtype=bool))
    return score_items(model, rendering, 1, device, batch_tokens)[NATS, :, 0]


def memorised(
    model: Model,
    renderer: Renderer | TextRenderer,
    world: World,
    attributes: Sequence[str],
    probe: ProbeDraws,
    device: str = "cpu",
) -> pa.Table:
    """Whether a model gives each value after the words of a biography, as in training: a row a person and attribute.

    exact: the share of draws in which every token of the value is
    the model's first choice after all that precedes it; greedy decoding would give the value then. Of written texts
    those count that mention the right value; a value that none of them mentions is not memorised.
    """
    items = [name for name, _ in world.account.items]
    places = [1 + items.index(attribute) for attribute in attributes]
    kept = world.rewritings.W if world.rewritings else world.grammar.paragraphs
    draws = min(probe.draws, kept or probe.draws)
    exact, scored = np.zeros((world.N, len(attributes))), np.zeros((world.N, len(attributes)))
    most = BATCH_TOKENS["cpu" if device == "cpu" else "gpu"]
    for draw in range(draws):
        for start in range(0, world.N, BLOCK):
            stop = min(start + BLOCK, world.N)
            rendering = renderer.tokens(probe_draws(world, probe.seed, draw, start, stop), labels=True)
            some = score_items(model, rendering, 1 + len(items), device, most)[EXACT][:, places]
            exact[start:stop] += np.nan_to_num(some)
            scored[start:stop] += ~np.isnan(some)
    codes = np.tile(np.arange(len(attributes), dtype=np.int16), world.N)
    return pa.table(
        {
            "person": np.repeat(np.arange(world.N, dtype=np.int32), len(attributes)),
            "attribute": pa.DictionaryArray.from_arrays(codes, list(attributes)),
            "exact": (exact / np.maximum(scored, 1)).ravel(),
        }
    )
