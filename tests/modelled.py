"""Models as training reads them, from the few of their settings that a test is about."""

from typing import Any

import torch
from transformers import PreTrainedModel

from capacity.models import build
from capacity.models.architectures import paper_model
from capacity.models.spec import ModelSettings, read_model


def model_of(settings: dict[str, Any]) -> ModelSettings:
    """A model; switches of the paper's that are not given are at their family's values."""
    return paper_model(**settings) if "family" in settings else read_model(settings)


def build_model(settings: dict[str, Any], vocab_size: int, context: int, seed: int) -> PreTrainedModel:
    """Such a model, built."""
    return build.build_model(model_of(settings), vocab_size, context, seed)


def shaken(settings: dict[str, Any], vocab_size: int = 50, context: int = 20, by: float = 0.2) -> PreTrainedModel:
    """A model whose every parameter matters: biases and norms are not at their start, and routers decide."""
    model = build_model(settings, vocab_size, context, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * by)
    return model
