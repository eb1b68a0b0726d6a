"""How many parameters a model has, for estimates: one of the paper by its formula, another one as it was built."""

from capacity.models.architectures import parameter_count, sizes
from capacity.models.spec import ModelSettings

UNKNOWN_LAYERS, UNKNOWN_WIDTH = 12, 768  # of a model that does not say: assumed

_BUILT: dict[str, tuple[float, float]] = {}  # an external model -> parameters without words, and those of a word


def note_built(model: ModelSettings, without_words: float, per_word: float) -> None:
    """Remember what was counted when an external model was built."""
    _BUILT[model.model_dump_json()] = without_words, per_word


def parameters(model: ModelSettings, vocab_size: int) -> int:
    """About how many parameters a training trains; of a model that was never built here, a guess."""
    built = _BUILT.get(model.model_dump_json()) if _BUILT else None
    if built is None:
        return parameter_count(model, vocab_size)
    return round(built[0] + built[1] * vocab_size)


def assumed_shape(model: ModelSettings) -> tuple[int, int, int]:
    """Layers, channels and heads, as far as the model says them."""
    known = sizes(model)
    return known["l"] or UNKNOWN_LAYERS, known["d"] or UNKNOWN_WIDTH, known["h"] or UNKNOWN_LAYERS
