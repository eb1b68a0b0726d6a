"""What a row of the capacity table holds, composed from labels, facts of the training, stored bits, and scores.

The labels come with the plan; each of the others is read where the job that computed it wrote it.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from capacity.errors import UserError
from capacity.tables.bits import Array, bits_offered, person_bits
from capacity.tables.calibrated import calibrate
from capacity.tables.exposure_bands import band_rows
from capacity.tables.extraction_rows import choose, extraction_columns, tried
from capacity.tables.scores import R_of, bootstrap_interval, mean_bits, score_matrices
from capacity.tables.table import COLUMNS, GIVEN_COLUMNS, TRAINED_FOR
from capacity.world.prior import Account

NOT_COLUMNS = ("probe_set", "zipf", TRAINED_FOR, "answers")  # of the labels: what else is needed to make the row
TRY_LABELS = ("study", "run", "setting", "seed", "scheme")
GRAMMAR, TRAINING, QUANTIZATION = "grammar.json", "training.json", "quantization.json"

Columns = dict[str, Any]


class Open(Protocol):
    """From an artefact's name to its folder, verified; of a large one only the named files."""

    def __call__(self, name: str, files: Sequence[str] | None = None) -> Path: ...


@dataclass(frozen=True)
class TabulatedRow:
    """One variant: its columns; bands of people where its regime is zipf; what can be asked for, and each try."""

    variant: Columns
    bands: list[Columns] = field(default_factory=list)
    asked: Columns | None = None
    tries: list[Columns] = field(default_factory=list)


@dataclass(frozen=True)
class Facts:
    """What the jobs before the probe say of a variant."""

    account: Account  # of the dataset
    training: Mapping[str, Any]  # of the checkpoint
    quantization: Mapping[str, Any]  # of the variant

    @property
    def P(self) -> int:
        """Trainable parameters."""
        return self.training["parameters"]

    def columns(self) -> Columns:
        """The columns that hold them; only models with experts drop tokens or have a largest load."""
        training, stored = self.training, self.quantization
        return {
            "vocabulary": training["vocabulary"],
            "tokens": training["tokens"],
            "flops": training["flops"],
            "final_loss_nats": training["final_loss"],
            "weight_bits": stored["stored_bits"],
            "bits_per_weight": stored["bits_per_weight"],
            "P_active": training["active_parameters"],
            "flops_a_token": training["flops_a_token"],
            "dropped": training.get("dropped"),
            "largest_load": training.get("largest_load"),
        }


def read_facts(labels: Mapping[str, Any], open_artefact: Open) -> Facts:
    """The facts of the variant that labels name; its folder has those of the training, as the checkpoint's has."""
    dataset = open_artefact(f"datasets/{labels['dataset_id']}", [GRAMMAR])
    variant = open_artefact(f"variants/{labels['variant_id']}", [TRAINING, QUANTIZATION])
    account = Account(**json.loads((dataset / GRAMMAR).read_text(encoding="utf-8"))["account"])
    training, quantization = (json.loads((variant / name).read_text()) for name in (TRAINING, QUANTIZATION))
    return Facts(account, training, quantization)


def tabulate(labels: Mapping[str, Any], open_artefact: Open, num_resamples: int) -> TabulatedRow:
    """All that the table's job writes of one variant.

    labels: a row of the table's spec. open_artefact: to whatever the row is made from.
    """
    facts = read_facts(labels, open_artefact)
    folder = open_artefact(f"probes/{labels['probe_id']}")
    scores = pd.read_parquet(folder / "scores.parquet")
    junk = pd.read_parquet(folder / "junk.parquet") if (folder / "junk.parquet").is_file() else None
    known = {name: value for name, value in labels.items() if name not in NOT_COLUMNS}
    halves = pd.read_parquet(folder / "temperatures.parquet")
    variant = variant_row({**known, **facts.columns()}, scores, halves, facts.account, facts.P, num_resamples, junk)
    if TRAINED_FOR in labels:
        variant[TRAINED_FOR] = labels[TRAINED_FOR]
    bands = band_rows(labels, labels["zipf"], scores, facts.account) if "zipf" in labels else []
    if "answers" not in labels:
        return TabulatedRow(variant, bands)
    return TabulatedRow(variant, bands, *_asked(labels, open_artefact, scores, facts, num_resamples))


def _asked(
    labels: Mapping[str, Any], open_artefact: Open, scores: pd.DataFrame, facts: Facts, num_resamples: int
) -> tuple[Columns, list[Columns]]:
    """What can be asked for of one variant, and what each try answered."""
    attempts, extraction = labels["answers"]["tries"], {"extraction": labels["answers"]["extraction"]}
    folders = [open_artefact(f"answers/{attempt['answers_id']}") for attempt in attempts]
    tries = [tried(attempt, folder) for attempt, folder in zip(attempts, folders, strict=True)]
    best = choose(tries)
    held_out = pd.read_parquet(folders[best] / "held_out.parquet")
    columns = extraction_columns(tries[best], held_out, scores, facts.account, facts.P, num_resamples)
    about = {**{name: labels[name] for name in TRY_LABELS}, **extraction}
    lines = [{**about, **attempt, "chosen": place == best} for place, attempt in enumerate(tries)]
    lines = [{name.removesuffix("_id"): value for name, value in line.items()} for line in lines]  # no rows of variants
    return {**extraction, **columns}, lines


def scored_R(labels: Mapping[str, Any], results: Path) -> float:
    """The R of a variant, with a table's six digits. Raises OSError, ValueError, KeyError or UserError."""
    facts = read_facts(labels, lambda name, files=None: results / name)
    scores = pd.read_parquet(results / "probes" / labels["probe_id"] / "scores.parquet")
    return float(f"{R_of(scores, facts.account, facts.P):.6g}")


def variant_row(
    given: Mapping[str, Any],
    scores: pd.DataFrame,
    halves: pd.DataFrame,
    account: Account,
    P: int,
    num_resamples: int,
    junk: pd.DataFrame | None = None,
) -> dict[str, Any]:
    """The capacity table's row of one variant.

    given: labels and facts, a value for each of GIVEN_COLUMNS and no other; `setting` names what the study varies
    besides, "" for nothing, and bits_per_weight is what a weight that the scheme names is stored in, without scales.
    scores: from `capacity.probe.score.score_people`. halves: from `capacity.probe.temperatures.HalfLosses`.
    P: trainable parameters. R_low and R_high bound the 95 % bootstrap interval over people of R.
    accuracy: mean over people and value items of the greedy match; accuracy_name: the same for the full name.
    bits_per_weight_bit: bits stored divided by all bits that the weights take, scales and unquantised tensors included.
    R_calibrated, temperature: R and what logits are divided by for it, from `capacity.tables.calibrated.calibrate`.
    R_name_only: R with each value scored in a paragraph of its one sentence, after the full name alone.
    bits_a_junk_person: stored of a junk person's name and values, mean over `junk`, from `score_junk` there.
    Raises ValueError where columns are missing or unknown, UserError where scores are not of N people.
    """
    if set(given) != set(GIVEN_COLUMNS):
        raise ValueError(f"columns of a variant: {sorted(set(given) ^ set(GIVEN_COLUMNS))} missing or unknown")
    matrices = score_matrices(scores, account)
    num_people = len(matrices["nats"])
    if num_people != given["N"]:
        raise UserError(
            f"scores of variant {given['variant_id']}: {num_people} people for N = {given['N']}; "
            "delete its probe folder and run again"
        )
    measured = _measured(matrices, halves, account, P, num_resamples)
    measured["bits_per_weight_bit"] = measured["bits_stored"] / given["weight_bits"]
    measured["bits_a_junk_person"] = math.nan if junk is None else mean_bits(junk, account)
    columns = [column for column in COLUMNS if column != "chosen"]
    return {column: measured[column] if column in measured else given[column] for column in columns}


def _measured(
    matrices: Mapping[str, Array], halves: pd.DataFrame, account: Account, P: int, num_resamples: int
) -> Columns:
    """The columns that come from the scores of people alone."""
    bits = person_bits(matrices["nats"], matrices["first_chunk_nats"], account)
    name_only = person_bits(matrices["nats_name_only"], matrices["first_chunk_nats_name_only"], account)
    low, high = bootstrap_interval(bits.total, num_resamples)
    calibrated = calibrate(halves, account)
    offered = bits_offered(len(bits.total), account)
    return {
        "P": P,
        "bits_offered": offered,
        "bits_stored": bits.total.sum(),
        "bits_name": bits.name.sum(),
        "bits_value": bits.value.sum(),
        "bits_diversity": bits.diversity.sum(),
        "R": bits.total.sum() / P,
        "R_low": low / P,
        "R_high": high / P,
        "R_max": offered / P,
        "R_calibrated": calibrated.bits / P,
        "temperature": calibrated.temperature,
        "R_name_only": name_only.total.sum() / P,
        "accuracy": matrices["exact"][:, 1:].mean(),
        "accuracy_name": matrices["exact"][:, 0].mean(),
    }
