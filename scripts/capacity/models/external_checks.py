"""What is wrong with a model that is not of the paper, found before any job: it is built, called, saved and loaded.

Run by the main process in a process of its own; no job imports this.
"""

import tempfile
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers import PreTrainedModel

from capacity.errors import UserError
from capacity.models.external import POSITIONS, build_external, name_of, one_line
from capacity.models.factories import source_digests
from capacity.models.hidden_reads import hidden, reads
from capacity.models.spec import ExternalModel, FactoryModel, TransformersModel

V, T = 17, 16
FLOAT = torch.float32
MANY_ROWS = 64  # in which an expert, if it can be chosen at all, is
CHECKED_PARAMETERS = 50_000_000  # a larger model is only laid out before its training, not run


def check(model: ExternalModel) -> None:
    """Build a model for a small vocabulary and see that it trains, scores, saves and loads. Raises UserError."""
    name = name_of(model)
    with reads() as opened:
        is_run = not too_large(model)
        built = shaken(model) if is_run else _laid_out(model)
        for find_fault in LOOKS if is_run else LOOKS_WITHOUT_A_RUN:
            try:
                fault = find_fault(built)
            except Exception as error:  # of whatever code the module has
                fault = f"fails where it is called: {one_line(error)}"
            if fault:
                raise UserError(f"{name}: {fault}")
    if isinstance(model, FactoryModel) and (files := hidden(opened, set(source_digests(model.python)))):
        raise UserError(
            f"{name}: reads {files[0]}, which is no part of its results' identity, so that a change there would go "
            "unseen; give what it says as settings, or import it by an import statement"
        )


def count(model: ExternalModel) -> tuple[float, float]:
    """Trainable parameters without words, and those of a word, by two vocabularies. Raises UserError."""
    where = "meta" if isinstance(model, TransformersModel) else "cpu"  # a factory may not bear the first
    with torch.device(where), torch.random.fork_rng(devices=[]):
        few, many = (trainable(build_external(model, words, T)) for words in (V, 2 * V))
    return 2 * few - many, (many - few) / V


def trainable(model: nn.Module) -> int:
    """Parameters that are trained."""
    return sum(weights.numel() for weights in model.parameters() if weights.requires_grad)


def width_of(model: PreTrainedModel) -> int:
    """Tokens of a row that a model has positions for."""
    return min(T, getattr(model.config, POSITIONS, None) or T)


def _laid_out(model: ExternalModel) -> PreTrainedModel:
    """A model without the memory for its weights, which cannot be called."""
    with torch.device("meta"):
        return build_external(model, V, T)


def too_large(model: ExternalModel) -> bool:
    """Whether a model is too large to be run here. A factory's size is known once it is built, so it is run."""
    return (
        isinstance(model, TransformersModel)
        and sum(p.numel() for p in _laid_out(model).parameters()) > CHECKED_PARAMETERS
    )


def shaken(model: ExternalModel) -> PreTrainedModel:
    """A model with larger weights than a new one, whose rounding could hide a leak."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        built = build_external(model, V, T)
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
    broken = [name for name, parameter in model.named_parameters() if not parameter.isfinite().all()]
    if broken:
        return f"parameter {broken[0]} holds NaN or infinity when the model is new; give it finite weights"
    other = [(name, str(p.dtype).removeprefix("torch.")) for name, p in model.named_parameters() if p.dtype != FLOAT]
    if other:
        return f"parameter {other[0][0]} is {other[0][1]}; make float32 ones, products have the precision of the scale"
    if not list(model.parameters()):
        return "has no parameters; a factory returns a torch.nn.Module, with weights to train"
    return f"parameter {frozen[0]} takes no gradient; P counts parameters that are trained" if frozen else ""


@torch.no_grad()
def _bad_logits(model: PreTrainedModel) -> str:
    """Logits that are not there, of another shape, not of the tokens alone, or not causal."""
    model.eval()
    width = width_of(model)
    inputs = torch.arange(3 * width).view(3, width) % V
    try:
        first = logits_of(model, inputs)
        again = logits_of(model, inputs)
    except Exception as error:
        return f"cannot be called with token ids: {one_line(error)}"
    if not isinstance(first, Tensor):
        return f"gives no logits, but {type(first).__name__}; return a tensor (B, T, V) or an output with .logits"
    if first.shape != (3, width, V):
        shape = tuple(first.shape)
        return f"gives logits of shape {shape} for 3 rows of {width} tokens, {V} words; use (3, {width}, {V})"
    if not first.isfinite().all():
        return "gives NaN or infinite logits; remove what makes them"
    if not torch.equal(first, again):
        return "gives other logits for the same tokens each time; remove what is random"
    other = inputs.clone()
    other[:, -1] = (other[:, -1] + 1) % V
    if not torch.allclose(first[:, :-1], logits_of(model, other)[:, :-1], atol=1e-3):
        return "sees the tokens that it predicts: a later token changes earlier logits; use a causal model"
    alone = torch.cat([logits_of(model, row[None]) for row in inputs])
    if not torch.allclose(first, alone, atol=1e-3):
        return "sees other rows: alone, a row has other logits than in a batch; of an RNN, use batch_first=True"
    return ""


@torch.no_grad()
def _unbalanced(model: PreTrainedModel) -> str:
    """A switch for a balancing loss that the class does not have."""
    if not getattr(model.config, "output_router_logits", False):
        return ""
    output: Any = model(input_ids=torch.arange(width_of(model))[None] % V, use_cache=False)
    if getattr(output, "aux_loss", None) is not None:
        return ""
    return "output_router_logits: true, but this class gives no balancing loss; leave it and the loss's weight out"


@torch.no_grad()
def _changes_itself(model: PreTrainedModel) -> str:
    """Noise in training, or a state beside the weights: a training that is resumed would have other bits."""
    inputs = _rows(model, 3)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    scored = logits_of(model.eval(), inputs)
    trained = logits_of(model.train(), inputs)
    same = torch.equal(trained, logits_of(model, inputs))
    model.eval()
    for name, buffer in model.named_buffers():
        if name in before and not torch.equal(before[name], buffer):
            return f"buffer {name} changes in training, as a batch norm's does, and would not be resumed; remove it"
    if not same:
        return "gives other logits for the same tokens each time in training; remove what is random"
    is_one = torch.allclose(scored, trained, atol=1e-3)
    return "" if is_one else "gives other logits in training than when it is scored; remove what depends on the mode"


def _untrained(model: PreTrainedModel) -> str:
    """A step of training that fails, and parameters that it does not reach, or that are read past it."""
    own = dict(model.named_parameters())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        flat = torch.cat([(p + 0.1 * torch.randn_like(p)).detach().reshape(-1) for p in own.values()]).requires_grad_()
    parts = flat.split([parameter.numel() for parameter in own.values()])  # of one vector, as in training
    others = {name: part.view(p.shape) for (name, p), part in zip(own.items(), parts, strict=True)}
    model.train()
    if fault := _read_past(model, own, others):
        return fault
    unused = list(others)
    for rows in (3, MANY_ROWS):
        if unused:  # parameters of experts have no gradient where no token goes to them
            try:
                logits = _logits_by(model, others, _rows(model, rows))
                found = torch.autograd.grad(logits.logsumexp(-1).sum(), list(others.values()), allow_unused=True)
            except Exception as error:
                return f"cannot be trained: {one_line(error)}"
            unused = [name for name, gradient in zip(others, found, strict=True) if gradient is None]
    model.eval()
    return f"parameter {unused[0]} has no part in the logits, but P would count it; remove it" if unused else ""


@torch.no_grad()
def _read_past(model: PreTrainedModel, own: Mapping[str, Tensor], others: dict[str, Tensor]) -> str:
    """A parameter of which the model keeps a copy or a view beside it: training would not change that."""
    inputs, kept = _rows(model, 3), {name: parameter.clone() for name, parameter in own.items()}

    def is_read_past(names: list[str]) -> bool:
        put = _logits_by(model, {name: others[name] for name in names}, inputs)
        for name in names:
            own[name].copy_(others[name])
        written = logits_of(model, inputs)
        for name in names:
            own[name].copy_(kept[name])
        return not torch.allclose(put, written, atol=1e-3)

    if not is_read_past(list(own)):
        return ""
    name = next((name for name in own if is_read_past([name])), next(iter(own)))
    return (
        f"reads parameter {name} past its name, where training does not reach it; read it in forward, such as "
        "self.embedding.weight, and keep no copy, view or list of it"
    )


def _logits_by(model: PreTrainedModel, parameters: dict[str, Tensor], inputs_BT: Tensor) -> Tensor:
    """Logits with other values in place of parameters, as training takes them."""
    output: Any = functional_call(model, parameters, kwargs={"input_ids": inputs_BT, "use_cache": False})
    return output.logits


def _rows(model: PreTrainedModel, rows: int) -> Tensor:
    """Token ids, as many a row as the model has positions for."""
    return torch.arange(rows * width_of(model)).view(rows, -1) % V


@torch.no_grad()
def bad_reload(model: PreTrainedModel) -> str:
    """Whether saving and loading loses something, as some published classes do."""
    inputs = torch.arange(12).view(2, 6)[:, : width_of(model)]
    try:
        logits = logits_of(model, inputs)
    except Exception as error:
        return f"cannot be called with rows shorter than its context: {one_line(error)}"
    with tempfile.TemporaryDirectory() as folder:
        try:
            model.save_pretrained(folder)
            again = type(model).from_pretrained(folder, attn_implementation="eager").eval()
        except Exception as error:
            return f"cannot be saved and loaded: {one_line(error)}"
    same = torch.allclose(logits, logits_of(again, inputs), atol=1e-4)
    return "" if same else "gives other logits after it was saved and loaded"


def logits_of(model: Any, inputs_BT: Tensor) -> Any:
    """Logits without a cache."""
    return model(input_ids=inputs_BT, use_cache=False).logits


LOOKS_WITHOUT_A_RUN = (_dropout,)
LOOKS = (*LOOKS_WITHOUT_A_RUN, _frozen, _bad_logits, _unbalanced, _changes_itself, _untrained, bad_reload)
