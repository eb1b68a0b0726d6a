"""Making again: what is chosen, what is compared with what, and how far apart two executions are."""

import dataclasses
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from checkout import Checkout
from edits import RUNS
from planted import TINY, build, tiny, tiny_grid
from safetensors.torch import load_file, save_file
from test_audit import COUNT, audit_of, checkout, findings, seal  # noqa: F401 - a fixture
from test_forecast import CLAIMS

from capacity.artefacts.manifest import MANIFEST
from capacity.audit.cells import cell_deviations
from capacity.audit.currency import Currency, standings
from capacity.audit.differences import COST, compare_artefacts, file_deviation, metric_deviation
from capacity.audit.execution import Choice, Counterparts, choose, cost, judge, units
from capacity.audit.findings import Level, Severity
from capacity.audit.folder import Artefact, Folder, Output, parse_manifest, read_folder
from capacity.audit.numbers import text_deviation
from capacity.audit.run import published_places
from capacity.config.load import load_config
from capacity.errors import UserError

LONG, SHORT = RUNS["long"][2], RUNS["short"][2]


@pytest.fixture(scope="module")
def folder(built: Checkout) -> Folder:
    return read_folder(built.path / "results", published_places(tiny_grid()))


# --- what is chosen


def test_a_run_is_drawn_with_all_that_it_follows_from_and_the_same_seed_draws_the_same(folder: Folder):
    assert len(units(folder)) == 3
    assert choose(folder, Choice("2", 7)) == choose(folder, Choice("2", 7))
    assert sorted(choose(folder, Choice("all"))) == sorted(units(folder))
    assert len({tuple(choose(folder, Choice("1", seed))) for seed in range(30)}) == 3


def test_a_table_is_no_run_where_claims_were_judged_by_it(tmp_path: Path):
    claims = tmp_path / "claims.yaml"
    claims.write_text(CLAIMS)
    grid = tiny(claims=str(claims))
    build(grid, tmp_path / "results")
    found = units(read_folder(tmp_path / "results", published_places(grid)))
    assert {name.partition("/")[0] for name in found} == {"probes"}


def test_the_dearest_run_is_drawn_most_often_in_proportion_to_its_cost(folder: Folder):
    dear, *cheap = units(folder)
    artefacts = {
        name: dataclasses.replace(
            a, manifest=a.manifest.model_copy(update={"cpu_seconds": 8.0 if name == dear else 0.0})
        )
        for name, a in folder.artefacts.items()
    }
    for name in cheap:
        old = artefacts[name]
        artefacts[name] = dataclasses.replace(old, manifest=old.manifest.model_copy(update={"cpu_seconds": 1.0}))
    weighted = Folder(folder.results, artefacts, {}, folder.published)
    draws = [choose(weighted, Choice("1", seed))[0] for seed in range(400)]
    assert 0.74 < draws.count(dear) / 400 < 0.86  # 0.8 expected, three standard deviations


def test_a_share_of_the_cost_is_reached_and_not_overshot_by_a_whole_run(folder: Folder):
    total = cost(folder, folder.lineage(folder.roots()))
    for share in ("10%", "60%", "95%"):
        chosen = choose(folder, Choice(share, 3))
        assert cost(folder, folder.lineage(chosen)) >= float(share[:-1]) / 100 * total or len(chosen) == 3
        assert cost(folder, folder.lineage(chosen[:-1])) < float(share[:-1]) / 100 * total


def test_the_cost_of_a_set_is_not_counted_again_for_its_members(folder: Folder):
    name = next(
        name for name in folder.artefacts if name.startswith("probes/") and folder.artefacts[name].manifest.members
    )
    members = folder.artefacts[name].manifest.members
    assert cost(folder, [name, *members]) == cost(folder, [name])


@pytest.mark.parametrize(
    ("target", "stage", "count"),
    [
        ("capacity_table.csv", "tables", 1),
        ("results/capacity_table.csv", "tables", 1),
        ("checkpoints", "checkpoints", 3),
        ("figures/capacity.png", "figures", 1),
    ],
)
def test_a_target_is_a_fixed_path_or_a_stage(folder: Folder, target: str, stage: str, count: int):
    chosen = choose(folder, Choice(target=target))
    assert [name.partition("/")[0] for name in chosen] == [stage] * count


def test_a_target_is_an_artefact_by_path_or_id(folder: Folder):
    name = next(name for name in folder.artefacts if name.startswith("checkpoints/"))
    for target in (name, name.partition("/")[2], f"results/{name}/", f"results/{name}/{MANIFEST}"):
        assert choose(folder, Choice(target=target)) == [name]


@pytest.mark.parametrize("sample", ["x", "0", "-1", "%", "0%", "101%", "1.5", "all ", "", "1%%"])
def test_another_sample_is_refused(sample: str):
    with pytest.raises(UserError, match="--sample: "):
        Choice(sample)


def test_a_target_that_is_not_there_is_one_line(folder: Folder):
    with pytest.raises(UserError, match="--target "):
        choose(folder, Choice(target="nothing"))


# --- what is compared with what


def test_artefacts_of_other_code_meet_the_orders_that_mean_the_same_and_no_other(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
):
    from capacity.artefacts import spec as specs

    monkeypatch.setattr(specs, "code_digest", lambda *_, **__: "0" * 64)
    grid = tiny()
    pairs = Counterparts(folder, grid)
    assert grid.specs.keys().isdisjoint(folder.artefacts)
    met = {name: pairs.spec(name) for name in folder.artefacts}
    assert all(spec is not None for spec in met.values())
    assert all(
        spec.settings.keys() == folder.artefacts[name].manifest.settings.keys() for name, spec in met.items() if spec
    )
    assert len({spec.name for spec in met.values() if spec}) == len(folder.artefacts)


def test_an_edited_specification_has_no_counterpart_and_neither_has_what_follows(folder: Folder):
    pairs = Counterparts(folder, tiny(regimes={"long": {"lr": 5e-3}}))
    met = {name for name in folder.artefacts if pairs.spec(name)}
    lost = {name.partition("/")[0] for name in folder.artefacts.keys() - met}
    assert lost == {"checkpoints", "variants", "probes", "tables", "figures"}
    assert sum(name.startswith("checkpoints/") for name in met) == 2


def test_a_chain_of_thousands_of_artefacts_is_followed_to_its_end(folder: Folder):
    """Each the parent of the next, in the order that nests deepest; the last one is its own parent."""
    model = folder.artefacts[next(name for name in folder.artefacts if name.startswith("datasets/"))]
    names = [f"datasets/x-{number:012x}" for number in range(3000)]
    artefacts = {
        name: dataclasses.replace(
            model, name=name, manifest=model.manifest.model_copy(update={"name": name, "parents": {"dataset": parent}})
        )
        for name, parent in zip(names, [*names[1:], names[-1]], strict=True)
    }
    # The first one has the last one beside: all are met before their parents are.
    first = artefacts[names[0]].manifest.model_copy(update={"parents": {"dataset": [names[1], names[-1]]}})
    artefacts[names[0]] = dataclasses.replace(artefacts[names[0]], manifest=first)
    chain = Folder(folder.results, artefacts)
    assert {standing.currency for standing in standings(chain).values()} == {Currency.UNKNOWN}
    pairs = Counterparts(chain, tiny_grid())
    assert len({pairs.meaning(name) for name in names}) == len(names)


# --- how far apart


def written(path: Path, tensors: dict[str, Any]) -> Path:
    save_file(tensors, path)
    return path


@pytest.mark.parametrize(
    ("other", "deviation"),
    [
        ({"w": torch.tensor([1.0, -4.0])}, 0.0),
        ({"w": torch.tensor([1.0, -3.0])}, 0.25),
        ({"w": torch.tensor([[1.0, -4.0]])}, math.inf),
        ({"v": torch.tensor([1.0, -4.0])}, math.inf),
        ({"w": torch.tensor([1.0, math.nan])}, math.inf),
    ],
)
def test_tensors_deviate_relative_to_their_largest_element(tmp_path: Path, other: dict[str, Any], deviation: float):
    mine = written(tmp_path / "a.safetensors", {"w": torch.tensor([1.0, -4.0])})
    assert file_deviation(mine, written(tmp_path / "b.safetensors", other)) == deviation


def test_a_file_that_is_no_tensors_is_not_comparable_and_not_loaded(tmp_path: Path):
    mine = written(tmp_path / "a.safetensors", {"w": torch.ones(2)})
    (tmp_path / "b.safetensors").write_bytes(b"\x80\x04cos\nsystem\n")
    assert file_deviation(mine, tmp_path / "b.safetensors") == math.inf


def test_columns_deviate_like_tensors(tmp_path: Path):
    for name, value in (("a", 2.0), ("b", 1.5)):
        table = pa.table({"item": ["name", "city"], "nats": [value, math.nan]})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    assert file_deviation(tmp_path / "a.parquet", tmp_path / "b.parquet") == 0.25


def test_a_truncated_table_of_scores_is_not_comparable_and_no_error(folder: Folder, tmp_path: Path):
    name = next(name for name, artefact in folder.artefacts.items() if "scores.parquet" in artefact.manifest.outputs)
    whole = folder.artefacts[name]
    scores = shutil.copytree(whole.folder, tmp_path / "damaged") / "scores.parquet"
    scores.write_bytes(scores.read_bytes()[:-9])
    manifest = whole.manifest.model_copy(
        update={
            "content": "0" * 64,
            "outputs": {**whole.manifest.outputs, "scores.parquet": Output(bytes=1, sha256="0" * 64)},
        }
    )
    damaged = dataclasses.replace(whole, folder=tmp_path / "damaged", manifest=manifest)
    for pair in ((damaged, whole), (whole, damaged)):
        it = compare_artefacts(*pair)
        assert (it.equal, it.files, it.metrics, it.where) == (False, math.inf, math.inf, "scores.parquet")


ROW = {"scheme": "none", "checkpoint_id": "a-1", "P": "1000", "chosen": "True", "R": "0.29", "bits_stored": "290"}


@pytest.mark.parametrize(
    ("column", "other", "far"),
    [
        ("R", "0.25", 0.04),
        ("bits_stored", "250", 0.04),
        ("R", "nan", math.inf),
        ("chosen", "False", math.inf),
        ("scheme", "int4", math.inf),
        ("P", "1001", math.inf),
        ("R", "none", math.inf),
    ],
)
def test_cells_are_compared_one_by_one_by_what_their_column_is(column: str, other: str, far: float):
    assert cell_deviations([ROW], [{**ROW, column: other}]) == {column: pytest.approx(far)}


def test_a_table_of_other_code_is_compared_without_the_names_of_artefacts():
    renamed = {**ROW, "checkpoint_id": "a-2"}
    assert cell_deviations([ROW], [renamed]) == {"checkpoint_id": math.inf}
    assert cell_deviations([ROW], [renamed], ids=False) == {}


def test_rows_and_columns_that_are_not_there_are_far():
    assert cell_deviations([ROW], [ROW, ROW]) == {"number of rows": math.inf}
    assert cell_deviations([ROW], [{name: cell for name, cell in ROW.items() if name != "R"}]) == {"R": math.inf}


@pytest.mark.parametrize(
    ("a", "b", "deviation"),
    [
        ("R,1.5\n", "R,1.5\n", 0.0),
        ("R,100.0\n", "R,99.0\n", 0.01),
        ('{"loss": 0.5}', '{"loss": 0.25}', 0.25),
        ("a,1\n", "b,1\n", math.inf),
        ("1,2\n", "1\n", math.inf),
        ("x NaN", "x 1", math.inf),
    ],
)
def test_texts_deviate_in_their_numbers_alone(a: str, b: str, deviation: float):
    assert text_deviation(a, b) == deviation


def test_metrics_that_honest_executions_differ_in_are_left_out():
    a = {"final_loss": 1.0, "seconds": {"steps": 3}, "device": "A", "tokens_per_second": 9, "num_sessions": 1}
    b = {"final_loss": 0.5, "seconds": {"steps": 9}, "device": "B", "tokens_per_second": 1, "num_sessions": 2}
    assert metric_deviation(a, b) == (0.5, "final_loss")
    assert metric_deviation(a, {}) == (math.inf, "final_loss")
    assert not any(COST.search(name) for name in ("final_loss", "parameters", "flops", "tokens", "people"))


def test_a_file_that_was_left_out_leaves_the_metrics_to_compare(folder: Folder, tmp_path: Path):
    """As in a release: the digests differ, and the audited weights are not there."""
    artefact = folder.artefacts[next(name for name in folder.artefacts if name.startswith("checkpoints/"))]
    raw = json.loads(json.dumps(artefact.raw))
    for name in raw["outputs"]:
        raw["outputs"][name]["sha256"] = "0" * 64
    raw |= {"content": "0" * 64, "metrics": {**raw["metrics"], "final_loss": raw["metrics"]["final_loss"] * 1.01}}
    elsewhere = Artefact(artefact.name, tmp_path, parse_manifest(raw), raw)
    it = compare_artefacts(elsewhere, artefact)
    assert (it.equal, it.files) == (False, None)
    assert it.metrics == pytest.approx(0.01, rel=0.02)


def elsewhere(artefact: Artefact, folder: Path, **changes: Any) -> Artefact:
    """The artefact with other bits, its files in another folder, or left out."""
    raw = json.loads(json.dumps(artefact.raw))
    for output in raw["outputs"].values():
        output["sha256"] = "0" * 64
    raw |= {"content": "0" * 64, **changes}
    return Artefact(artefact.name, folder, parse_manifest(raw), raw)


def severities(audited: Artefact, again: Artefact, stale: bool, bits: bool) -> list[Severity]:
    level = Level(4)
    reasons = [] if bits else ["made on another"]
    judge(audited.name, compare_artefacts(audited, again), stale, reasons, load_config([TINY]).audit, level)
    return [finding.severity for finding in level.findings]


def first(folder: Folder, stage: str, is_set: bool = False) -> Artefact:
    return next(a for a in folder.artefacts.values() if a.stage == stage and bool(a.manifest.members) == is_set)


@pytest.mark.parametrize("stage", ["variants", "probes"])
def test_a_set_is_as_near_as_its_members(folder: Folder, tmp_path: Path, stage: str):
    made = first(folder, stage, is_set=True)
    other = elsewhere(made, tmp_path)
    assert severities(other, made, stale=False, bits=False) == [Severity.NOTE]
    assert severities(other, made, stale=True, bits=True) == [Severity.NOTE]
    assert severities(other, made, stale=False, bits=True) == [Severity.FAULT]
    fewer = elsewhere(made, tmp_path, members=made.manifest.members[1:])
    assert severities(fewer, made, stale=False, bits=False) == [Severity.FAULT]


def test_scores_that_were_left_out_and_have_no_metrics_leave_nothing_to_compare(folder: Folder, tmp_path: Path):
    made = first(folder, "probes")
    other = elsewhere(made, tmp_path)
    assert severities(other, made, stale=False, bits=False) == [Severity.NOTE]
    assert severities(other, made, stale=True, bits=True) == [Severity.NOTE]
    assert severities(other, made, stale=False, bits=True) == [Severity.FAULT]


def changed_table(folder: Folder, target: Path, change: Callable[[pd.DataFrame], Any]) -> tuple[Artefact, Artefact]:
    """The table with other cells, and as it is."""
    made = first(folder, "tables")
    shutil.copytree(made.folder, target)
    table = pd.read_csv(target / "capacity_table.csv", dtype=str, keep_default_na=False)
    change(table)
    table.to_csv(target / "capacity_table.csv", index=False)
    return elsewhere(made, target), made


@pytest.mark.parametrize(("far", "severity"), [(0.05, Severity.NOTE), (0.2, Severity.FAULT)])
def test_a_table_is_as_near_as_its_farthest_cell(folder: Folder, tmp_path: Path, far: float, severity: Severity):
    def change(table: pd.DataFrame) -> None:
        table.loc[1, "R"] = f"{float(table.loc[1, 'R']) + far:.6g}"

    assert severities(*changed_table(folder, tmp_path / "other", change), stale=False, bits=False) == [severity]


def exchange_rows(table: pd.DataFrame) -> None:
    """Give the numbers of two variants to each other, and leave their labels."""
    measured = ["R", "R_low", "R_high", "bits_stored", "R_calibrated"]
    table.loc[[0, 1], measured] = table.loc[[1, 0], measured].to_numpy()
    table.loc[[0, 1], "R"] = ["0.11", "0.29"]


def invert_choices(table: pd.DataFrame) -> None:
    """Say of every rate that the other one is the best."""
    table["chosen"] = ["False" if cell == "True" else "True" for cell in table["chosen"]]


@pytest.mark.parametrize("change", [exchange_rows, invert_choices])
def test_a_table_whose_columns_keep_their_means_is_no_nearer_for_that(
    folder: Folder, tmp_path: Path, change: Callable[[pd.DataFrame], None]
):
    """Every manifest says that another processor made it, so bits need not be equal."""
    assert severities(*changed_table(folder, tmp_path / "other", change), stale=False, bits=False) == [Severity.FAULT]


# --- and the engine itself


def test_weights_that_training_does_not_give_are_found_by_making_them_again(
    checkout: Checkout,  # noqa: F811
):
    """A checkpoint as a forged saved training would leave it: every digest fits, only the training does not."""
    weights = checkout.artefact("checkpoints", LONG) / "model.safetensors"
    state = load_file(weights)
    name = max(state, key=lambda each: state[each].numel())
    state[name][0] += 1.0
    save_file(state, weights, metadata={"format": "pt"})
    seal(weights.parent)
    target = f"checkpoints/{weights.parent.name}"
    report = audit_of(checkout, load_config([TINY]), tiny_grid(), (4,), Choice(target=target))
    found = findings(report)
    assert [(finding.severity, finding.kind, finding.where) for finding in found] == [
        (Severity.FAULT, "other bits", target)
    ]
    assert "model.safetensors" in found[0].what
    facts = report.levels[0].facts
    assert facts["made again"] == {"equal bits": 2, "within tolerance": 0, "different": 1}
    assert facts["coverage of the lineage, artefacts"] == f"3 of {COUNT}"
    assert np.isfinite(facts["CPU seconds spent"])
