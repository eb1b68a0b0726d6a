"""The runs of a study: its datasets, tokenizers, models, regimes and seeds crossed, with what it varies laid over."""

import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from capacity.config.dataset import Dataset
from capacity.config.experiment import Config
from capacity.config.load import check
from capacity.config.model import Model
from capacity.config.regime import Regime
from capacity.config.study import CROSSED, Study
from capacity.config.tokenizer import Tokenizer
from capacity.errors import UserError
from capacity.plan.world_specs import counted, dataset_slug

MOST_RUNS = 100_000  # of all selected studies


@dataclass(frozen=True)
class Run:
    """One point of a study's grid: config names for the table, checked sections for the specs."""

    study: str
    names: dict[str, str]  # section -> config name
    dataset: Dataset
    tokenizer: Tokenizer
    model: Model
    regime: Regime
    seed: int
    setting: str  # what the study sweeps, for example "dataset.N=400"

    @property
    def N(self) -> int:
        """People, or records, which are counted by now."""
        assert self.dataset.N is not None
        return self.dataset.N

    @property
    def slug(self) -> str:
        """Readable; the digests behind it distinguish runs."""
        return f"{self.model.label()}-{dataset_slug(self.dataset)}-e{self.regime.exposures}-s{self.seed}"


def check_number(config: Config) -> None:
    """Refuse more runs than a plan can hold, before any of them is written out. Raises UserError."""
    runs = dict.fromkeys(config.study, 0)
    for name in config.study:
        for part in known(config.studies, name, "study", "studies").parts():
            crossed = [*(getattr(part, key) for key in CROSSED), *part.vary.values()]
            rates = [config.regimes[label].lr for label in part.regimes or [] if label in config.regimes]
            tries = max((len(rate) for rate in rates if isinstance(rate, list)), default=1)
            runs[name] += tries * math.prod(map(len, crossed))
    total, largest = sum(runs.values()), max(runs, key=lambda name: runs[name])
    if total > MOST_RUNS:
        raise UserError(
            f"study: up to {total:,} runs, {runs[largest]:,} of them of {largest}; a plan has at most {MOST_RUNS:,}, "
            "shorten a list or a `vary`"
        )


def known(section: dict[str, Any], name: str, asked_by: str, section_name: str) -> Any:
    """What a section calls so. Raises UserError where it is not there."""
    if name not in section:
        raise UserError(f"{asked_by}: {name!r} is not in {section_name}; there are: {', '.join(section) or 'none'}")
    return section[name]


def runs_of(config: Config, name: str) -> Iterator[Run]:
    """All runs of a study, seeds innermost; one that several of its grids have, once."""
    known_runs = set()
    for part in config.studies[name].parts():
        for run in _runs(config, name, part):
            key = (*run.names.values(), run.setting, run.regime.lr, run.seed)
            if key not in known_runs:
                known_runs.add(key)
                yield run


def _runs(config: Config, name: str, study: Study) -> list[Run]:
    """The crossed grid of one part of a study, seeds innermost."""
    sections = {"dataset": "datasets", "tokenizer": "tokenizers", "model": "models", "regime": "regimes"}
    names = [
        [(n, known(getattr(config, plural), n, f"studies.{name}.{plural}", plural)) for n in getattr(study, plural)]
        for plural in sections.values()
    ]
    for key, values in study.vary.items():
        if not values:
            raise UserError(f"studies.{name}.vary.{key}: an empty list; give at least one value")
        words = [_word(value) for value in values]
        if twice := [word for word in words if words.count(word) > 1]:
            raise UserError(f"studies.{name}.vary.{key}: two values are both written {twice[0]}; leave one out")
    settings = list(itertools.product(*study.vary.values()))
    runs = []
    for point in itertools.product(*names):
        for setting in settings:
            changes = dict(zip(study.vary, setting, strict=True))
            parts = {
                section: _varied(part, section, changes, f"studies.{name}.vary: {section}")
                for section, (_, part) in zip(sections, point, strict=True)
            }
            labels = {section: label for section, (label, _) in zip(sections, point, strict=True)}
            parts["dataset"] = counted(parts["dataset"], labels["dataset"])
            text = " ".join(f"{key}={_word(value)}" for key, value in changes.items())
            for regime in _tries(parts.pop("regime")):
                runs += [
                    Run(name, labels, **parts, regime=regime, seed=seed, setting=text) for seed in study.seeds or []
                ]
    return runs


def _word(value: Any) -> str:
    """A value without blanks, which stand between the parts of a setting."""
    text = json.dumps(value, separators=(",", ":")) if isinstance(value, list | dict) else str(value)
    return text.replace(" ", "%20")


def _tries(regime: Regime) -> list[Regime]:
    """The regime at each of its learning rates."""
    rates = regime.lr if isinstance(regime.lr, list) else [regime.lr]
    return [regime.model_copy(update={"lr": rate}) for rate in rates]


def _varied(part: Any, section: str, changes: dict[str, Any], source: str) -> Any:
    """A section with the study's sweep values laid over it, checked again."""
    mine = [(key.split(".")[1:], value) for key, value in changes.items() if key.startswith(f"{section}.")]
    if not mine:
        return part
    raw = part.model_dump(exclude_unset=True)
    for path, value in mine:
        raw = _laid(raw, path, value)
    return check(type(part), raw, source)


def _laid(section: Any, path: list[str], value: Any) -> Any:
    """A section with one value, at a path of keys, replaced; what is no mapping on the way becomes one."""
    if not path:
        return value
    section = section if isinstance(section, dict) else {}
    return {**section, path[0]: _laid(section.get(path[0]), path[1:], value)}
