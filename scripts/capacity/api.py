"""For a notebook or a program of one's own: plan a configuration, read a table, open what a row of it rests on.

    from capacity import api
    table = api.read_table("results/capacity_table.csv")
    model, tokenizer, world, scores = (
        opener(table.iloc[0]) for opener in (api.load_model, api.load_tokenizer, api.load_world, api.load_scores)
    )

Every folder is held against its manifest before it is opened. All functions raise UserError, one line, where something
is missing or is not what was made.
"""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capacity.artefacts.manifest import verify
from capacity.config.load import load_asked
from capacity.plan.grid import Grid, resolve

if TYPE_CHECKING:  # each is imported where it is used, so that planning needs no torch
    import pandas as pd
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel

    from capacity.world.facts import World

__all__ = ["load_model", "load_scores", "load_tokenizer", "load_world", "plan", "read_table"]

Row = Mapping[str, Any]  # of a capacity table; a pandas Series is one
Place = str | PathLike[str]
RESULTS = "results"


def plan(*files: Place, **overrides: Any) -> Grid:
    """The specs of a configuration, without making anything: files, later ones over earlier ones, then overrides.

    For example plan("config.yaml", "scales/paper.yaml", study=["base-law"]); `specs` has all by name. A text among the
    overrides is YAML, as those of --config are: "2" is a number.
    """
    return resolve(load_asked([Path(file) for file in files or ("config.yaml",)], overrides))


def read_table(path: Place = "results/capacity_table.csv") -> "pd.DataFrame":
    """A capacity table with its types."""
    from capacity.tables.table import read_table as read

    return read(Path(path))


def load_model(row: Row, results: Place = RESULTS) -> "PreTrainedModel":
    """The model that a row is about, quantised as its scheme says, on the CPU and in evaluation mode."""
    from capacity.models.build import load_model as load

    return load(_folder("variants", row["variant_id"], results))


def load_tokenizer(row: Row, results: Place = RESULTS) -> "Tokenizer":
    """The tokenizer of a row's model; pieces that no text of its world can hold have ids past the model's rows."""
    from capacity.tokenizers.tokenization import load_tokenizer as load

    return load(_folder("tokenizers", row["tokenizer_id"], results))


def load_world(row: Row, results: Place = RESULTS) -> "World":
    """The people whom a row's model was trained on: facts, grammar, and the account of their bits."""
    from capacity.world.facts import load_world as load

    return load(_folder("datasets", row["dataset_id"], results))


def load_scores(row: Row, results: Place = RESULTS) -> "pd.DataFrame":
    """What the probe measured, a row a person and item: nats of its name and values, and which were given right."""
    import pandas as pd

    return pd.read_parquet(_folder("probes", row["probe_id"], results) / "scores.parquet")


def _folder(stage: str, identity: str, results: Place) -> Path:
    """The folder of an artefact, held against its manifest."""
    folder = Path(results) / stage / identity
    verify(folder)
    return folder
