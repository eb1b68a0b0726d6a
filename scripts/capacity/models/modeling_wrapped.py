"""A model of the user's own in the form of a transformers model, so that it is saved and loaded like any other.

This file is copied into the folder of every checkpoint of such a model. AutoModelForCausalLM.from_pretrained(folder,
trust_remote_code=True) then needs the user's module on the Python path, and nothing else of this project.
"""

import importlib
from pathlib import Path
from typing import Any

from safetensors.torch import load_model
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput


class WrappedConfig(PreTrainedConfig):
    """factory: "package.module:function", called as function(vocab_size, context, **settings)."""

    model_type = "wrapped"

    def __init__(
        self,
        factory: str = "",
        settings: dict[str, Any] | None = None,
        vocab_size: int = 1,
        max_position_embeddings: int = 1,
        **others: Any,
    ):
        self.factory, self.settings = factory, settings or {}
        self.vocab_size, self.max_position_embeddings = vocab_size, max_position_embeddings
        super().__init__(**others)


class WrappedForCausalLM(PreTrainedModel):
    """The module that the factory returns; called with token ids (B, T) it gives logits (B, T, V), or has them."""

    config: WrappedConfig
    config_class = WrappedConfig
    _tied_weights_keys: dict[str, str]

    def __init__(self, config: WrappedConfig):
        super().__init__(config)
        module, _, function = config.factory.partition(":")
        make = getattr(importlib.import_module(module), function)
        self.module: nn.Module = make(config.vocab_size, config.max_position_embeddings, **config.settings)
        first: dict[int, str] = {}
        names = [
            (name, first.setdefault(id(part), name)) for name, part in self.named_parameters(remove_duplicate=False)
        ]
        self._tied_weights_keys = {name: twin for name, twin in names if name != twin}
        self._embedding = self._name_of(nn.Embedding, "num_embeddings")
        self._head = self._name_of(nn.Linear, "out_features", last=True)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """The factory has drawn the weights."""

    def _name_of(self, kind: type[nn.Module], rows: str, last: bool = False) -> str:
        """The first or last part of a kind that has as many rows as there are tokens; "" where there is none."""
        found = [
            name
            for name, part in self.named_modules()
            if isinstance(part, kind) and getattr(part, rows) == self.config.vocab_size
        ]
        return found[-1 if last else 0] if found else ""

    def get_input_embeddings(self) -> nn.Module | None:  # type: ignore[override]
        return self.get_submodule(self._embedding) if self._embedding else None

    def get_output_embeddings(self) -> nn.Module | None:  # type: ignore[override]
        return self.get_submodule(self._head) if self._head else None

    def forward(self, input_ids: Tensor, use_cache: bool | None = None, **unused: Any) -> CausalLMOutput:
        output = self.module(input_ids)
        return CausalLMOutput(logits=getattr(output, "logits", output))

    @classmethod
    def from_pretrained(cls, folder: Any, *arguments: Any, config: Any = None, **settings: Any) -> Any:  # type: ignore[override]
        """The saved model. The factory runs as it did in training: it may make tensors that are not saved."""
        model = cls(config or WrappedConfig.from_pretrained(folder))
        missing, unexpected = load_model(model, Path(folder) / "model.safetensors", strict=False)
        report = {"missing_keys": set(missing), "unexpected_keys": set(unexpected), "mismatched_keys": set()}
        return (model.eval(), report) if settings.get("output_loading_info") else model.eval()


WrappedConfig.register_for_auto_class()
WrappedForCausalLM.register_for_auto_class("AutoModelForCausalLM")
