"""A copy of the project with a tiny configuration, on which tests drive the real engine."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from forked import run_module
from job_server import job_server

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("Snakefile", "rules", "report", "scripts", "profiles", "pyproject.toml")
WRITTEN_JUST_NOW = shutil.ignore_patterns("*.pyc.*", ".sources.json.*")  # bytecode, and what is kept beside it
TINY = Path(__file__).with_name("tiny.yaml")
COMMAND = re.compile(r"python scripts/(\w+)\.py(?: --spec results/specs/([\w-]+)\.json)?")
TARGETS = ("results/capacity_table.csv", "results/figures/capacity.png")

Jobs = set[tuple[str, str]]  # (rule, slug of the artefact without its digest)


@dataclass
class Checkout:
    """A working copy in a folder of its own."""

    path: Path
    python_path: str = ""

    @classmethod
    def new(cls, path: Path) -> "Checkout":
        """The sources of this repository with the tiny configuration and nothing built."""
        path.mkdir(parents=True)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, path / name, ignore=WRITTEN_JUST_NOW)
            else:
                shutil.copy2(source, path / name)
        shutil.copy2(TINY, path / "config.yaml")
        return cls(path)

    def copy(self, path: Path) -> "Checkout":
        """Everything, results and engine metadata and times included."""
        shutil.copytree(self.path, path, symlinks=True)
        return Checkout(path)

    def engine(self, *words: str, targets: tuple[str, ...] = TARGETS) -> subprocess.CompletedProcess[str]:
        """Run the engine here as a user would; its output is in stdout."""
        command = (*targets, "--cores", "2", "-p", *words)
        return run_module("snakemake", command, self.path, self.environment() | job_server(), together=True)

    def environment(self) -> dict[str, str]:
        """The test's environment, this interpreter first, one thread."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        library = os.pathsep.join(filter(None, [str(self.path / "scripts"), self.python_path]))
        return {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "PYTHONPATH": library}

    def planned(self, *words: str) -> Jobs:
        """The jobs that a dry run lists."""
        answer = self.engine("-n", *words)
        assert answer.returncode == 0, answer.stdout
        return jobs_in(answer.stdout)

    def build(self, *words: str, targets: tuple[str, ...] = TARGETS) -> Jobs:
        """Run for real; the jobs that ran."""
        answer = self.engine(*words, targets=targets)
        assert answer.returncode == 0, answer.stdout + self.logs()
        return jobs_in(answer.stdout)

    def script(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one of the scripts of the rules."""
        command = [sys.executable, f"scripts/{name}", *words]
        environment = self.environment() | job_server()
        return subprocess.run(command, cwd=self.path, env=environment, capture_output=True, text=True)

    def capacity(self, verb: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one of the verbs that people type."""
        return run_module("capacity.cli", (verb, *words), self.path, self.environment())

    def forget(self) -> None:
        """Lose the engine's memory."""
        shutil.rmtree(self.path / ".snakemake")

    def take_sources(self, other: "Checkout") -> None:
        """Undo every edit: the sources of another checkout, the results of this one."""
        for name in (*COPIED, "config.yaml"):
            target = self.path / name
            shutil.rmtree(target) if target.is_dir() else target.unlink()
            source = other.path / name
            shutil.copytree(source, target) if source.is_dir() else shutil.copyfile(source, target)
        self.python_path = other.python_path

    def logs(self) -> str:
        """Ends of all job logs, for a failing test's message."""
        files = sorted((self.path / "results" / "logs").rglob("*.log"))
        return "\n".join(f"--- {file.name}\n{file.read_text()[-800:]}" for file in files if file.stat().st_size)

    def edit(self, file: str, change: Callable[[str], str]) -> None:
        """Change a file's text; a change that changes nothing is a mistake of the test."""
        path = self.path / file
        text = path.read_text()
        changed = change(text)
        assert changed != text, f"the edit of {file} did nothing"
        path.write_text(changed)

    def replace(self, file: str, old: str, new: str) -> None:
        """Replace a text that stands in a file exactly once."""
        assert (self.path / file).read_text().count(old) == 1, f"{old!r} does not stand once in {file}"
        self.edit(file, lambda text: text.replace(old, new))

    def artefact(self, stage: str, slug: str) -> Path:
        """The folder of the one artefact of a stage with a slug."""
        found = [path for path in (self.path / "results" / stage).iterdir() if path.name.rsplit("-", 1)[0] == slug]
        assert len(found) >= 1, f"no {stage}/{slug}"
        with_manifest = sorted(found, key=lambda path: path.stat().st_mtime)
        return with_manifest[-1]

    def table(self) -> bytes:
        """The published capacity table."""
        return (self.path / "results" / "capacity_table.csv").read_bytes()


def jobs_in(output: str) -> Jobs:
    """Rule and slug of each job whose command the engine printed."""
    return {(match[1], (match[2] or "").rpartition("-")[0]) for match in COMMAND.finditer(output)}
