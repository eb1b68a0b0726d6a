"""Models that are not of the paper: any causal LM of transformers, or a factory of the user's own."""

import difflib
from typing import Any

from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL_MODELS

from capacity.errors import UserError
from capacity.models.factories import find_factories, source_digests
from capacity.models.modeling_wrapped import WrappedConfig, WrappedForCausalLM
from capacity.models.spec import ExternalModel, TransformersModel

# EOS is 0 and pads; a padding id would freeze that token's row in some classes.
TOKENS = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
OURS = {"vocab_size": "the tokenizer gives it", "model_type": "", **dict.fromkeys(TOKENS, "EOS is 0 and pads")}
POSITIONS = "max_position_embeddings"
BALANCE_KEYS = ("router_aux_loss_coef", "aux_loss_coef")  # weights of a load-balancing loss


def build_external(model: ExternalModel, vocab_size: int, context: int) -> PreTrainedModel:
    """A new model under torch's present seed. Raises UserError in one line for what cannot be built."""
    try:
        if isinstance(model, TransformersModel):
            config = hf_config(model.hf, vocab_size, context)
            return AutoModelForCausalLM.from_config(config, attn_implementation="eager")
        find_factories()
        settings: dict[str, Any] = {"vocab_size": vocab_size, "max_position_embeddings": context, **TOKENS}
        sources = source_digests(model.python)
        return WrappedForCausalLM(
            WrappedConfig(factory=model.python, settings=model.settings, sources=sources, **settings)
        )
    except UserError:
        raise
    except Exception as error:  # whatever a configuration or an external factory raises
        raise UserError(f"{name_of(model)}: cannot be built: {one_line(error)}") from error


def name_of(model: ExternalModel) -> str:
    """What to call a model in a message."""
    return f"hf: {model.hf['model_type']}" if isinstance(model, TransformersModel) else f"python: {model.python}"


def hf_config(hf: dict[str, Any], vocab_size: int, context: int) -> Any:
    """The configuration that a mapping describes. Raises UserError for an unknown type or key."""
    kind = hf["model_type"]
    if kind not in CAUSAL_MODELS:
        near = difflib.get_close_matches(kind, CAUSAL_MODELS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UserError(
            f"hf: model_type {kind!r} is no causal LM of transformers; {hint}there are {len(CAUSAL_MODELS)}"
        )
    plain = CONFIG_MAPPING[kind]()
    for key in hf:
        if key in OURS and key != "model_type":
            raise UserError(f"hf: {kind}: {key} cannot be set, {OURS[key]}; remove it")
        if key in BALANCE_KEYS and not hf.get("output_router_logits"):
            raise UserError(
                f"hf: {kind}: {key}: {hf[key]} is of no use without output_router_logits: true, which adds the "
                f"load-balancing loss to the training's; add that or remove {key}"
            )
        if key != "model_type" and not hasattr(plain, key):
            near = difflib.get_close_matches(key, [*plain.to_dict(), *plain.attribute_map], n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UserError(f"hf: {kind}: no key {key!r} in its configuration{hint}")
    settings = {key: value for key, value in hf.items() if key != "model_type"}
    own_names = {plain.attribute_map.get(key, key) for key in settings}  # n_positions and the like
    if hasattr(plain, POSITIONS) and plain.attribute_map.get(POSITIONS, POSITIONS) not in own_names:
        settings[POSITIONS] = context
    return AutoConfig.for_model(kind, **settings, vocab_size=vocab_size, **TOKENS)


def balance_weight(config: Any) -> float:
    """The weight that a stock configuration gives to its routers' load-balancing loss."""
    return next(float(getattr(config, key)) for key in BALANCE_KEYS if hasattr(config, key))


def one_line(error: Exception) -> str:
    """An error of another library, for a message."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) < 200 else text[:197] + "..."
