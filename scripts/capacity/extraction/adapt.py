"""A trained model made ready for questions: rows for new words, and low-rank matrices where LoRA asks for them.

LoRA (Hu et al., arXiv 2106.09685) by the package peft, as arXiv 2404.05405, Appendix A.2 has it: rank r' on the
embedding, rank r on query and value. Their product is added with weight 1.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from capacity.errors import UserError
from capacity.extraction.people import ADAPTER, NEW_ROWS

APART = {"q_proj": "v_proj", "query": "value"}  # names of projections for query and value, side by side
HEAD_BY_HEAD = ("gpt_bigcode",)  # whose c_attn has each head's query, key and value together
FUSED = ("query_key_value", "c_attn")  # one projection for query, key and value


def grown(model: PreTrainedModel, rows: int, context: int, seed: int) -> PreTrainedModel:
    """The model with `rows` tokens, new ones drawn from its own initial distribution, and room for `context` positions.

    Changes the model in place. Raises UserError where it has learned its positions and they are too few.
    """
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is not None and context > positions:
        if any("wpe" in name or "position_embed" in name for name, _ in model.named_parameters()):
            raise UserError(
                f"questions of up to {context} tokens for a model that has learned {positions} positions; "
                "use shorter wordings, or train it with a longer context"
            )
        model.config.max_position_embeddings = context
    with _seeded(seed, NEW_ROWS):
        untyped: Any = model  # nn.Module has it that every attribute may be a tensor
        untyped.resize_token_embeddings(rows, mean_resizing=False)
    return model


def untied(model: PreTrainedModel) -> PreTrainedModel:
    """The model with a head of its own, equal to the embedding; changed in place.

    LoRA on the embedding changes what is read. With a tied head it would change what is said too once it is merged.
    """
    untyped: Any = model
    head = untyped.get_output_embeddings()
    if head is not None and head.weight is untyped.get_input_embeddings().weight:
        head.weight = nn.Parameter(head.weight.detach().clone())
        model.config.tie_word_embeddings = False
        model.all_tied_weights_keys = {}
    return model


def with_lora(model: PreTrainedModel, embedding_rank: int, attention_rank: int, seed: int) -> PeftModel:
    """The model with frozen weights and low-rank matrices beside them.

    Where query, key and value are one matrix, the rows of the key and the products across query and value are held
    at zero. Raises UserError for a model without query and value, and for a rank above a matrix.
    """
    modules: dict[str, Any] = dict(model.named_modules())
    embedding = next(name for name, part in modules.items() if part is model.get_input_embeddings())
    apart, fused = query_and_value_modules(model)
    width = int(modules[embedding].weight.shape[1])
    for key, rank in (("embedding", embedding_rank), ("query and value", attention_rank)):
        if rank > width:
            raise UserError(f"ranks: {rank} for the {key} of a model of width {width}; use at most {width}")
    ranks = {
        embedding: embedding_rank,
        **dict.fromkeys(apart, attention_rank),
        **dict.fromkeys(fused, 2 * attention_rank),
    }
    with _seeded(seed, ADAPTER):
        config = LoraConfig(
            r=attention_rank, target_modules=list(ranks), rank_pattern=ranks, alpha_pattern=ranks, lora_dropout=0.0
        )
        adapted = get_peft_model(model, config)
    for name in fused:
        part: Any = adapted.get_base_model().get_submodule(name)
        contiguous = name.endswith("c_attn") and model.config.model_type not in HEAD_BY_HEAD
        weight = part.lora_B["default"].weight
        weight.register_hook(query_and_value(weight.shape, model.config, contiguous).to(weight.device).mul)
    return adapted


def query_and_value_modules(model: PreTrainedModel) -> tuple[list[str], list[str]]:
    """Names of the projections that make query or value alone, and of those that make query, key and value at once.

    Raises UserError where there are neither, and where query, key and value of one projection are not equally wide.
    """
    modules: dict[str, Any] = dict(model.named_modules())
    apart = []
    for query, value in APART.items():
        parents = [name.removesuffix(query) for name in modules if name.rpartition(".")[2] == query]
        apart += [parent + part for parent in parents if parent + value in modules for part in (query, value)]
    fused = [name for name in modules if name.rpartition(".")[2] in FUSED and not apart]
    if not apart + fused:
        known = ", ".join((*APART, *APART.values(), *FUSED))
        raise UserError(
            f"method: lora with {type(model).__name__}, which has no query and value (modules named {known}); "
            "use method: full"
        )
    config: Any = model.config
    for name in fused:
        if sorted(modules[name].weight.shape) != [config.hidden_size, 3 * config.hidden_size]:
            raise UserError(
                f"method: lora with {type(model).__name__}, where {name} makes query, key and value of unequal "
                "widths; use method: full"
            )
    return apart, fused


def query_and_value(shape: Sequence[int], config: Any, contiguous: bool) -> Tensor:
    """1 where lora_B (3 d, 2 r) of a fused projection may differ from 0, else 0.

    The first r columns make the query, the others the value. contiguous: all queries, then all keys, then all
    values; otherwise each head's own come together.
    """
    outputs, ranks = shape
    part = torch.arange(outputs)  # 0 query, 1 key, 2 value
    head = outputs // 3 if contiguous else config.hidden_size // config.num_attention_heads
    part = part // head % 3
    column = torch.arange(ranks) // (ranks // 2) * 2  # 0, then 2
    return (part[:, None] == column[None, :]).float()


def merged(adapted: PeftModel) -> PreTrainedModel:
    """The model with the low-rank products added to its weights."""
    return adapted.merge_and_unload()


class _seeded:
    """Torch's CPU randomness from a key alone, inside; as it was afterwards."""

    def __init__(self, seed: int, stream: int):
        self._seed = int(np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0])

    def __enter__(self) -> None:
        self._state = torch.random.get_rng_state()
        torch.manual_seed(self._seed)

    def __exit__(self, *_: object) -> None:
        torch.random.set_rng_state(self._state)
