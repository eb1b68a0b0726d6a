"""Models that are not of the paper: any causal LM that transformers knows, or a factory of the user's own.

`check` builds such a model before any job and refuses what could not be trained and measured.
"""

import difflib
import sys
import tempfile
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL_MODELS

from capacity.environment import REPOSITORY
from capacity.errors import UserError
from capacity.wrapped import WrappedConfig, WrappedForCausalLM

# EOS is 0 and pads; a padding id would freeze that token's row in some classes.
TOKENS = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
OURS = {"vocab_size": "the tokenizer gives it", "model_type": "", **dict.fromkeys(TOKENS, "EOS is 0 and pads")}
V, T = 17, 16  # of the check
CHECKED_PARAMETERS = 50_000_000  # a larger model is only laid out before its training, not run


def build_foreign(model: dict[str, Any], vocab_size: int, context: int) -> PreTrainedModel:
    """A new model under torch's present seed.

    model: {"hf": {"model_type": ..., and keys of that configuration}} or {"python": "package.module:factory",
    "settings": {...}}. Raises UserError in one line for what cannot be built.
    """
    try:
        if "hf" in model:
            config = hf_config(model["hf"], vocab_size, context)
            return AutoModelForCausalLM.from_config(config, attn_implementation="eager")
        sys.path.insert(0, str(REPOSITORY))
        settings: dict[str, Any] = {"vocab_size": vocab_size, "max_position_embeddings": context, **TOKENS}
        return WrappedForCausalLM(WrappedConfig(factory=model["python"], settings=model["settings"], **settings))
    except UserError:
        raise
    except Exception as error:  # whatever a configuration or a factory of others raises
        raise UserError(f"{name_of(model)}: cannot be built: {_one_line(error)}") from error


def name_of(model: dict[str, Any]) -> str:
    """What to call a model in a message."""
    return f"hf: {model['hf']['model_type']}" if "hf" in model else f"python: {model['python']}"


def hf_config(hf: dict[str, Any], vocab_size: int, context: int) -> Any:
    """The configuration that a mapping describes. Raises UserError for an unknown type or key."""
    kind = hf["model_type"]
    if kind not in CAUSAL_MODELS:
        near = difflib.get_close_matches(kind, CAUSAL_MODELS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UserError(
            f"hf: model_type {kind!r} is no causal LM that transformers knows; {hint}there are {len(CAUSAL_MODELS)}"
        )
    plain = CONFIG_MAPPING[kind]()
    for key in hf:
        if key in OURS and key != "model_type":
            raise UserError(f"hf: {kind}: {key} cannot be set, {OURS[key]}; remove it")
        if key != "model_type" and not hasattr(plain, key):
            near = difflib.get_close_matches(key, [*plain.to_dict(), *plain.attribute_map], n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UserError(f"hf: {kind}: no key {key!r} in its configuration{hint}")
    settings = {key: value for key, value in hf.items() if key != "model_type"}
    if hasattr(plain, "max_position_embeddings"):
        settings.setdefault("max_position_embeddings", context)
    return AutoConfig.for_model(kind, **settings, vocab_size=vocab_size, **TOKENS)


def check(model: dict[str, Any]) -> None:
    """Build a model for a small vocabulary and see that it trains, scores, saves and loads. Raises UserError."""
    name = name_of(model)
    with torch.device("meta"):
        size = 0 if "python" in model else sum(p.numel() for p in build_foreign(model, V, T).parameters())
    if size > CHECKED_PARAMETERS:
        return
    built = _shaken(model)
    for find_fault in (_dropout, _frozen, _bad_logits, _bad_reload):
        if fault := find_fault(built):
            raise UserError(f"{name}: {fault}")


def _shaken(model: dict[str, Any]) -> PreTrainedModel:
    """A model whose tokens feel each other: with the small weights of a new one a leak may drown in rounding."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        built = build_foreign(model, V, T)
        for parameter in built.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return built


def _dropout(model: PreTrainedModel) -> str:
    """Dropout would make a training depend on more than its seed and step, and costs memorised bits."""
    for module in model.modules():
        if isinstance(module, nn.Dropout) and module.p > 0:
            keys = [key for key, value in model.config.to_dict().items() if _is_dropout(key, value)]
            return f"dropout of {module.p}; set it to 0 ({', '.join(keys) or 'in the factory'})"
    attention = [key for key, value in model.config.to_dict().items() if _is_dropout(key, value) and "att" in key]
    return f"dropout: set {attention[0]} to 0" if attention else ""


def _is_dropout(key: str, value: Any) -> bool:
    return ("drop" in key or "pdrop" in key) and isinstance(value, float) and value > 0


def _frozen(model: PreTrainedModel) -> str:
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    if not list(model.parameters()):
        return "has no parameters"
    return f"parameter {frozen[0]} takes no gradient; P counts parameters that are trained" if frozen else ""


@torch.no_grad()
def _bad_logits(model: PreTrainedModel) -> str:
    """Logits that are not there, of another shape, not of the tokens alone, or not causal."""
    model.eval()
    inputs = torch.arange(3 * T).view(3, T) % V
    try:
        first = logits_of(model, inputs)
        again = logits_of(model, inputs)
    except Exception as error:
        return f"cannot be called with token ids: {_one_line(error)}"
    if not isinstance(first, Tensor):
        return f"gives no logits, but {type(first).__name__}; return a tensor (B, T, V) or an output with .logits"
    if first.shape != (3, T, V):
        return f"gives logits of shape {tuple(first.shape)} for 3 rows of {T} tokens, {V} words; use (3, {T}, {V})"
    if not torch.equal(first, again):
        return "gives other logits for the same tokens each time; remove what is random"
    other = inputs.clone()
    other[:, -1] = (other[:, -1] + 1) % V
    if not torch.allclose(first[:, :-1], logits_of(model, other)[:, :-1], atol=1e-3):
        return "sees the tokens that it predicts: a later token changes earlier logits; use a causal model"
    return ""


@torch.no_grad()
def _bad_reload(model: PreTrainedModel) -> str:
    """Whether saving and loading loses something, as some published classes do."""
    inputs = torch.arange(12).view(2, 6)
    with tempfile.TemporaryDirectory() as folder:
        try:
            model.save_pretrained(folder)
            again = type(model).from_pretrained(folder, attn_implementation="eager").eval()
        except Exception as error:
            return f"cannot be saved and loaded: {_one_line(error)}"
    same = torch.allclose(logits_of(model, inputs), logits_of(again, inputs), atol=1e-4)
    return "" if same else "gives other logits after it was saved and loaded"


def logits_of(model: Any, inputs_BT: Tensor) -> Any:
    """Logits without a cache."""
    return model(input_ids=inputs_BT, use_cache=False).logits


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) < 200 else text[:197] + "..."
