"""Promises of a training: repeatable bytes, a folder that others load, a model that learns, refusals."""

import csv
import itertools
import json
import math
from pathlib import Path

import pytest
import torch
from quantizers import scheme_of
from torch.nn import functional
from torch.nn.utils import parameters_to_vector
from trainings import NUM_STEPS, SPEC, batches_of, checkpoint_bytes, spec_of, train, training_of
from transformers import AutoModelForCausalLM, AutoTokenizer

from capacity.errors import UserError
from capacity.models.architectures import paper_model
from capacity.models.build import load_model
from capacity.quantization.quantize import quantize_model
from capacity.training import cost
from capacity.training.batches import IGNORED
from capacity.training.cost import flops_a_token
from capacity.training.model_card import training_flops
from capacity.world.sampling import probe_draws


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny training, done once; its checkpoint is in checkpoint/, its metrics in metrics.json."""
    root = tmp_path_factory.mktemp("trained")
    (root / "metrics.json").write_text(json.dumps(train(root, SPEC)))
    return root


def test_equal_specs_give_equal_bytes(trained: Path, tmp_path: Path) -> None:
    train(tmp_path, SPEC)
    assert checkpoint_bytes(tmp_path) == checkpoint_bytes(trained)


def test_the_checkpoint_of_schedule_free_is_the_mean_and_not_where_gradients_were_taken(tmp_path: Path) -> None:
    settings = spec_of(optimizer="schedule-free", final_lr_fraction=1.0)
    train(tmp_path, settings)
    training = training_of(settings)
    for _ in training.steps():
        pass
    saved = parameters_to_vector(load_model(tmp_path / "checkpoint", "cpu").parameters())
    expected = parameters_to_vector(training.objective.finish(training.weights).parameters())
    assert torch.equal(saved, expected)
    assert not torch.equal(training.weights, training.vector)


def test_another_seed_gives_other_weights(trained: Path, tmp_path: Path) -> None:
    train(tmp_path, spec_of(seed=2))
    weights = "model.safetensors"
    assert checkpoint_bytes(tmp_path)[weights] != checkpoint_bytes(trained)[weights]


def test_slurms_variables_change_nothing(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "work", "SLURM_PROCID": "3"}
    for name, value in (variables | {"SLURM_LOCALID": "3", "SLURM_NODELIST": "n[1-4]"}).items():
        monkeypatch.setenv(name, value)
    train(tmp_path, SPEC)
    assert checkpoint_bytes(tmp_path) == checkpoint_bytes(trained)


def test_the_folder_loads_in_transformers_with_the_trained_models_logits(trained: Path) -> None:
    training = training_of(SPEC)
    assert list(training.steps()) == list(range(1, NUM_STEPS + 1))
    renderer = batches_of(SPEC).renderer
    text = renderer.texts(probe_draws(renderer.world, 1, 0, 0, 1))[0]
    tokenizer = AutoTokenizer.from_pretrained(trained / "checkpoint")
    model = AutoModelForCausalLM.from_pretrained(trained / "checkpoint")
    inputs = tokenizer(text, return_tensors="pt")["input_ids"]
    expected = training.objective.finish(training.vector)(inputs).logits
    assert torch.equal(load_model(trained / "checkpoint")(inputs).logits, expected)
    torch.testing.assert_close(model(inputs).logits, expected, rtol=0, atol=1e-5)  # another attention kernel
    assert tokenizer.decode(inputs[0]) == text


def test_everyone_may_read_the_files(trained: Path) -> None:
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (trained / "checkpoint").iterdir()}
    assert set(modes.values()) == {"0o644"}
    assert {"model.safetensors", "config.json", "tokenizer.json", "README.md", "training.json"} <= set(modes)


def test_a_small_world_is_learned_down_to_what_cannot_be_known(tmp_path: Path) -> None:
    """Who comes next and in what order attributes come are random; all else can be learned.

    The floor is (ln 20 people + ln 2 orders) / 8 tokens: first, middle, last, twice attribute and value, EOS.
    """
    settings = spec_of(exposures=400, lr=0.02) | {"model": {"family": "gpt2", "l": 1, "h": 2, "head_dim": 8}}
    train(tmp_path, settings)
    loss = json.loads((tmp_path / "checkpoint" / "training.json").read_text())["final_loss"]
    floor = (math.log(20) + math.log(2)) / 8
    assert floor * 0.98 < loss < floor * 1.05


def test_metrics_tell_position_loss_and_rate(trained: Path) -> None:
    with open(trained / "checkpoint" / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, NUM_STEPS + 1))
    assert float(rows[0]["loss"]) == pytest.approx(math.log(batches_of(SPEC).vocab_size), rel=0.02)
    assert float(rows[-1]["exposures"]) == 24
    assert [int(row["tokens"]) for row in rows] == [8 * 8 * step for step in range(1, NUM_STEPS + 1)]
    assert float(rows[9]["lr"]) == 0.01
    assert float(rows[-1]["lr"]) == pytest.approx(0.001)


def test_a_long_training_has_two_hundred_rows_that_cover_every_step(tmp_path: Path) -> None:
    settings = spec_of(exposures=33, batch=1, lr=0.001)
    training = training_of(settings)
    losses = [training.loss.item() for _ in training.steps()]
    assert training.num_steps == len(losses) == 660
    assert len(training.row_steps) == 200
    edges = [0, *training.row_steps]
    for row, (start, stop) in enumerate(itertools.pairwise(edges)):
        assert stop - start in (3, 4)
        assert training.row_losses[row] == pytest.approx(sum(losses[start:stop]) / (stop - start), rel=1e-6)
    assert edges[-1] == 660


def test_facts_and_metrics_state_what_was_done(trained: Path) -> None:
    facts = json.loads((trained / "checkpoint" / "training.json").read_text())
    metrics = json.loads((trained / "metrics.json").read_text())
    parameters = 12 * 64 + 13 * 8 + 2 * 8 + facts["vocabulary"] * 8  # l = 1, d = 8
    assert facts["parameters"] == parameters
    assert facts["tokens"] == 20 * 24 * 8
    assert facts["flops"] == facts["tokens"] * (6 * parameters + 12 * 1 * 8 * facts["context"])
    assert facts.items() <= metrics.items()
    assert metrics["seconds"].keys() == {"setup", "compile", "steps", "steps_cpu", "write"}
    assert metrics["num_sessions"] == 1


def test_flops_of_the_papers_smallest_model_are_those_of_the_published_formula() -> None:
    """PaLM, arXiv 2204.02311, Appendix B: 6 N + 12 L H Q T a token."""
    assert training_flops(paper_model("gpt2", 2, 2, 64), 816_000, 512) == 6 * 816_000 + 12 * 2 * 2 * 64 * 512


@pytest.mark.parametrize(
    ("hardware", "message"),
    [
        ({"accelerator": "gpu"}, "accelerator: gpu"),
    ],
)
def test_hardware_that_is_not_there_is_refused_and_nothing_is_written(
    hardware: dict, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=message):
        train(tmp_path, spec_of(hardware=hardware))
    assert checkpoint_bytes(tmp_path) == {}


def test_a_training_that_diverges_stops_and_names_the_learning_rate(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lr: 1e\+30; the loss is nan"):
        train(tmp_path, spec_of(lr=1e30))
    assert checkpoint_bytes(tmp_path) == {}


def test_flops_that_torch_counts_are_those_of_the_formula(trained: Path) -> None:
    """6 (P - vectors) + 12 l d T a token: products alone, all T positions; the embedding is no product, the head is."""
    facts = json.loads((trained / "checkpoint" / "training.json").read_text())
    matrices = 12 * 64 + facts["vocabulary"] * 8
    assert facts["flops_a_token"] == 6 * matrices + 12 * 1 * 8 * facts["context"]
    assert facts["active_parameters"] == facts["parameters"]


def test_operations_are_counted_on_a_part_of_a_large_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    training = training_of(spec_of())
    whole, rows = flops_a_token(training), []
    one_row = training.batches.context
    monkeypatch.setattr(cost, "COUNTED", one_row)
    eager = training.objective.eager_gradient
    monkeypatch.setattr(training.objective, "eager_gradient", lambda v, x, y: rows.append(len(x)) or eager(v, x, y))
    assert flops_a_token(training) == whole
    assert rows == [1]


INT2 = scheme_of(2)


def losses(settings: dict) -> list[float]:
    """The loss of every step of a tiny training."""
    training = training_of(settings)
    return [float(training.loss) for _ in training.steps()]


def test_quantisation_begins_at_its_share_of_the_training() -> None:
    plain = losses(spec_of())
    for start, first in ((0.0, 0), (0.75, 45), (0.999, 59)):
        quantised = losses(spec_of(quantization={"scheme": INT2.plain(), "start": start}))
        different = [step for step, (a, b) in enumerate(zip(plain, quantised, strict=True)) if a != b]
        assert different[0] == first


def test_a_model_trained_with_two_bits_loses_less_by_them_than_one_that_was_not(tmp_path: Path) -> None:
    """And its checkpoint holds the weights before rounding."""
    model = {"model": {"family": "gpt2", "l": 1, "h": 2, "head_dim": 8}}
    damage = []
    for name, changes in (("plain", {}), ("trained", {"quantization": {"scheme": INT2.plain(), "start": 0.0}})):
        settings = spec_of(exposures=400, lr=0.02, **changes) | model
        train(tmp_path / name, settings)
        checkpoint = load_model(tmp_path / name / "checkpoint")
        rounded = quantize_model(checkpoint, INT2)[0]
        assert not torch.equal(rounded.get_input_embeddings().weight, checkpoint.get_input_embeddings().weight)
        inputs, targets = (torch.from_numpy(a[0]).long() for a in batches_of(settings).steps(0, 1))
        with torch.no_grad():
            logits = rounded(inputs).logits
        damage.append(float(functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)))
    assert damage[1] < damage[0] - 0.2
