"""Small trainings share a GPU as far as its memory goes; none shares where nothing is known, or on several GPUs."""

from typing import Any

import pytest
from checkout import ROOT, TINY

from capacity.artefacts.spec import make_spec
from capacity.config.experiment import Config
from capacity.config.load import check, merge
from capacity.config.yaml_files import read_yaml
from capacity.errors import UserError
from capacity.jobs.gpus import Gpu
from capacity.plan.gpu_sharing import MOST, training_gpu_mb, trainings_a_gpu
from capacity.plan.grid import Grid, resolve
from capacity.plan.requests import made_from
from capacity.training.spec import TrainingSettings

CARD = Gpu("GPU-a", "NVIDIA L4", 20_000)


def workstation(**changes: Any) -> Grid:
    """The workstation's base law."""
    config = merge(read_yaml(ROOT / "config.yaml"), read_yaml(ROOT / "scales" / "workstation.yaml"))
    return resolve(check(Config, merge(config, changes), "here"))


def share(grid: Grid, asked: Any, *gpus: Gpu) -> int:
    """How many of a grid's trainings share one of these GPUs."""
    trainings = [spec for spec in grid.specs.values() if spec.stage == "checkpoints"]
    specs = {spec.id: spec for spec in grid.specs.values()}
    return trainings_a_gpu(asked, list(gpus), trainings, specs.__getitem__)


def test_as_many_share_a_gpu_as_are_asked_for_or_fit_the_smallest():
    grid = workstation()
    assert share(grid, 3, CARD) == 3
    trainings = [spec for spec in grid.specs.values() if spec.stage == "checkpoints"]
    specs = {spec.id: spec for spec in grid.specs.values()}
    needs = [
        training_gpu_mb(*made_from(spec, specs.__getitem__), TrainingSettings.read(spec.settings)) for spec in trainings
    ]
    fitting = int(0.9 * 20_000 / max(needs))
    assert 1 < fitting < MOST
    assert share(grid, "auto", CARD) == share(grid, "auto", Gpu("GPU-b", memory_mb=10**6), CARD) == fitting
    assert share(grid, "auto", Gpu("GPU-b", memory_mb=10**6)) == MOST
    assert share(grid, "auto", Gpu("0")) == share(grid, "auto", Gpu("0", memory_mb=2_000)) == 1


def test_a_model_that_rewrites_is_what_must_fit_too():
    grid = workstation()
    rewriter = {"kind": "model", "model": "no/such", "revision": None, "batch": 16, "top_p": 0.95, "words": 60}
    rewriter |= {"max_tokens": 200, "temperature": 0.8, "accelerator": "gpu", "precision": "bf16"}
    settings = {"kind": "bioR", "N": 9, "seed": 1, "rewritings": 4, "flawed": "keep", "tries": 8, "files": {}}
    large = make_spec("rewritings", "bioR", settings | {"rewriter": rewriter}, {})
    trainings = [spec for spec in grid.specs.values() if spec.stage == "checkpoints"]
    specs = {spec.id: spec for spec in grid.specs.values()}
    assert trainings_a_gpu("auto", [CARD], trainings, specs.__getitem__) > 1
    assert trainings_a_gpu("auto", [CARD], trainings, specs.__getitem__, [large]) == 1


def test_a_training_on_several_gpus_shares_none():
    config = read_yaml(TINY)
    config["scales"]["laptop"] |= {"devices": 2}
    resolve(check(Config, config, "here"))
    with pytest.raises(UserError, match=r"gpu_share: 2 with scales.laptop.devices: 2; .* remove gpu_share"):
        resolve(check(Config, config | {"gpu_share": 2}, "here"))


def test_logits_in_chunks_take_the_memory_of_one_chunk():
    whole, chunked = (workstation(scales={"workstation": {"loss": loss}}) for loss in ("whole", "auto"))
    sizes = []
    for grid in (whole, chunked):
        specs = {spec.id: spec for spec in grid.specs.values()}
        spec = next(spec for spec in specs.values() if spec.stage == "checkpoints" and "bioS-N50000-e1000" in spec.id)
        sizes.append(training_gpu_mb(*made_from(spec, specs.__getitem__), TrainingSettings.read(spec.settings)))
    assert sizes[0] - sizes[1] == pytest.approx(14 * (96 * 512 * 3275 - 2**24) / 1e6, abs=1)
