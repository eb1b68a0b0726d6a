"""A GPT-2 with as many parameters as a model, and how many those are."""

from typing import Any

from capacity.config.model import Model
from capacity.errors import UserError
from capacity.measure.recipe import Recipe
from capacity.models.architectures import parameter_count
from capacity.models.spec import PaperModel

HEADS = (8, 10, 6, 12, 14)  # channels of a head, the best first; with 2, some widths stored a third less
LAYERS = 2
TOLERANCE = 0.02  # by which the parameters of the two may differ


def size_of(model: Model, recipe: Recipe) -> int:
    """Trainable parameters. Raises UserError for a model that cannot be built."""
    settings = model.to_settings()
    if isinstance(settings, PaperModel):
        return parameter_count(settings, recipe.vocabulary)
    from capacity.models.external import build_external  # torch
    from capacity.models.external_checks import trainable

    built = build_external(settings, recipe.vocabulary, recipe.tokens)
    return trainable(built)


def equal_baseline(P: int, recipe: Recipe) -> dict[str, Any]:
    """A section of `models`: the narrowest GPT-2 that has P parameters or more, its MLP made narrower to fit.

    Raises UserError where none comes within 2 %.
    """
    V, width = recipe.vocabulary, HEADS[0]
    while not _heads(width) or _count(_gpt2(width, 4 * width), V) < P * (1 - TOLERANCE):
        width += 2
    best = min((_gpt2(width, units) for units in range(4 * width, 0, -1)), key=lambda it: abs(_count(it, V) - P))
    if abs(_count(best, V) / P - 1) > TOLERANCE:
        raise UserError(
            f"no GPT-2 of {P:,} parameters within {TOLERANCE:.0%}; name a model of config.yaml by --baseline"
        )
    return best


def _heads(width: int) -> int | None:
    """How many heads a width has; None where no even number of channels near 8 divides it."""
    return next((width // channels for channels in HEADS if width % channels == 0), None)


def _gpt2(width: int, units: int) -> dict[str, Any]:
    """Of so many hidden units an MLP; GPT-2's are 4 width."""
    section = {
        "architecture": f"gpt2-{LAYERS}-{_heads(width)}",
        "width": width,
        "init_std": float(f"{width**-0.5:.2g}"),
    }
    return section if units == 4 * width else {**section, "mlp_ratio": units / (4 * width)}


def _count(section: dict[str, Any], vocab_size: int) -> int:
    return parameter_count(Model.model_validate(section).to_settings(), vocab_size)
