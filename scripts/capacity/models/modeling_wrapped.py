"""A model of the user's own in the form of a transformers model, so that it is saved and loaded like any other.

This file is copied into the folder of every checkpoint of such a model. AutoModelForCausalLM.from_pretrained(folder,
trust_remote_code=True) then needs the user's module on the Python path, and nothing else of this project.
"""

import importlib
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput


class WrappedConfig(PreTrainedConfig):
    """factory: "package.module:function", called as function(vocab_size, context, **settings).

    sources: its files by path in the project, with a digest of each as it was when the model was made.
    """

    model_type = "wrapped"

    def __init__(
        self,
        factory: str = "",
        settings: dict[str, Any] | None = None,
        vocab_size: int = 1,
        max_position_embeddings: int = 1,
        sources: dict[str, str] | None = None,
        **others: Any,
    ):
        self.factory, self.settings, self.sources = factory, settings or {}, sources or {}
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
        self._embedding, self._head = self._find_embedding(), self._find_head()
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """The factory has drawn the weights."""

    def _find_embedding(self) -> str:
        """The first embedding with a row a token; "" where there is none."""
        found = (name for name, part in self.named_modules() if isinstance(part, nn.Embedding))
        return next((name for name in found if self._rows(name) == self.config.vocab_size), "")

    def _find_head(self) -> str:
        """The Linear with a row a token that makes the logits: no other part with weights begins after it."""
        called: list[str] = []

        def note(name: str) -> Any:
            return lambda *_: called.append(name)

        weighted = [(name, part) for name, part in self.named_modules() if list(part.parameters(recurse=False))]
        hooks = [part.register_forward_pre_hook(note(name)) for name, part in weighted]
        was_training = self.module.training
        try:
            with torch.no_grad():  # a whole row: some modules keep what the first call's length asks for
                self.module.eval()(torch.zeros(1, self.config.max_position_embeddings, dtype=torch.long))
        except Exception:  # what a module of others cannot be called with is said by others
            return ""
        finally:
            self.module.train(was_training)
            for hook in hooks:
                hook.remove()
        last = called[-1] if called else ""
        is_head = isinstance(self.get_submodule(last), nn.Linear) and self._rows(last) == self.config.vocab_size
        return last if is_head else ""

    def _rows(self, name: str) -> int:
        return len(self.get_parameter(f"{name}.weight"))

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
