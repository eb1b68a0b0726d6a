"""What the configuration reaches: the artefacts of every study, at every scale that it or a scale file defines."""

import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from capacity.artefacts.identity import canonical_json
from capacity.artefacts.manifest import read_manifest
from capacity.artefacts.stages import STAGES
from capacity.config.experiment import Config
from capacity.config.load import load_config
from capacity.errors import OtherSchema, UserError
from capacity.plan.failures import PARTIAL_ID
from capacity.plan.fixed_paths import PUBLISHED_IDS, published_id
from capacity.plan.grid import Grid, resolve

# What is made of several studies at once, and, of its spec, what depends on which studies these are.
TOGETHER = {"tables": "rows", "figures": "studies", "claims": None}
SEVERAL = "several studies together"
PUBLISHED = "what is published"
PATIENCE, EVERY = 1.0, 10.0  # seconds until it is said how far the look has come, and between two such lines


def configurations(
    files: list[Path], overrides: Mapping[str, Any], scale_files: list[Path]
) -> Iterator[tuple[str, Config]]:
    """Each configuration that can be asked for, with where it differs from the first file alone.

    The first file, or that with one scale file over it; each as it is, and with the other files and the overrides over
    it. A scale file over which the others give no valid configuration is left out, with a line: nothing can be made
    by the two. Raises UserError.
    """
    base, others = files[0], files[1:]
    for scale_file in [None, *scale_files]:
        under = [base] if scale_file is None else [base, scale_file]
        yield ", ".join(str(file) for file in under[1:]), load_config(under)
        if others or overrides:
            over = [*under[1:], *(file for file in others if file != scale_file)]
            place = ", ".join([*map(str, over), *overrides])
            try:
                config = load_config([base, *over], dict(overrides))
            except UserError as error:
                if scale_file is None or scale_file in others:  # it is the one that was asked for
                    raise
                print(f"left out, since it is no configuration: {place} ({error})", file=sys.stderr)
                continue
            yield place, config


def reached_by(configs: Iterator[tuple[str, Config]], results: Path) -> "Reached":
    """What any study of these configurations reaches, at any of their scales, until all that there is is accounted for.

    Raises UserError, with the study and the scale at which it cannot be resolved.
    """
    reached, pairs = Reached(), list(configs)
    whole, done = sum(len(config.scales) * len(config.studies) for _, config in pairs), 0
    said = time.monotonic() - EVERY + PATIENCE
    for place, config in pairs:
        for scale in sorted(config.scales, key=lambda name: name != config.scale):
            for study in config.studies:
                why = f"study {study}, scale {scale}" + (f", {place}" if place else "")
                try:
                    grid = resolve(config.model_copy(update={"scale": scale, "study": [study]}))
                except UserError as error:
                    raise UserError(f"{why}: {error}") from None
                reached.add(grid, why)
                done += 1
                if time.monotonic() - said > EVERY:
                    said = time.monotonic()
                    print(f"looked at {done} of {whole} studies, at each scale", file=sys.stderr, flush=True)
            reached.add_selections(results)
            if reached.accounts_for(results):
                return reached
    return reached


def artefacts(results: Path) -> list[str]:
    """Names of all folders that lie where artefacts do."""
    return [f"{stage}/{folder.name}" for stage in STAGES for folder in folders(results / stage)]


def folders(parent: Path) -> list[Path]:
    """The folders in one, by name; none where it is not there."""
    return sorted(path for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else []


class Reached:
    """Names of artefacts, each with the first study that reaches it."""

    def __init__(self) -> None:
        self.why: dict[str, str] = {}
        self._parts: dict[str, set[str]] = defaultdict(set)  # stage -> the parts that one study brings, as text
        self._alike: set[str] = set()  # what specs of several studies have besides, as text

    def add(self, grid: Grid, why: str) -> None:
        """What one grid reaches. why: what is said of it in messages."""
        for spec in grid.specs.values():
            for each in spec.with_members():
                self.why.setdefault(each.name, why)
            if spec.stage in TOGETHER:
                self._parts[spec.stage].update(_parts(spec.stage, spec.settings))
                self._alike.add(_alike(spec.stage, spec.settings, spec.code, spec.packages))

    def add_selections(self, results: Path) -> None:
        """Tables, figures and claims that lie in a results folder, of any selection of the studies that are known.

        So do the table of the rows that a failed run has finished, while its copy is there, and what is published, of
        whichever configuration: people look at it.
        """
        partial = results / PARTIAL_ID
        if partial.is_file():
            self.why.setdefault(
                f"tables/{partial.read_text(errors='replace').strip()}", "the finished rows of a failed run"
            )
        for stage in TOGETHER:
            for folder in folders(results / stage):
                if (name := f"{stage}/{folder.name}") not in self.why and self._is_selection(stage, folder):
                    self.why[name] = SEVERAL
        for stage, identity in PUBLISHED_IDS.items():
            if name := published_id(results / identity):
                self.why.setdefault(f"{stage}/{name}", PUBLISHED)

    def accounts_for(self, results: Path) -> bool:
        """Whether nothing lies in a results folder that is not reached."""
        begun = {folder.name for folder in folders(results / "resume")}
        return self.why.keys() >= set(artefacts(results)) and begun <= {name.split("/")[1] for name in self.why}

    def _is_selection(self, stage: str, folder: Path) -> bool:
        """Whether an artefact is made of parts that are reached, as each study's own would be made."""
        try:
            made = read_manifest(folder)
            alike = _alike(stage, made["settings"], made["code"]["digest"], made["packages"])
            parts, groups = _parts(stage, made["settings"]), made["parents"].values()
        except OtherSchema:
            raise
        except (UserError, KeyError, TypeError, AttributeError):  # damaged
            return False
        parents = [name for group in groups for name in ([group] if isinstance(group, str) else group)]
        return alike in self._alike and parts <= self._parts[stage] and all(name in self.why for name in parents)


def _parts(stage: str, settings: dict[str, Any]) -> set[str]:
    """What each study brings to an artefact of several: the rows of a table, what a figure says."""
    if stage != "tables":
        return {canonical_json(part) for part in settings.get(TOGETHER[stage] or "", [])}
    rows = defaultdict(list)
    for row in settings["rows"]:
        rows[row["study"]].append(row)
    return {canonical_json(of_study) for of_study in rows.values()}


def _alike(stage: str, settings: dict[str, Any], code: str, packages: dict[str, str]) -> str:
    """What all artefacts of a stage share, whichever studies they are of."""
    return canonical_json([stage, {key: settings[key] for key in settings if key != TOGETHER[stage]}, code, packages])
