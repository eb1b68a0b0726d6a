"""Promises of the models: the paper's architecture and sizes, seeded weights, honest loading."""

import sys
from pathlib import Path

import pytest
import torch
import transformers.dynamic_module_utils
from decoder import reference_logits, weights_of
from modelled import build_model, model_of, shaken
from transformers import AutoModelForCausalLM, PreTrainedModel

from capacity.errors import UserError
from capacity.models.architectures import FAMILIES, mlp_width, paper_model, parameter_count
from capacity.models.build import device_of, load_model


def spec_of(l: int, h: int, head_dim: int) -> dict:
    return {"family": "gpt2", "l": l, "h": h, "head_dim": head_dim}


SMALL = spec_of(2, 2, 8)


@pytest.mark.parametrize(("l", "h", "head_dim", "V"), [(2, 2, 8, 166), (1, 1, 2, 3), (3, 4, 8, 512), (5, 3, 6, 77)])
def test_parameter_count_follows_the_formula(l: int, h: int, head_dim: int, V: int) -> None:
    model = build_model(spec_of(l, h, head_dim), V, 12, seed=1)
    d = h * head_dim
    expected = 12 * l * d**2 + 13 * l * d + 2 * d + V * d
    assert sum(parameter.numel() for parameter in model.parameters()) == expected
    assert parameter_count(model_of(spec_of(l, h, head_dim)), V) == expected


@pytest.mark.parametrize(("l", "h", "published"), [(2, 2, 816_000), (12, 12, 87_571_200)])
def test_formula_gives_the_papers_model_sizes(l: int, h: int, published: int) -> None:
    assert parameter_count(model_of(spec_of(l, h, 64)), 3275) == published


# Every switch with a value that is not the family's own, for each family.
CHANGES = [
    {"mlp_ratio": 0.0}, {"mlp_ratio": 0.25}, {"mlp": "standard"}, {"mlp": "gated"}, {"activation": "gelu"},
    {"activation": "silu"}, {"activation": "relu"}, {"tied": True}, {"tied": False}, {"norm": "layer"},
    {"norm": "rms"}, {"bias": True}, {"bias": False}, {"kv_sharing": 1}, {"kv_sharing": 2}, {"kv_sharing": 4},
    {"rotary": 0.5}, {"rotary": 0.0},
]  # fmt: skip
VARIATIONS = [
    (family, change)
    for family in FAMILIES
    for change in ({}, *CHANGES)
    if not change or paper_model(family, 2, 4, 8, **change) != paper_model(family, 2, 4, 8)
]
ALL_AT_ONCE = {
    "mlp": "gated", "mlp_ratio": 0.5, "activation": "relu", "tied": False, "norm": "rms", "bias": True,
    "kv_sharing": 2, "rotary": 0.25,
}  # fmt: skip

AMPLE = {"count": 4, "capacity": 4.0, "test_capacity": 4.0, "balance": 0.01}
EXPERTS = [
    ("gpt2", {"mlp_ratio": 0.25, "experts": {**AMPLE, "top": 1}}),
    ("gpt2", {"mlp_ratio": 0.25, "experts": {**AMPLE, "top": 2}, "activation": "relu", "kv_sharing": 2}),
    ("llama", {"mlp": "standard", "mlp_ratio": 0.5, "experts": {**AMPLE, "top": 1}}),
    ("mistral", {"mlp": "standard", "experts": {**AMPLE, "top": 2}, "norm": "layer", "rotary": 0.5, "tied": True}),
]


def spec_with(family: str, change: dict, l: int = 2, h: int = 4, head_dim: int = 8) -> dict:
    return {"family": family, "l": l, "h": h, "head_dim": head_dim} | change


@pytest.mark.parametrize(("family", "change"), [*VARIATIONS, ("gpt2", ALL_AT_ONCE), *EXPERTS])
def test_family_and_switch_are_the_papers_formulas_and_nothing_else(family: str, change: dict) -> None:
    settings = model_of(spec_with(family, change)).plain()
    model = shaken(settings)
    inputs = torch.randint(0, 50, (3, 20), generator=torch.Generator().manual_seed(3))
    expected = reference_logits(weights_of(model), settings, inputs, neox_order=hasattr(model, "gpt_neox"))
    assert expected.std() > 0.3
    torch.testing.assert_close(model(inputs).logits, expected, rtol=0, atol=1e-5)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameter_count(model_of(settings), 50)


EXPERTS_ALONE = ("gpt2", {"experts": {**AMPLE, "top": 1}})


@pytest.mark.parametrize(("family", "change"), [*(each for each in VARIATIONS if each[1]), EXPERTS_ALONE])
def test_a_switch_changes_the_shapes_of_what_it_names_and_no_others(family: str, change: dict) -> None:
    """The parts of a layer by canonical name; activation and rotary positions have no weights of their own."""
    before, after = (shapes_of(build_model(spec_with(family, each), 50, 12, seed=1)) for each in ({}, change))
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    mlp = {"up", "down", "gate"}
    may_change = {
        "mlp": mlp, "mlp_ratio": mlp | {"mlp_norm"}, "activation": set(), "tied": {"tied"}, "rotary": set(),
        "norm": {"norm", "mlp_norm", "final norm"}, "bias": {*"qkvo"} | mlp, "kv_sharing": {"k", "v"},
        "experts": mlp | {"router", "experts"},
    }[next(iter(change))]  # fmt: skip
    assert changed <= may_change
    assert bool(changed) == bool(may_change)


def shapes_of(model: PreTrainedModel) -> dict:
    weights = weights_of(model)
    layer = weights["layers"][0]
    parts = {**{name: layer[name] for name in ("q", "k", "v", "o", "norm", "mlp_norm")}, **layer["mlp"]}
    parts["final norm"] = weights["norm"]
    if "experts" in parts:
        parts["experts"] = [tensor for each in parts["experts"] for pair in each.values() for tensor in pair]
        parts["router"] = [parts["router"]]
    shapes = {name: [None if each is None else each.shape for each in part] for name, part in parts.items() if part}
    return {**shapes, "tied": weights["head"] is weights["embedding"], "embedding": weights["embedding"].shape}


def test_the_chain_of_switches_from_llama_ends_at_gpt2() -> None:
    """A Llama with every switch at GPT-2's value computes what the stock GPT-NeoX computes from the same weights."""
    gpt2 = model_of(spec_with("gpt2", {})).plain()
    chain = build_model(gpt2 | {"family": "llama"}, 50, 20, seed=1)
    assert hasattr(chain, "gpt_neox")  # all switches together are the stock class again
    stock = shaken(gpt2)
    inputs = torch.arange(20)[None]
    expected = reference_logits(weights_of(stock), gpt2, inputs, neox_order=True)
    chain.load_state_dict(stock.state_dict())
    torch.testing.assert_close(chain(inputs).logits, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("d", [16, 32, 64, 128, 512])
def test_gated_and_standard_mlps_are_of_equal_size(family: str, d: int) -> None:
    for ratio in (1.0, 0.75, 0.5, 0.25):
        gated, standard = (
            matrices
            * mlp_width(paper_model(**spec_with(family, {"mlp": mlp, "mlp_ratio": ratio}, h=2, head_dim=d // 2)))
            for mlp, matrices in (("gated", 3), ("standard", 2))
        )
        assert abs(gated - standard) <= 2.5  # rows of d parameters: half a hidden unit of each, by rounding
        if ratio == 1 or d >= 64:
            assert abs(gated / standard - 1) < 0.02


@pytest.mark.parametrize(
    ("family", "change", "count"),
    [
        ("gpt2", {"mlp_ratio": 0.25}, lambda l, d, V: l * (6 * d**2 + 10 * d) + 2 * d + V * d),
        ("gpt2", {"mlp_ratio": 0.0}, lambda l, d, V: l * (4 * d**2 + 6 * d) + 2 * d + V * d),
        ("llama", {}, lambda l, d, V: l * (12 * d**2 + 2 * d) + d + 2 * V * d),
        ("mistral", {}, lambda l, d, V: l * ((2 + 2 / 4 + 10.5) * d**2 + 2 * d) + d + 2 * V * d),
    ],
)
def test_parameter_counts_are_the_papers_at_its_widths(family: str, change: dict, count) -> None:
    """A width that is a multiple of 6 has whole hidden units: 8 d / 3 and 3.5 d."""
    settings = spec_with(family, change, l=3, h=12, head_dim=64)
    assert parameter_count(model_of(settings), 3275) == count(3, 768, 3275)


@pytest.mark.parametrize(("h", "shared"), [(8, 4), (12, 4), (6, 2), (2, 2), (3, 1), (1, 1)])
def test_mistral_shares_key_and_value_heads_by_the_papers_rule(h: int, shared: int) -> None:
    model = build_model(spec_with("mistral", {}, h=h), 50, 12, seed=1)
    assert model.config.num_key_value_heads == h // shared


def test_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(3)
    first = build_model(SMALL, 50, 12, seed=7).state_dict()
    torch.rand(5)
    second = build_model(SMALL, 50, 12, seed=7).state_dict()
    other = build_model(SMALL, 50, 12, seed=8).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["gpt_neox.embed_in.weight"], other["gpt_neox.embed_in.weight"])


def test_building_leaves_torchs_own_randomness_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    build_model(SMALL, 50, 12, seed=7)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("std", [0.02, 0.25])
def test_weights_start_as_documented(std: float) -> None:
    state = build_model(spec_of(4, 4, 16) | {"init_std": std}, 500, 12, seed=1).state_dict()
    for name, tensor in state.items():
        if "norm" in name:
            assert (tensor == float(name.endswith("weight"))).all(), name
        elif name.endswith("bias"):
            assert (tensor == 0).all(), name
        else:
            assert tensor.std() == pytest.approx(std, rel=0.05), name


@pytest.mark.parametrize(
    ("family", "change"),
    [("gpt2", {}), ("gpt2", ALL_AT_ONCE), ("gpt2", {"mlp_ratio": 0.0}), ("llama", {}), ("mistral", {}), *EXPERTS],
)
def test_loading_gives_the_saved_model(family: str, change: dict, tmp_path: Path) -> None:
    model = shaken(spec_with(family, change), context=12)
    model.save_pretrained(tmp_path)
    inputs = torch.arange(12)[None]
    loaded = load_model(tmp_path)
    assert not loaded.training
    assert torch.equal(loaded(inputs).logits, model(inputs).logits)


@pytest.mark.parametrize(("family", "change"), [("llama", ALL_AT_ONCE | {"mlp": "standard"}), *EXPERTS[:2]])
def test_a_changed_model_brings_the_code_that_transformers_needs(
    family: str, change: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = shaken(spec_with(family, change), context=12).eval()
    model.save_pretrained(tmp_path / "saved")
    monkeypatch.setattr(transformers.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "saved", trust_remote_code=True)
    assert type(loaded).__module__.startswith("transformers_modules")  # the folder's code, not this project's
    inputs = torch.arange(12)[None]
    torch.testing.assert_close(loaded(inputs).logits, model(inputs).logits, rtol=0, atol=1e-5)


def test_loading_refuses_weights_that_leave_a_parameter_unset(tmp_path) -> None:
    build_model(SMALL, 50, 12, seed=4).save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))
    with pytest.raises(UserError, match=r"layers\.2\..* is not set"):
        load_model(tmp_path)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="accelerator: gpu"):
        device_of("gpu")
    with pytest.raises(UserError, match="accelerator: tpu"):
        device_of("tpu")
    assert device_of("cpu") == torch.device("cpu")
