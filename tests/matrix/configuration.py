"""Rows of the matrix as a configuration, each a study of its own, and the files that it names."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from covering import Row
from dimensions import DATASETS, FORMATS, SECTIONS
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

LONG = ("bioS", "bioS-own", "bioR", "bioR-flawed", "bioD-sentence")  # worlds with long texts
NEVER = {"compile": False, "accelerator": "cpu"}  # compiling takes longer than the runs
OPENINGS = {"bioS": "birth_city", "bioR": "university", "bioD": "id_1", "records": "sea"}
SHARED = {"none": {"method": "none"}, "int8": {"method": "rtn", "bits": 8}}
TRAINED_FOR = {
    "for-int4": {"method": "rtn", "bits": 4, "tensors": ["linear", "experts"]},
    "for-ternary": {"method": "rtn", "format": "ternary"},
}


def name_of(number: int) -> str:
    """The study of a row, and its sections."""
    return f"row{number:03}"


def configuration(rows: Sequence[Row], numbers: Sequence[int] | None = None) -> dict[str, Any]:
    """A configuration with a study a row; all rows are on one scale, that of the first."""
    config: dict[str, Any] = {section: {} for section in SECTIONS}
    config["quantizers"] = SHARED | TRAINED_FOR
    config["studies"] = {}
    for number, row in zip(numbers or range(len(rows)), rows, strict=True):
        name = name_of(number)
        for section, dimensions in SECTIONS.items():
            config[section][name] = merged(row, dimensions)
        config["regimes"][name] |= {"exposures": 12, "batch": 2} | _context(row)
        config["scales"][name] |= NEVER
        config["extractions"][name] |= _wordings(row)
        if row["extraction"] == "none":
            del config["extractions"][name]
        config["studies"][name] = _study(name, row)
    names = list(config["studies"])
    return config | {"scale": names[0], "study": names, "probe": {"draws": 2}, "table": {"resamples": 100}}


def merged(row: Row, dimensions: dict[str, dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """What the row's values of some dimensions say together."""
    section: dict[str, Any] = {}
    for dimension, values in dimensions.items():
        section |= values[row[dimension]]
    return section


def schemes_of(row: Row) -> list[str]:
    """Schemes that every run is quantised by, beside its own."""
    rounded = {"int4": ["for-int4"], "ternary, late": ["for-ternary"]}
    return [*SHARED, *rounded.get(row["rounding"], [])]


def _study(name: str, row: Row) -> dict[str, Any]:
    study = {"question": f"Row {name}?", "paper": "Not asked.", "seeds": [1], "quantizers": [*schemes_of(row), name]}
    study |= {section: [name] for section in ("datasets", "tokenizers", "models", "regimes")}
    return study if row["extraction"] == "none" else study | {"extraction": name}


def _context(row: Row) -> dict[str, int]:
    if row["packing"] == "rows":
        return {}
    return {"context": 448 if row["dataset"] in LONG else 96}


def _wordings(row: Row) -> dict[str, Any]:
    if row["extraction"] != "openings" or row["dataset"] == "random":
        return {}
    kind = DATASETS[row["dataset"]]["kind"]
    return {"wordings": {OPENINGS[kind]: ["{name} tells us:", "Of {name} we know:"]}}


def bits_of(row: Row) -> float:
    """Bits a weight of the row's own scheme."""
    sizes = {"ternary": 1.6, "fp8": 8, "fp4": 4, "fp16": 16, "bf16": 16}
    return FORMATS[row["format"]].get("bits") or sizes[row["format"]]


def write_files(folder: Path) -> None:
    """Value lists, templates, tables and a tokenizer, as a user would have them; and the models' module."""
    own = folder / "own"
    (own / "templates").mkdir(parents=True)
    (own / "cities.txt").write_text("Bern\nSão Paulo\nNew York, NY\n", encoding="utf-8")
    (own / "employers.txt").write_text("Acme; Bern\nUmbrella; Basel\nInitech; Ulm\n", encoding="utf-8")
    for attribute in ("birth_date", "birth_city", "university", "major", "employer", "working_city"):
        words = attribute.replace("_", " ")
        lines = [f"{{subject}} had {{value}} as {words}.", f"{{subject}} told us that the {words} was {{value}}."]
        (own / "templates" / f"{attribute}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    seas, colours = ("Baltic", "North", "Black"), ("blue", "green")
    rivers = [f"River {chr(65 + n)},{seas[n % 3]} Sea,{colours[n % 2]}" for n in range(18)]
    for name, rows in (("rivers", rivers), ("rivers-with-gaps", ["Lost,,blue", *rivers])):
        (own / f"{name}.csv").write_text("\n".join(["river,sea,colour", *rows]) + "\n", encoding="utf-8")
    (own / "tokenizer").mkdir()
    _published().save(str(own / "tokenizer" / "tokenizer.json"))
    module = Path(__file__).with_name("matrix_nets.py")
    (folder / module.name).write_text(module.read_text(encoding="utf-8"), encoding="utf-8")


def _published() -> Tokenizer:
    """A byte-level BPE in the form of GPT-2's, learned from other text than the worlds'."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator([Path(__file__).read_text(encoding="utf-8")], trainer)
    return tokenizer


def write(config: dict[str, Any], path: Path) -> None:
    """The configuration as a file; JSON is YAML."""
    path.write_text(json.dumps(config, indent=1), encoding="utf-8")
