"""What a rewriter's texts cost, from its spec and the files of its model: a planted model, a damaged one, none."""

from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from capacity.plan.rewriting_cost import PARAMETERS, SPARE_MB, model_mb, model_parameters, rewriting_seconds
from capacity.rewriting.spec import ModelRewriter, RewritingSettings

MODEL = {
    "kind": "model", "model": "no/such/folder", "revision": None, "batch": 16, "top_p": 0.95, "words": 60,
    "max_tokens": 200, "temperature": 0.8, "accelerator": "cpu", "precision": "fp32",
}  # fmt: skip


def settings(rewriter: dict[str, Any], N: int = 100) -> RewritingSettings:
    return RewritingSettings.read(
        {"kind": "bioR", "N": N, "seed": 1, "rewritings": 10, "rewriter": rewriter, "flawed": "keep", "tries": 8,
         "files": {}}
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A folder with a model in two files, and how many parameters it has."""
    place = tmp_path_factory.mktemp("model")
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=50, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2)
    )
    model.save_pretrained(place, max_shard_size="10KB")
    assert len(list(place.glob("*.safetensors"))) > 1
    return place, model.num_parameters()


def test_the_parameters_of_a_model_in_a_folder_are_counted(folder: tuple[Path, int]) -> None:
    rewriter = settings(MODEL | {"model": str(folder[0])}).rewriter
    assert isinstance(rewriter, ModelRewriter)
    assert model_parameters(rewriter) == folder[1]


def test_a_model_that_is_not_here_or_cannot_be_read_is_taken_for_the_papers(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    for change in ({}, {"model": str(tmp_path)}, {"model": "org/name", "revision": "0" * 40}):
        rewriter = settings(MODEL | change).rewriter
        assert isinstance(rewriter, ModelRewriter)
        assert model_parameters(rewriter) == PARAMETERS


def test_a_model_costs_by_its_size_and_its_texts_and_others_cost_less(folder: tuple[Path, int]) -> None:
    small = settings(MODEL | {"model": str(folder[0])})
    large = settings(MODEL)
    assert rewriting_seconds(large) / rewriting_seconds(small) == pytest.approx(PARAMETERS / folder[1])
    assert rewriting_seconds(settings(MODEL, N=200)) == 2 * rewriting_seconds(large)
    grammar = settings({"kind": "grammar", "corruption": 0.0})
    assert rewriting_seconds(grammar) == 1  # a thousand texts, a thousand a second
    assert rewriting_seconds(large) > 10_000
    assert model_mb(grammar) == 0
    assert model_mb(large) == SPARE_MB + 56_000
    assert model_mb(settings(MODEL | {"precision": "bf16"})) == SPARE_MB + 28_000
