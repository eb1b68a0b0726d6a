"""A folder for the hub from a dataset: its files, a card, and Croissant metadata (mlcommons.org/croissant, 1.0)."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import DatasetCardData

from capacity.artefacts.identity import file_digest
from capacity.artefacts.manifest import MANIFEST, verify
from capacity.artefacts.new_folder import new_folder
from capacity.hub.public import OWN, PROVENANCE, copy_public

CROISSANT, GRAMMAR = "croissant.json", "grammar.json"
PAPER = "https://arxiv.org/abs/2404.05405"  # whose worlds ours are
TERMS = (
    *("citeAs", "column", "extract", "field", "fileProperty", "fileObject", "fileSet", "format", "includes"),
    *("isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated"),
    *("replace", "separator", "source", "subField", "transform"),
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in TERMS},
}
LICENSES = {"apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0"}
SIZES = (
    *((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")),
    *((10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B"), (10**12, "1B<n<10B")),
)
CARD = """---
{data}
---

# {name}

{description}

`facts.parquet` has one row a person or record; a column is a code, an index into the pool of `grammar.json` that the
column is drawn from. `grammar.json` has the settings, the pools, the sentences and how many bits each fact offers.
`croissant.json` describes the columns; `provenance.json` says how the files were made.
"""


def write_dataset_folder(dataset: Path, output: Path, license: str) -> None:
    """Write the folder of an artefact of results/datasets, which must not exist yet.

    Raises UserError where the folder exists, and where the artefact is missing or damaged.
    """
    with new_folder(output) as folder:
        _fill(folder, dataset, license)


def _fill(output: Path, dataset: Path, license: str) -> None:
    manifest = verify(dataset)
    settings = _settings(dataset)
    for path in dataset.iterdir():
        if path.name == MANIFEST:
            copy_public(path, output / PROVENANCE)
        elif path.name == GRAMMAR:
            copy_public(path, output / GRAMMAR)
        else:
            shutil.copyfile(path, output / path.name)
    tables = {path.name: pq.read_schema(path) for path in sorted(output.glob("*.parquet"))}
    rows = pq.read_metadata(output / "facts.parquet").num_rows
    own = settings["kind"] == OWN
    description = f"Synthetic facts of kind {settings['kind']}: {rows:,} people or strings, drawn at random."
    if own:
        description = f"{rows:,} records of the table {Path(settings['file']).name}."
    data = DatasetCardData(
        license=license,
        language=None if own else "en",
        pretty_name=dataset.name,
        task_categories=["text-generation"],
        size_categories=[next(name for most, name in SIZES if rows < most)],
        tags=["knowledge-capacity", *([] if own else ["synthetic"]), "croissant"],
        configs=[{"config_name": Path(name).stem, "data_files": name} for name in tables],
    )
    card = CARD.format(data=data.to_yaml().strip(), name=dataset.name, description=description)
    (output / "README.md").write_text(card, encoding="utf-8")
    about = {
        "name": dataset.name,
        "description": description,
        "license": LICENSES.get(license, license),
        "datePublished": manifest["ended"][:10],
        "version": "1.0.0",
        **({} if own else {"url": PAPER}),
    }
    (output / CROISSANT).write_text(json.dumps(croissant(about, output, tables), indent=1) + "\n", encoding="utf-8")


def own_content(dataset: Path) -> str:
    """What of a dataset is the user's own, whose licence nobody here knows; blank for nothing. Raises UserError."""
    verify(dataset)
    settings = _settings(dataset)
    if settings["kind"] == OWN:
        return "a table of your own"
    return "values or sentences of your own" if settings.get("value_lists") or settings.get("template_folder") else ""


def _settings(dataset: Path) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads((dataset / GRAMMAR).read_text(encoding="utf-8"))["settings"]
    return settings


def croissant(about: dict[str, str], folder: Path, tables: dict[str, pa.Schema]) -> dict[str, Any]:
    """The Croissant description of a folder's tables. about: name, description and the like, as schema.org has them."""
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        **about,
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": name,
                "name": name,
                "contentUrl": name,
                "encodingFormat": "application/x-parquet",
                "sha256": file_digest(folder / name),
            }
            for name in tables
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": Path(name).stem,
                "name": Path(name).stem,
                "field": [_field(name, column) for column in schema],
            }
            for name, schema in tables.items()
        ],
    }


def _field(file: str, column: pa.Field) -> dict[str, Any]:
    """A column of a table."""
    kind = column.type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return {
        "@type": "cr:Field",
        "@id": f"{Path(file).stem}/{column.name}",
        "name": f"{Path(file).stem}/{column.name}",
        "description": "text" if is_text else f"code of {column.name}",
        "dataType": "sc:Text" if is_text else "sc:Float" if pa.types.is_floating(kind) else "sc:Integer",
        "source": {"fileObject": {"@id": file}, "extract": {"column": column.name}},
    }
