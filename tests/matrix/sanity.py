"""What every row of a table must hold, whatever was combined; each check says what is wrong."""

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from configuration import bits_of, name_of, schemes_of
from covering import Row
from safetensors.numpy import load_file
from transformers import PreTrainedModel

from capacity.models import factories
from capacity.models.architectures import parameter_count
from capacity.models.build import load_model
from capacity.models.spec import PaperModel, read_model
from capacity.probe.score import score_people
from capacity.probe.spec import ProbeDraws
from capacity.quantization.rounding import DTYPES
from capacity.quantization.spec import ROLES
from capacity.tables.bits import bits_offered, person_bits
from capacity.tables.scores import score_matrices
from capacity.tokenizers.tokenization import has_all_rows, load_tokenizer
from capacity.world.facts import World, load_world
from capacity.world.text_renderer import renderer_of

DIGITS = 1e-5  # a table has six significant digits
SHARES = (
    "accuracy", "accuracy_name", "memorised", "extractable", "extractable_first_token", "memorised_after", "dropped",
)  # fmt: skip
LEARNED = 1.02  # times the loss of a model that knows the vocabulary alone: what every training falls below
NEAR = 0.01  # share of the bits offered and stored by which int8 may differ from none, where none stores some
EXPERTS = 3  # of every model that has some
LEVELS = {"ternary": 3, "fp8": 256, "fp4": 16, "fp16": 2**16, "bf16": 2**16}


def faults(results: Path, row: Row, number: int) -> list[str]:
    """What is wrong with the runs of one row of the matrix; nothing where all is well."""
    table = pd.read_csv(results / "capacity_table.csv", keep_default_na=False, na_values=[""])
    mine = table[table["study"] == name_of(number)]
    return [f"{name_of(number)}: {fault}" for fault in _faults(results, row, number, mine)]


def _faults(results: Path, row: Row, number: int, table: pd.DataFrame) -> Iterator[str]:
    schemes = Counter(table["scheme"])
    rates = 2 if row["rates"] == "two" else 1
    if schemes != dict.fromkeys([*schemes_of(row), name_of(number)], rates):
        yield f"rows of {dict(schemes)}"
        return
    if table["chosen"].sum() * rates != len(table):
        yield f"{table['chosen'].sum()} of {len(table)} rows are chosen"
    for _, runs in table.groupby("lr"):
        by_scheme = dict(zip(runs["scheme"], runs.to_dict("records"), strict=True))
        for line in by_scheme.values():
            yield from _of_a_line(line, row)
        yield from _of_none(results, by_scheme["none"], row)
        yield from _of_int8(results, by_scheme["none"], by_scheme["int8"])
        for scheme, line in by_scheme.items():
            yield from _of_weights(results, line, bits_of(row) if scheme == name_of(number) else None)
    yield from _of_tables(results, row, number, rates)


def _of_a_line(line: dict[str, Any], row: Row) -> Iterator[str]:
    """Columns against each other."""
    where = f"{line['scheme']}, lr {line['lr']}: "
    offered, stored, P = (line[name] for name in ("bits_offered", "bits_stored", "P"))
    if not all(map(math.isfinite, (offered, stored, line["final_loss_nats"], line["R_low"], line["R_high"]))):
        yield f"{where}bits or loss are not finite"
    if stored > offered * (1 + DIGITS):
        yield f"{where}{stored} bits stored of {offered} offered"
    parts = sum(line[f"bits_{part}"] for part in ("name", "value", "diversity"))
    if not _near(parts, stored, abs(line["bits_name"]) + abs(line["bits_value"]) + abs(line["bits_diversity"])):
        yield f"{where}parts sum to {parts}, not to {stored}"
    for name, bits in (("R", stored), ("R_max", offered)):
        if not _near(line[name] * P, bits, abs(bits)):
            yield f"{where}{name} times P is {line[name] * P}, not {bits}"
    if not 0 <= line["R_calibrated"] <= line["R_max"] * (1 + DIGITS) or not 0.5 <= line["temperature"] <= 16:
        yield f"{where}R_calibrated {line['R_calibrated']} of {line['R_max']} at temperature {line['temperature']}"
    if not line["R_low"] - abs(line["R"]) * DIGITS <= line["R"] <= line["R_high"] + abs(line["R"]) * DIGITS:
        yield f"{where}R {line['R']} outside {line['R_low']} to {line['R_high']}"
    if not _near(line["bits_per_weight_bit"] * line["weight_bits"], stored, abs(stored)):
        yield f"{where}bits_per_weight_bit {line['bits_per_weight_bit']} of {line['weight_bits']} bits, {stored} stored"
    for name in SHARES:
        if name in line and not math.isnan(line[name]) and not 0 <= line[name] <= 1:
            yield f"{where}{name} is {line[name]}"
    if "largest_load" in line and not math.isnan(line["largest_load"]) and not 1 <= line["largest_load"] <= EXPERTS:
        yield f"{where}the fullest expert has {line['largest_load']} times its share"
    if not 0 < line["final_loss_nats"] < LEARNED * math.log(line["vocabulary"]):
        yield f"{where}final loss {line['final_loss_nats']} of {line['vocabulary']} words: nothing was learned"
    for name, there in (
        ("bits_a_junk_person", row["junk"] != "no junk"),
        ("largest_load", row["experts"] != "none" or row["model"] == "hf-mixtral"),
        ("memorised", row["extraction"] != "none" and line["scheme"] == "none"),
        ("extractable", row["extraction"] != "none" and line["scheme"] == "none"),
        ("R_name_only", not row["dataset"].startswith("bioR")),
    ):
        if (name in line and not math.isnan(line[name])) != there:
            yield f"{where}{name} is {line.get(name)}"


def _of_none(results: Path, line: dict[str, Any], row: Row) -> Iterator[str]:
    """The unquantised row against the checkpoint itself: its size, and its own scoring."""
    checkpoint = results / "checkpoints" / line["checkpoint_id"]
    P = sum(tensor.size for tensor in load_file(checkpoint / "model.safetensors").values())
    if line["P"] != P or line["P_active"] > P:
        yield f"P is {line['P']}, active {line['P_active']}, but {P} numbers are saved"
    if line["weight_bits"] != 32 * P or line["bits_per_weight"] != 32:
        yield f"none takes {line['weight_bits']} bits for {P} parameters, {line['bits_per_weight']} a weight"
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    model = read_model(manifest["settings"]["model"])
    if isinstance(model, PaperModel) and (formula := parameter_count(model, line["vocabulary"])) != P:
        yield f"{P} parameters, by the formula {formula}"
    world, matrices, stored = _scored(results, line, checkpoint)
    if not _near(stored, line["bits_stored"], line["bits_offered"]):
        yield f"none stores {line['bits_stored']} bits, its checkpoint {stored}"
    if not _near(bits_offered(world.N, world.account), line["bits_offered"], line["bits_offered"]):
        yield f"{line['bits_offered']} bits offered, by the account {bits_offered(world.N, world.account)}"
    exact = matrices["exact"]
    if not _near(exact[:, 1:].mean(), line["accuracy"], 1) or not _near(exact[:, 0].mean(), line["accuracy_name"], 1):
        yield f"accuracy {line['accuracy']}, {line['accuracy_name']}; the checkpoint's is other"


def _scored(results: Path, line: dict[str, Any], model: Path) -> tuple[World, dict[str, Any], float]:
    """The world of a row, and what a folder's weights score on it and store of it, in bits."""
    manifest = json.loads((results / "checkpoints" / line["checkpoint_id"] / "manifest.json").read_text())
    world = load_world(results / manifest["parents"]["dataset"])
    tokenizer = results / "tokenizers" / line["tokenizer_id"]
    renderer = renderer_of(world, load_tokenizer(tokenizer), has_all_rows(tokenizer))
    scores = score_people(_loaded(results, model), renderer, world, ProbeDraws(draws=2, seed=1)).to_pandas()
    matrices = score_matrices(scores, world.account)
    return world, matrices, person_bits(matrices["nats"], matrices["first_chunk_nats"], world.account).total.sum()


def _loaded(results: Path, folder: Path) -> PreTrainedModel:
    """A folder's model; a user's own is read from the checkout that the results lie in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(factories, "REPOSITORY", results.parent)
        return load_model(folder)


def _of_int8(results: Path, none: dict[str, Any], int8: dict[str, Any]) -> Iterator[str]:
    """The row of int8 against its own weights; and near none's, where none stores something."""
    *_, stored = _scored(results, int8, results / "variants" / int8["variant_id"])
    if not _near(stored, int8["bits_stored"], int8["bits_offered"]):
        yield f"int8 stores {int8['bits_stored']} bits, its weights {stored}"
    apart, allowed = abs(int8["bits_stored"] - none["bits_stored"]), NEAR * (none["bits_offered"] + none["bits_stored"])
    if none["bits_stored"] >= 0 and apart > allowed:
        yield f"int8 stores {int8['bits_stored']} bits, none {none['bits_stored']} of {none['bits_offered']} offered"


def _of_weights(results: Path, line: dict[str, Any], bits: float | None) -> Iterator[str]:
    """What the table says of a variant's weights, against its tensors as they are saved."""
    where, folder = f"{line['scheme']}: ", results / "variants" / line["variant_id"]
    if bits is not None and line["bits_per_weight"] != bits:
        yield f"{where}{line['bits_per_weight']} bits a weight, not {bits}"
    report = json.loads((folder / "quantization.json").read_text())
    tensors = report["tensors"]
    if sum(each["stored_bits"] for each in tensors.values()) != line["weight_bits"]:
        yield f"{where}{line['weight_bits']} weight bits are not the sum of its tensors'"
    saved = {name: parameter.detach() for name, parameter in _loaded(results, folder).named_parameters()}
    if {name: each["num_weights"] for name, each in tensors.items()} != {n: each.numel() for n, each in saved.items()}:
        yield f"{where}other tensors are reported than are saved"
        return
    for name, tensor in saved.items():
        if fault := _of_a_tensor(tensor, tensors[name], report["scheme"]):
            yield f"{where}{name}, {list(tensor.shape)}: {fault}"


def _of_a_tensor(tensor: torch.Tensor, about: dict[str, Any], scheme: dict[str, Any]) -> str:
    """What is wrong with a tensor of a variant, by what is said of it; nothing where all is well."""
    if about["method"] in ("rtn", "gptq"):
        numbers = scheme["numbers"]
        levels = 2 ** numbers["bits"] if numbers["format"] == "int" else LEVELS[numbers["format"]]
        found, most = len(tensor.unique()), levels * max(1, about["num_scales"])
        return f"has {found} values, {most} at most can be told apart" if found > most else ""
    if about["method"] != "none":
        return "" if torch.equal(tensor, tensor.to(DTYPES[about["method"]]).float()) else "is not rounded"
    named = scheme["method"] != "none" and set(ROLES) <= set(scheme["tensors"])
    return "is not quantised" if named and sum(size > 1 for size in tensor.shape) > 1 else ""


def _of_tables(results: Path, row: Row, number: int, rates: int) -> Iterator[str]:
    """The tables beside: bits by how often people were told, where it is not equally often; tries of questions."""
    tries = {"none": 0, "full": 1, "mixed": 1}.get(row["extraction"], 2) * rates
    for name, wanted in (("capacity_bands", row["zipf"] == "zipf"), ("extraction_tries", tries)):
        tables = [pd.read_csv(path) for path in (results / "tables").glob(f"*/{name}.csv")]
        lines = sum(int((table["study"] == name_of(number)).sum()) for table in tables)
        if (lines > 0) != bool(wanted) or (name == "extraction_tries" and lines != tries):
            yield f"{lines} lines in {name}.csv"
        for table in tables:
            # a scheme of the row's may be int8 by another name, and both have its variant
            if "variant_id" in table and table.duplicated(["scheme", "variant_id", "told_from"]).any():
                yield f"two lines of one variant and band in {name}.csv"


def _near(one: float, other: float, size: float) -> bool:
    return abs(one - other) <= DIGITS * max(size, abs(one), 1e-9) * 3
