"""From a checked configuration to specs: which option moves which artefacts, and which do not."""

import copy
import functools
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from planted import TINY, of_stage, tiny_grid

from capacity.artefacts.identity import SCRIPTS
from capacity.artefacts.spec import Spec
from capacity.artefacts.stages import STAGES
from capacity.config.dataset import BioD, BioS, Junk, Pools
from capacity.config.experiment import Config
from capacity.config.load import check, read_yaml
from capacity.config.model import Model
from capacity.config.quantizer import Quantizer
from capacity.config.regime import Regime
from capacity.config.scale import Scale
from capacity.config.study import Display, Probe, Table
from capacity.config.tokenizer import Bpe
from capacity.errors import UserError
from capacity.models import factories
from capacity.plan import grid as resolver
from capacity.plan import world_specs
from capacity.plan.grid import Grid
from capacity.plan.study_runs import Run, runs_of
from capacity.world.facts import make_world
from capacity.world.kinds import read_world

RAW = read_yaml(TINY)
LETTERS = {
    "d": "datasets",
    "t": "tokenizers",
    "c": "checkpoints",
    "v": "variants",
    "p": "probes",
    "a": "tables",
    "f": "figures",
}


def with_value(path: str, value: Any) -> dict[str, Any]:
    """The tiny configuration, as read, with one value put in."""
    raw = copy.deepcopy(RAW)
    *sections, key = path.split("/")
    section = functools.reduce(lambda inner, name: inner[name], sections, raw)
    section[key] = value
    return raw


def grid_of(raw: dict[str, Any]) -> Grid:
    return resolver.resolve(check(Config, raw, "planted"))


def names(grid: Grid, stage: str) -> set[str]:
    """Artefacts of a stage, members of sets included."""
    specs = [spec for spec in grid.specs.values() if spec.stage == stage]
    return {spec.name for spec in specs} | {member.name for spec in specs for member in spec.members}


def digests(grid: Grid, stage: str) -> set[str]:
    """Digests alone: a slug that differs proves nothing."""
    return {name.rsplit("-", 1)[1] for name in names(grid, stage)}


def moved(raw: dict[str, Any]) -> str:
    """Letters of the stages in which there is a new artefact."""
    new, old = grid_of(raw), tiny_grid()
    return "".join(letter for letter, stage in LETTERS.items() if digests(new, stage) - digests(old, stage))


# --- what an option moves

ATOMIC, PEOPLE, LONG, CUT = "datasets/atomic", "datasets/people", "regimes/long", "regimes/cut"
GPTQ = {"method": "gptq", "bits": 8}
SWITCHED = {
    "mlp_ratio": 0.5, "mlp": "gated", "activation": "silu", "tied": False, "norm": "rms", "bias": False,
    "kv_sharing": 2, "rotary": 0.5, "experts": {"count": 2},
}  # fmt: skip
AS_IN_GPT2 = {
    "mlp_ratio": 1, "mlp": "standard", "activation": "gelu", "tied": True, "norm": "layer", "bias": True,
    "kv_sharing": 1, "rotary": 1, "experts": None,
}  # fmt: skip
TOLD = {"sentences": "in_order", "paragraphs": 1, "junk": {"people": 10}, "tag": True}
MOVES: list[tuple[str, Any, str]] = [
    ("scales/laptop/accelerator", "gpu", "cvpaf"),
    ("scales/laptop/precision", "bf16", "cvpaf"),
    ("scales/laptop/devices", 2, "cvpaf"),
    ("scales/laptop/compile", True, "cvpaf"),
    (f"{ATOMIC}/N", 5, "dtcvpaf"),
    (f"{ATOMIC}/K", 3, "dtcvpaf"),
    (f"{ATOMIC}/C", 2, "dtcvpaf"),
    (f"{ATOMIC}/D", 3, "dtcvpaf"),
    (f"{ATOMIC}/L", 2, "dtcvpaf"),
    (f"{ATOMIC}/T", 5, "dtcvpaf"),
    (f"{ATOMIC}/names", [4, 4, 5], "dtcvpaf"),
    (f"{ATOMIC}/wording", "sentence", "dtcvpaf"),
    (f"{PEOPLE}/N", 5, "dtcvpaf"),
    (f"{PEOPLE}/templates", 3, "dtcvpaf"),
    (f"{PEOPLE}/pronouns", ["They"], "dtcvpaf"),
    (f"{PEOPLE}/pronouns", ["They", "She", "He"], "dtcvpaf"),
    *((f"{name}/{key}", value, "dtcvpaf") for name in (ATOMIC, PEOPLE) for key, value in TOLD.items()),
    (f"{ATOMIC}/junk", {"people": 9, "share": 0.5}, "dtcvpaf"),
    (f"{PEOPLE}/junk", {"people": 9, "share": 0.5, "windows": "mixed"}, "dtcvpaf"),
    (
        PEOPLE,
        {"kind": "bioS", "N": 4, "value_lists": {"majors": "scripts/capacity/world/value_lists/cities.txt"}},
        "dtcvpaf",
    ),
    (f"{PEOPLE}/template_folder", "scripts/capacity/world/value_lists/templates", "dtcvpaf"),
    *((f"{PEOPLE}/pools/{pool}", 5, "dtcvpaf") for pool in Pools.model_fields),
    ("tokenizers/bpe/vocabulary", 310, "tcvpaf"),
    ("tokenizers/bpe/split_digits", True, "tcvpaf"),
    ("tokenizers/bpe", {"kind": "word"}, "tcvpaf"),
    ("models/small/architecture", "gpt2-2-1", "cvpaf"),
    ("models/small/head_dim", 6, "cvpaf"),
    ("models/small", {"architecture": "gpt2-1-2", "width": 12}, "cvpaf"),
    ("models/small/init_std", 0.25, "cvpaf"),
    ("models/small", {"hf": {"model_type": "mamba", "hidden_size": 8, "num_hidden_layers": 1}}, "cvpaf"),
    ("models/small", {"python": "tests.own_models:averages", "settings": {"width": 4}}, "cvpaf"),
    *((f"models/small/{switch}", value, "cvpaf") for switch, value in SWITCHED.items()),
    (f"{LONG}/exposures", 4, "cvpaf"),
    (f"{LONG}/batch", 2, "cvpaf"),
    (f"{LONG}/lr", 0.02, "cvpaf"),
    (f"{LONG}/zipf", 1.0, "cvpaf"),
    (LONG, {**RAW["regimes"]["long"], "packing": "windows", "context": 32}, "cvpaf"),
    (f"{CUT}/context", 64, "cvpaf"),
    (f"{LONG}/warmup_steps", 2, "cvpaf"),
    (f"{LONG}/final_lr_fraction", 0.2, "cvpaf"),
    (f"{LONG}/weight_decay", 0.02, "cvpaf"),
    (f"{LONG}/schedule", "linear", "cvpaf"),
    (f"{LONG}/optimizer", "muon", "cvpaf"),
    (f"{LONG}/optimizer", "schedule-free", "cvpaf"),
    (LONG, {**RAW["regimes"]["long"], "optimizer": "muon", "momentum": 0.9}, "cvpaf"),
    (f"{LONG}/betas", [0.9, 0.99], "cvpaf"),
    (f"{LONG}/eps", 1e-7, "cvpaf"),
    (f"{LONG}/clip", None, "cvpaf"),
    (f"{LONG}/quantizer", "int4", "cvpaf"),
    (LONG, {**RAW["regimes"]["long"], "quantizer": "int4", "quantize_from": 0.5}, "cvpaf"),
    ("regimes/cut", {**RAW["regimes"]["cut"], "document_mask": True}, "cvpaf"),
    ("scales/laptop/attention", "fused", "cvpaf"),
    ("scales/laptop/attention", "short", "cvpaf"),
    ("scales/laptop/loss", "chunked", "cvpaf"),
    ("quantizers/int8/bits", 7, "vpaf"),
    ("quantizers/int8", {"method": "rtn", "format": "fp8"}, "vpaf"),
    ("quantizers/int8/symmetric", False, "vpaf"),
    ("quantizers/int8/group", 4, "vpaf"),
    ("quantizers/int8/tensors", ["linear"], "vpaf"),
    ("quantizers/int8/scale_format", "fp16", "vpaf"),
    ("quantizers/int8/rest", "fp16", "vpaf"),
    ("quantizers/int8", {**GPTQ, "damping": 0.02, "act_order": False, "calibration": 4}, "vpaf"),
    ("studies/base/seeds", [1, 2], "dtcvpaf"),
    ("studies/base/quantizers", ["none", "int8", "int4"], "vpaf"),
    ("studies/base/vary", {"regime.lr": [0.01, 0.02]}, "cvpaf"),
    ("studies/base/regimes", ["long"], "af"),
    ("probe/draws", 2, "paf"),
    ("table", {"resamples": 500}, "af"),
    ("display", {"title": "Capacity"}, "f"),
    ("studies/base/question", "Does it?", "f"),  # the title of its figure
    ("studies/base/figure", {"x": "quantizer", "panel": "regime.exposures"}, "f"),
]
STILL: list[tuple[str, Any]] = [
    ("studies/base/paper", "No."),
    ("store", "/somewhere/else"),
    ("gpu_share", 4),
    ("gpu_share", "auto"),
    ("scales/other", {"accelerator": "gpu", "precision": "bf16"}),
    ("datasets/unused", {"kind": "bioS", "N": 9}),
    ("regimes/unused", {"exposures": 9, "batch": 9, "lr": 0.5, "context": 9}),
    (f"{LONG}/lr", 1e-2),
    (f"{LONG}/clip", 1),
    (f"{LONG}/schedule", "cosine"),
    (f"{LONG}/optimizer", "adamw"),
    (f"{LONG}/momentum", None),
    (f"{LONG}/document_mask", False),
    ("scales/laptop/attention", "auto"),
    ("scales/laptop/loss", "auto"),
    (f"{LONG}/weight_decay", 0.01),
    (f"{ATOMIC}/C", 1),
    ("tokenizers/bpe/split_digits", False),
    *((f"models/small/{switch}", value) for switch, value in AS_IN_GPT2.items()),
    (f"{ATOMIC}/junk", None),
    (f"{PEOPLE}/pronouns", ["He", "She"]),
    (f"{PEOPLE}/paragraphs", None),
    ("display", {"title": ""}),
    ("table", {"resamples": 1000}),
]


@pytest.mark.parametrize(("path", "value", "stages"), MOVES, ids=lambda value: str(value)[:40])
def test_an_option_moves_its_stage_and_all_that_follow_and_no_earlier_one(path: str, value: Any, stages: str):
    assert moved(with_value(path, value)) == stages


@pytest.mark.parametrize(("path", "value"), STILL, ids=lambda value: str(value)[:40])
def test_what_changes_no_number_moves_nothing(path: str, value: Any):
    assert moved(with_value(path, value)) == ""


def test_every_option_of_a_run_is_among_those_seen_to_move_it():
    """An option that is accepted and moves nothing would be one that is ignored."""
    sections = {
        **{
            "scales/laptop": Scale,
            ATOMIC: BioD,
            PEOPLE: BioS,
            f"{PEOPLE}/pools": Pools,
            f"{PEOPLE}/junk": Junk,
        },
        **{"tokenizers/bpe": Bpe, "models/small": Model, "quantizers/int8": Quantizer},
        **{"probe": Probe, "table": Table, "display": Display},
    }
    options = {f"{path}/{name}" for path, model in sections.items() for name in model.model_fields}
    options |= {f"regimes/*/{name}" for name in Regime.model_fields}
    seen = set()
    for path, value, _ in MOVES:
        path = re.sub(r"^regimes/\w+", "regimes/*", path)
        seen |= {path} | ({f"{path}/{key}" for key in value} if isinstance(value, dict) else set())
    one_value = {f"{ATOMIC}/kind", f"{PEOPLE}/pools"}
    assert options - seen == one_value


def test_every_option_of_gptq_moves_its_variants_and_their_text_is_the_dataset():
    raw = with_value("quantizers/int8", GPTQ)
    plain = grid_of(raw)
    for option, value in {"damping": 0.02, "act_order": False, "calibration": 3}.items():
        changed = copy.deepcopy(raw)
        changed["quantizers"]["int8"] |= {option: value}
        assert digests(grid_of(changed), "variants").isdisjoint(digests(plain, "variants") - digests_of_none(plain))
    for spec in (spec for spec in plain.specs.values() if spec.stage == "variants"):
        checkpoint = plain.specs[spec.parents["checkpoint"]]
        assert spec.parents["dataset"] == checkpoint.parents["dataset"]
        calibrated = {member.settings["method"]: set(member.parents) for member in spec.members}
        assert calibrated == {"none": {"checkpoint"}, "gptq": {"checkpoint", "dataset"}}


def test_training_takes_a_scheme_and_not_its_name():
    raw = with_value(f"{LONG}/quantizer", "int4")
    before = grid_of(raw)
    for name in ("another", "int4"):
        changed = copy.deepcopy(raw)
        changed["quantizers"][name] = {"method": "rtn", "bits": 3 if name == "int4" else 4}
        changed["regimes"]["long"]["quantizer"] = name
        new = digests(grid_of(changed), "checkpoints") - digests(before, "checkpoints")
        assert len(new) == (name == "int4")
    whole, half = (grid_of(with_value(LONG, raw["regimes"]["long"] | {"quantize_from": share})) for share in (0.0, 0.5))
    assert digests(whole, "checkpoints") == digests(before, "checkpoints") != digests(half, "checkpoints")


@pytest.mark.parametrize(
    ("quantizer", "words"),
    [
        ("int5", "regimes.long.quantizer: 'int5' is not in quantizers; there are: none, int8, int4"),
        ("none", "regimes.long.quantizer: none; training takes a scheme with method: rtn and rest: null"),
    ],
)
def test_a_scheme_that_nothing_can_be_trained_with_is_refused(quantizer: str, words: str):
    with pytest.raises(UserError, match=re.escape(words)):
        grid_of(with_value(f"{LONG}/quantizer", quantizer))


def digests_of_none(grid: Grid) -> set[str]:
    """Digests of the variants that no quantiser touches."""
    sets = [spec for spec in grid.specs.values() if spec.stage == "variants"]
    return {m.id.rsplit("-", 1)[1] for spec in sets for m in spec.members if m.settings["method"] == "none"}


def test_a_scheme_that_writes_its_defaults_out_is_the_scheme_without_them():
    explicit = {"method": "rtn", "bits": 8, "format": "int", "symmetric": True, "group": "row", "rest": None}
    explicit |= {"scale_format": "fp32", "tensors": ["experts", "router", "embeddings", "head", "linear"]}
    every = {**explicit, "tensors": [*explicit["tensors"], "other"]}  # the default since schemes name all tensors
    assert moved(with_value("quantizers/int8", every)) == ""


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        ({"method": "rtn", "bits": 8, "group": 3}, "int8.group: 3 does not divide the widths of small, 8, 32;"),
        ({**GPTQ, "calibration": 7}, "int8.calibration: 7 biographies, but atomic has N: 6 people"),
    ],
)
def test_a_scheme_that_fits_no_model_or_dataset_is_refused_before_any_job(scheme: dict[str, Any], message: str):
    with pytest.raises(UserError, match=re.escape(f"quantizers.{message}")):
        grid_of(with_value("quantizers/int8", scheme))


def test_swapping_two_values_moves_the_checkpoint():
    a, b = (grid_of(with_value("models/small/architecture", name)) for name in ("gpt2-2-3", "gpt2-3-2"))
    assert digests(a, "checkpoints").isdisjoint(digests(b, "checkpoints"))
    assert names(a, "tokenizers") == names(b, "tokenizers")


# --- labels


def renamed(section: str, old: str, new: str) -> dict[str, Any]:
    """The tiny configuration with a name of a section changed wherever it stands."""
    raw = copy.deepcopy(RAW)
    raw[section] = {new if name == old else name: value for name, value in raw[section].items()}
    for study in raw["studies"].values():
        if section in study:
            study[section] = [new if name == old else name for name in study[section]]
    for key, plural in (("study", "studies"), ("scale", "scales")):
        if section == plural:
            raw[key] = [new if n == old else n for n in raw[key]] if key == "study" else raw[key].replace(old, new)
    return raw


@pytest.mark.parametrize(
    ("section", "old", "stages"),
    [
        ("studies", "base", "af"),
        ("datasets", "atomic", "af"),
        ("tokenizers", "bpe", "af"),
        ("models", "small", "af"),
        ("regimes", "long", "af"),
        ("quantizers", "int8", "af"),
        ("scales", "laptop", ""),
    ],
)
def test_a_name_moves_the_table_and_figures_at_most(section: str, old: str, stages: str):
    assert moved(renamed(section, old, "another")) == stages


def test_the_order_of_keys_and_sections_moves_nothing():
    def backwards(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: backwards(inner) for key, inner in reversed(value.items())}
        return value

    assert moved(backwards(RAW)) == ""


# --- a user's own model


def test_the_source_of_a_factory_and_what_it_imports_are_part_of_the_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(factories, "REPOSITORY", tmp_path)
    package = tmp_path / "nets"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "net.py").write_text("from nets.parts import WIDTH\nfrom . import more\ndef make(V, T): ...\n")
    (package / "parts.py").write_text("WIDTH = 1\n")
    (package / "more.py").write_text("")
    (package / "unrelated.py").write_text("")

    def ids() -> set[str]:
        raw = with_value("models/small", {"python": "nets.net:make"})
        return digests(grid_of({**raw, "study": ["base"]}), "checkpoints")

    before = ids()
    (package / "unrelated.py").write_text("x = 1\n")
    assert ids() == before
    for name in ("net.py", "parts.py", "more.py", "__init__.py"):
        path, text = package / name, (package / name).read_text()
        path.write_text(text + "y = 2\n")
        assert ids().isdisjoint(before), name
        path.write_text(text)
    assert ids() == before


# --- several learning rates


def test_a_list_of_rates_is_a_run_for_each_and_shares_the_run_of_a_single_rate():
    grid, single = grid_of(with_value(f"{LONG}/lr", [0.01, 0.02])), tiny_grid()
    assert names(grid, "checkpoints") > names(single, "checkpoints")
    rows = [row for row in grid.table.settings["rows"] if row["regime"] == "long" and row["scheme"] == "none"]
    assert [(row["lr"], row["setting"]) for row in rows] == [(0.01, ""), (0.02, "")]


# --- sharing


def runs_of_a_study(**study: Any) -> list[Run]:
    raw = with_value("studies/again", {**RAW["studies"]["base"], **study})
    return list(runs_of(check(Config, raw, "test"), "again"))


def test_what_a_study_varies_is_one_word_a_key() -> None:
    """Settings are parted by blanks, in tables and figures."""
    values = [[0.9, 0.98], [0.9, 0.95]]
    runs = runs_of_a_study(vary={"regime.betas": values, "dataset.names": [[5, 5, 5]]})
    assert {run.setting for run in runs} == {
        "regime.betas=[0.9,0.98] dataset.names=[5,5,5]",
        "regime.betas=[0.9,0.95] dataset.names=[5,5,5]",
    }


def test_a_run_that_two_grids_have_is_there_once() -> None:
    parts = [{"vary": {"dataset.N": [5, 6]}}, {"vary": {"dataset.N": [6, 7]}}]
    runs = runs_of_a_study(grids=parts)
    assert sorted({run.N for run in runs}) == [5, 6, 7]
    keys = [(*run.names.values(), run.N, run.seed) for run in runs]
    assert len(keys) == len(set(keys))


def with_study(**study: Any) -> Grid:
    """The tiny configuration and a third study that repeats the first, but for some keys."""
    raw = with_value("studies/again", {**RAW["studies"]["base"], **study})
    return grid_of({**raw, "study": ["base", "prose", "again"]})


def test_studies_that_share_a_run_share_its_orders_and_each_has_its_rows():
    grid, before = with_study(regimes=["short"]), tiny_grid()
    for stage in list(STAGES)[:6]:
        assert names(grid, stage) == names(before, stage)
    rows = [row for row in grid.table.settings["rows"] if row["study"] == "again"]
    same = [row for row in before.table.settings["rows"] if row["study"] == "base" and row["regime"] == "short"]
    assert [{**row, "study": "base"} for row in rows] == same


def test_studies_with_other_quantizers_share_checkpoints_and_variants_but_not_sets():
    grid, before = with_study(quantizers=["int8", "int4"]), tiny_grid()
    assert names(grid, "checkpoints") == names(before, "checkpoints")
    shared = {member.name for member in of_stage(before, "variants", "-e2-").members}
    sets = [spec for spec in grid.specs.values() if spec.stage == "variants" and "-e2-" in spec.id]
    members = [{member.name for member in spec.members} for spec in sets]
    assert len(sets) == 2
    assert shared in members
    assert len(members[0] & members[1]) == 1
    assert len(members[0] | members[1]) == 3


def test_a_swept_value_and_the_same_value_written_out_are_one_run():
    swept = with_study(regimes=["short"], vary={"regime.exposures": [2]})
    assert names(swept, "checkpoints") == names(tiny_grid(), "checkpoints")


def test_a_scheme_under_two_names_is_one_variant_with_two_rows():
    raw = with_value("quantizers/eight", {"method": "rtn", "bits": 8})
    raw["studies"]["base"]["quantizers"] = ["none", "int8", "eight"]
    grid = grid_of(raw)
    assert names(grid, "variants") == names(tiny_grid(), "variants")
    rows = [row for row in grid.table.settings["rows"] if row["regime"] == "long"]
    assert [row["scheme"] for row in rows] == ["none", "int8", "eight"]
    assert rows[1]["probe_id"] == rows[2]["probe_id"] != rows[0]["probe_id"]


def test_each_seed_draws_its_own_world_and_its_own_training():
    grid = grid_of(with_value("studies/base/seeds", [1, 2, 3]))
    for stage, count in (("datasets", 4), ("tokenizers", 4), ("checkpoints", 7)):
        assert len(names(grid, stage)) == count
    assert names(grid, "checkpoints") >= names(tiny_grid(), "checkpoints")
    for spec in grid.specs.values():
        if spec.stage in ("datasets", "checkpoints", "probes"):
            assert f"-s{spec.settings['seed']}-" in spec.id
    assert [row["seed"] for row in grid.table.settings["rows"] if row["scheme"] == "int8"] == [
        1,
        2,
        3,
        1,
        2,
        3,
        1,
    ]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("studies/base/seeds", [1, 2, 1]),
        ("studies/base/regimes", ["long", "long"]),
        ("studies/base/quantizers", ["none", "none"]),
        ("studies/base/vary", {"dataset.N": [5, 6, 5]}),
        ("study", ["base", "base"]),
    ],
)
def test_a_value_that_stands_twice_is_refused_because_it_would_count_twice(path: str, value: Any):
    with pytest.raises(UserError, match=rf"{path.replace('/', '.')}.* stands twice"):
        grid_of(with_value(path, value))


# --- the grid


def test_swept_keys_are_crossed_and_seeds_come_innermost():
    raw = with_value("studies/base/vary", {"dataset.N": [5, 6], "regime.lr": [0.01, 0.02]})
    raw["studies"]["base"] |= {"seeds": [1, 2], "quantizers": ["none"], "regimes": ["long"]}
    rows = [row for row in grid_of(raw).table.settings["rows"] if row["study"] == "base"]
    expected = list(itertools.product([5, 6], [0.01, 0.02], [1, 2]))
    assert [(row["N"], row["lr"], row["seed"]) for row in rows] == expected
    assert rows[0]["setting"] == "dataset.N=5 regime.lr=0.01"


def test_a_swept_value_that_is_impossible_is_named_with_its_study():
    with pytest.raises(UserError, match=r"vary.regime.momentum: two values are both written None; leave one out"):
        grid_of(with_value("studies/base/vary", {"regime.momentum": [None, "None"]}))
    with pytest.raises(UserError, match=r"studies\.base\.vary: .*greater than 0"):
        grid_of(with_value("studies/base/vary", {"dataset.N": [0]}))


def test_parents_come_before_children_and_every_parent_is_an_order_or_a_member():
    seen: set[str] = set()
    for spec in with_study(quantizers=["int4"]).specs.values():
        for member in spec.members:
            assert set(member.parent_names()) <= seen
            seen.add(member.name)
        assert set(spec.parent_names()) <= seen
        seen.add(spec.name)
    assert spec.stage == "figures"


def test_every_row_of_the_table_names_the_artefacts_it_comes_from():
    grid = tiny_grid()
    probes_of_table = grid.table.parents["probes"]
    assert probes_of_table == sorted({row["probe_set"] for row in grid.table.settings["rows"]})
    for row in grid.table.settings["rows"]:
        probes = grid.specs[row["probe_set"]]
        assert row["probe_set"] in grid.table.parents["probes"]
        score = next(member for member in probes.members if member.id == row["probe_id"])
        assert score.parents["variant"] == f"variants/{row['variant_id']}"
        variants = grid.specs[str(probes.parents["variants"])]
        variant = next(member for member in variants.members if member.id == row["variant_id"])
        scheme = {**variant.settings, **variant.settings.get("numbers", {})}
        assert RAW["quantizers"][row["scheme"]].items() <= scheme.items()
        assert variant.parents == {"checkpoint": f"checkpoints/{row['checkpoint_id']}"}
        checkpoint = grid.specs[f"checkpoints/{row['checkpoint_id']}"]
        assert checkpoint.parents["dataset"] == f"datasets/{row['dataset_id']}" == probes.parents["dataset"]
        assert checkpoint.parents["tokenizer"] == f"tokenizers/{row['tokenizer_id']}" == probes.parents["tokenizer"]
        assert (row["l"], row["h"], row["d"]) == (1, 2, 8)


def test_ids_are_readable_and_fit_the_engine_s_wildcards():
    for name in {name for stage in STAGES for name in names(tiny_grid(), stage)}:
        assert re.fullmatch(r"[a-z]+/[\w-]+", name)
    checkpoint = of_stage(tiny_grid(), "checkpoints", "-e2-")
    assert checkpoint.id.startswith("gpt2-1-2-bioD-N6-e2-s1-")


def _plain(value: Any) -> bool:
    return json.loads(json.dumps(value)) == value


def test_specs_are_plain_data():
    specs = [*tiny_grid().specs.values()]
    assert all(_plain([spec.settings, spec.parents, spec.packages]) for spec in specs)


def test_ids_do_not_depend_on_the_process_and_resolving_imports_nothing_heavy():
    """A second process with another hash seed. The engine resolves in each start; it brings numpy and pyarrow."""
    program = (
        "import sys; from pathlib import Path\n"
        "from capacity.config.load import load_config\nfrom capacity.plan.grid import resolve\n"
        "from capacity.plan.prepare import prepare_run\n"
        f"print(*resolve(load_config([Path({str(TINY)!r})])).specs)\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS), "PYTHONHASHSEED": "12345"}
    answer = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    ids, modules = (line.split() for line in answer.stdout.splitlines())
    assert ids == list(tiny_grid().specs)
    assert not {"torch", "transformers", "pandas", "scipy", "matplotlib"} & set(modules)


# --- hardware


def test_a_warm_up_longer_than_the_training_is_refused_before_any_job():
    with pytest.raises(
        UserError, match=r"regimes\.long\.warmup_steps: 99, but trainings on atomic have 3 steps; lower"
    ):
        grid_of(with_value("regimes/long/warmup_steps", 99))


def test_a_batch_that_does_not_share_out_over_the_devices_is_refused():
    with pytest.raises(UserError, match=r"regimes\.long\.batch: 4 does not share out over devices: 3; use a multiple"):
        grid_of(with_value("scales/laptop/devices", 3))


def test_experts_on_several_devices_are_refused():
    raw = with_value("scales/laptop/devices", 2)
    raw["models"]["small"]["experts"] = {"count": 4}
    with pytest.raises(UserError, match=r"scales\.laptop\.devices: 2, but models\.small has experts"):
        grid_of(raw)


def test_what_moves_rounding_alone_is_left_to_the_machine_that_trains(monkeypatch: pytest.MonkeyPatch):
    """A plan made without a compiler names the folders that one made with it names."""
    raw = with_value("scales/laptop/compile", "auto")
    monkeypatch.setenv("PATH", "/nowhere")
    without = grid_of(raw)
    monkeypatch.undo()
    assert grid_of(raw).specs.keys() == without.specs.keys()
    asked = {spec.settings["hardware"]["compile"] for spec in without.specs.values() if spec.stage == "checkpoints"}
    assert asked == {"auto"}


@pytest.mark.parametrize("asked", [True, False])
def test_compiling_that_was_asked_for_or_refused_is_left_so(asked: bool):
    grid = grid_of(with_value("scales/laptop/compile", asked))
    hardware = [spec.settings["hardware"] for spec in grid.specs.values() if spec.stage == "checkpoints"]
    assert {settings["compile"] for settings in hardware} == {asked}


def test_the_spec_of_a_training_says_all_of_its_hardware():
    for spec in tiny_grid().specs.values():
        if spec.stage == "checkpoints":
            plain = {"accelerator": "cpu", "precision": "fp32", "devices": 1, "attention": "auto", "loss": "auto"}
            assert spec.settings["hardware"] == plain | {"compile": False}


def test_cuda_graphs_are_asked_for_on_a_gpu_alone():
    raw = with_value("scales/laptop/compile", "reduce-overhead")
    with pytest.raises(UserError, match=r"scales\.laptop\.compile: reduce-overhead, but a cpu has no CUDA graphs"):
        grid_of(raw)
    raw["scales"]["laptop"]["accelerator"] = "gpu"
    hardware = [spec.settings["hardware"] for spec in grid_of(raw).specs.values() if spec.stage == "checkpoints"]
    assert {settings["compile"] for settings in hardware} == {"reduce-overhead"}


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("scales/laptop/attention", "fused", "scales.laptop.attention: fused, but models.small is not of the paper"),
        ("scales/laptop/attention", "short", "scales.laptop.attention: short, but models.small is not of the paper"),
        ("scales/laptop/loss", "chunked", "scales.laptop.loss: chunked, but models.small is not of the paper"),
        ("regimes/cut/document_mask", True, "regimes.cut.document_mask: true, but models.small is not of the paper"),
    ],
)
def test_what_only_models_of_the_paper_can_do_is_refused_with_others(path: str, value: Any, words: str):
    raw = with_value(path, value)
    raw["models"]["small"] = {"hf": {"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 2}}
    with pytest.raises(UserError, match=re.escape(words)):
        grid_of(raw)


# --- files of the repository


def dataset_of(raw: dict[str, Any]) -> Spec:
    return next(iter(grid_of(raw).specs.values()))


WORLDS = {
    "bioD, atomic": ("atomic", RAW["datasets"]["atomic"]),
    "bioD, sentences": ("atomic", {**RAW["datasets"]["atomic"], "wording": "sentence"}),
    "bioS": ("atomic", RAW["datasets"]["people"]),
}


@pytest.mark.parametrize(("name", "dataset"), WORLDS.values(), ids=WORLDS.keys())
def test_every_file_that_a_world_is_made_from_is_in_its_spec_by_content(name: str, dataset: dict[str, Any]):
    spec = dataset_of({**with_value(f"datasets/{name}", dataset), "study": ["base"]})
    opened: set[str] = set()
    recording = True

    def record(event: str, args: tuple[Any, ...]) -> None:
        if recording and event == "open" and isinstance(args[0], str) and args[0].startswith(str(SCRIPTS)):
            opened.add(Path(args[0]).relative_to(SCRIPTS.parent).as_posix())

    sys.addaudithook(record)
    make_world(read_world(spec.settings))
    recording = False
    read = {file for file in opened if file.endswith(".txt")}
    assert read == {file for file in opened if not file.endswith((".py", ".pyc"))}
    assert read <= spec.settings["files"].keys()
    assert bool(read) == bool(spec.settings["files"])


@pytest.mark.parametrize(
    ("file", "worlds"),
    [
        ("majors.txt", {"bioS"}),
        ("templates/birth_city.txt", {"bioS"}),
        ("last_names.txt", {"bioS", "bioD, sentences"}),
    ],
)
def test_a_value_list_that_is_edited_moves_the_worlds_that_can_use_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, worlds: set[str]
):
    shutil.copytree(world_specs.POOLS, tmp_path / "pools")
    monkeypatch.setattr(world_specs, "POOLS", tmp_path / "pools")
    monkeypatch.setattr(world_specs, "REPOSITORY", tmp_path)

    def ids() -> dict[str, str]:
        world_specs._pool_digests.cache_clear()
        raws = {world: {**with_value(f"datasets/{name}", d), "study": ["base"]} for world, (name, d) in WORLDS.items()}
        return {world: dataset_of(raw).id for world, raw in raws.items()}

    before = ids()
    (tmp_path / "pools" / file).write_text("Alchemy\n" + (tmp_path / "pools" / file).read_text())
    after = ids()
    world_specs._pool_digests.cache_clear()
    assert {world for world in before if before[world] != after[world]} == worlds


def with_figure(figure: dict[str, Any]) -> Config:
    """The tiny configuration, whose study base says what its figure shows."""
    raw = read_yaml(TINY)
    raw["studies"]["base"]["figure"] = figure
    return check(Config, raw, "planted")


@pytest.mark.parametrize("key", ["x", "line", "panel"])
def test_a_figure_shows_only_what_is_varied(key: str):
    with pytest.raises(UserError, match=rf"figure\.{key}: dataset\.K is not varied; name one of dataset\.N"):
        with_figure({"x": "model", key: "dataset.K"})


def test_a_figure_shows_of_grids_only_what_they_vary_themselves():
    raw = read_yaml(TINY)
    raw["studies"]["base"] |= {"vary": {"dataset.K": [2, 4]}, "grids": [{"vary": {"dataset.N": [6, 8]}}]}
    for key in ("dataset.N", "dataset.K"):
        raw["studies"]["base"]["figure"] = {"x": key}
        if key == "dataset.N":
            assert check(Config, raw, "planted").studies["base"].varied() == {"dataset.N"}
        else:
            with pytest.raises(UserError, match=r"figure\.x: dataset\.K is not varied; name one of dataset\.N"):
                check(Config, raw, "planted")
