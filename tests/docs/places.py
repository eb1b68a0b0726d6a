"""Where documented commands are run: a checkout with a Makefile, and an environment that is this test's own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from checkout import ROOT, TINY, Checkout
from pages import blocks, read

from capacity.config.load import merge
from capacity.config.yaml_files import read_yaml

COPIED = ("Makefile", "envs", "examples", "claims.yaml", "docs", "benchmarks", "slurm", "README.md")
PROGRAM = '#!/bin/sh\nexport PYTHONPATH="{scripts}"\nexec {python} {module} "$@"\n'
SET = ("ARGS", "STUDY", "SCALE", "CONFIG", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS")
NETS = next(block.text for block in blocks("docs/models.md", read("docs/models.md")) if block.language == "python")


def tiny_configuration() -> dict[str, Any]:
    """The shipped configuration's names with the sizes of the tiny one: what `built` holds is of this one too.

    `base-law` and `biographies` are the tiny studies, `atomic`, `long` and `short` the tiny things of these names; all
    other names are the shipped ones, and are planned or previewed only.
    """
    shipped, tiny = read_yaml(ROOT / "config.yaml"), read_yaml(TINY)
    named = {"base-law": tiny["studies"].pop("base"), "biographies": tiny["studies"].pop("prose")}
    shipped["studies"] = named
    return merge(shipped, {**tiny, "study": list(named), "studies": {}})


class Place:
    """A folder in which a reader types."""

    def __init__(self, path: Path):
        self.path = path

    def furnish(self) -> None:
        """What a clone has beside the engine's files, and the environment, linked."""
        for name in COPIED:
            source = ROOT / name
            shutil.copytree(source, self.path / name) if source.is_dir() else shutil.copy2(source, self.path / name)
        programs = self.path / ".venv" / "bin"
        programs.mkdir(parents=True)
        for name, module in (("python", ""), ("snakemake", "-m snakemake"), ("capacity", "-m capacity.cli")):
            text = PROGRAM.format(scripts=self.path / "scripts", python=sys.executable, module=module)
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        (programs / "activate").write_text(f"PATH={programs}:$PATH\n")
        shutil.copy(self.path / "envs" / "requirements.txt", self.path / ".venv" / "requirements.txt")
        (self.path / "nets").mkdir()
        (self.path / "nets" / "mine.py").write_text(NETS)

    @classmethod
    def tiny(cls, built: Checkout, path: Path) -> "Place":
        """A built checkout with the names of the shipped configuration."""
        built.copy(path)
        place = cls(path)
        place.furnish()
        place.write("config.yaml", tiny_configuration())
        return place

    def lay(self, part: dict[str, Any]) -> None:
        """Do with a piece of configuration what a reader may: a file of its own, and into config.yaml; one seed."""
        for study in part.get("studies", {}).values():
            study |= {"seeds": [1]} if "seeds" in study else {}
        own = self.path / "my.yaml"
        self.write("my.yaml", merge(read_yaml(own) if own.exists() else {}, part))
        self.write("config.yaml", merge(read_yaml(self.path / "config.yaml"), part))

    def write(self, name: str, config: dict[str, Any]) -> None:
        """A configuration as a file."""
        (self.path / name).write_text(yaml.safe_dump(config, sort_keys=False))

    @classmethod
    def clone(cls, path: Path) -> "Place":
        """The shipped files, nothing built but a table like the committed one."""
        Checkout.new(path)
        place = cls(path)
        place.furnish()
        shutil.copy(ROOT / "config.yaml", path)
        shutil.copytree(ROOT / "scales", path / "scales")
        shutil.copytree(ROOT / "tests", path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
        reference = path / "results" / "reference"
        shutil.copytree(ROOT / "results" / "reference", reference)
        tables = [
            pd.read_csv(reference / "laptop" / name / "capacity_table.csv") for name in ("base-law", "biographies")
        ]
        pd.concat(tables).to_csv(path / "results" / "capacity_table.csv", index=False)
        return place

    def type(self, command: str) -> tuple[int, str]:
        """Exit status, and all that a command printed."""
        environment = {name: value for name, value in os.environ.items() if name not in SET}
        path = f"{self.path / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        environment |= {"PATH": path, "CORES": "2", "OMP_NUM_THREADS": "1", "HOME": str(self.path)}
        answer = subprocess.run(
            ["bash", "-c", command],
            cwd=self.path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return answer.returncode, answer.stdout
