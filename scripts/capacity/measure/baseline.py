"""A GPT-2 with as many parameters as a model, and how many those are."""

from typing import Any

from capacity.config.model import Model
from capacity.errors import UserError
from capacity.measure.recipe import Recipe
from capacity.models.architectures import parameter_count
from capacity.models.spec import PaperModel

HEAD = 8  # channels of a head, about
LAYERS = 2
TOLERANCE = 0.02  # by which the parameters of the two may differ


def vocabulary_of(recipe: Recipe) -> int:
    """Tokens of the recipe's worlds: names, values, words before values, and EOS."""
    return 3 * recipe.names + 64 + 4 + 1


def size_of(model: Model, recipe: Recipe, context: int) -> int:
    """Trainable parameters. Raises UserError for a model that cannot be built."""
    settings = model.to_settings()
    if isinstance(settings, PaperModel):
        return parameter_count(settings, vocabulary_of(recipe))
    from capacity.models.external import build_external  # torch

    built = build_external(settings, vocabulary_of(recipe), context)
    return sum(weights.numel() for weights in built.parameters() if weights.requires_grad)


def equal_baseline(P: int, recipe: Recipe) -> dict[str, Any]:
    """A section of `models`: the narrowest GPT-2 that has P parameters or more, its MLP made narrower to fit.

    Raises UserError where none comes within 2 %.
    """
    for width in range(HEAD, 4096, 2):
        heads = max(1, round(width / HEAD))
        if width % (2 * heads) or _count(whole := _gpt2(heads, width, 4 * width), recipe) < P:
            continue
        tries = [_gpt2(heads, width, units) for units in range(4 * width, width, -1)]
        best = min([whole, *tries], key=lambda each: abs(_count(each, recipe) - P))
        if abs(_count(best, recipe) / P - 1) <= TOLERANCE:
            return best
    raise UserError(f"no GPT-2 of {P:,} parameters within {TOLERANCE:.0%}; name a model of config.yaml by --baseline")


def _gpt2(heads: int, width: int, units: int) -> dict[str, Any]:
    """Of so many hidden units an MLP; GPT-2's are 4 width."""
    section = {"architecture": f"gpt2-{LAYERS}-{heads}", "width": width, "init_std": float(f"{width**-0.5:.2g}")}
    return section if units == 4 * width else {**section, "mlp_ratio": units / (4 * width)}


def _count(section: dict[str, Any], recipe: Recipe) -> int:
    return parameter_count(Model.model_validate(section).to_settings(), vocabulary_of(recipe))
