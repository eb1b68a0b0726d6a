"""The folders of the library are layers: a module imports its own folder and lower ones, never a later one."""

import ast
import importlib
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[1] / "scripts" / "capacity"

# From the ground up. A line sees itself and the lines above; of two stages on the way from facts to numbers, the later.
LAYERS = (
    *("errors", "environment", "kernels", "artefacts", "jobs"),
    *("world", "rewriting", "tokenizers", "models", "quantization", "training", "probe", "extraction"),
    *("tables", "figures", "hub"),
    *("config", "plan", "watch", "measure", "audit", "cli", "api"),
)
STAGES = set(LAYERS[LAYERS.index("world") : LAYERS.index("tables")])


def modules(root: Path = LIBRARY) -> dict[str, Path]:
    """Dotted name below the package to file; a folder's own name is its __init__.py."""
    names = {path: path.relative_to(root).with_suffix("").parts for path in root.rglob("*.py")}
    return {".".join(part for part in parts if part != "__init__"): path for path, parts in names.items()}


def imports(path: Path) -> Iterator[str]:
    """Dotted names below `capacity` that a file imports, inside functions and for type checkers too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "capacity":
            yield from (f"{node.module}.{alias.name}".removeprefix("capacity.") for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (
                alias.name.removeprefix("capacity.") for alias in node.names if alias.name.startswith("capacity.")
            )


def back_arrows(root: Path = LIBRARY) -> list[str]:
    """Imports of a later layer."""
    arrows = []
    for name, path in modules(root).items():
        own = name.split(".")[0]
        for imported in imports(path):
            if own and LAYERS.index(imported.split(".")[0]) > LAYERS.index(own):
                arrows.append(f"{name} imports {imported}")
    return arrows


def test_every_folder_has_a_place_among_the_layers() -> None:
    assert {name.split(".")[0] for name in modules() if name} == set(LAYERS)


def test_no_layer_imports_a_later_one() -> None:
    assert back_arrows() == []


@pytest.mark.parametrize(
    ("stage", "line"),
    [
        ("world/facts.py", "from capacity.training import loop"),
        ("artefacts/manifest.py", "from capacity.world import facts"),
        ("training/loop.py", "def late():\n    import capacity.tables.bits"),
    ],
)
def test_a_back_arrow_is_found(stage: str, line: str, tmp_path: Path) -> None:
    for path in LIBRARY.rglob("*.py"):
        target = tmp_path / path.relative_to(LIBRARY)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path.read_text() + ("\n" + line if target == tmp_path / stage else ""))
    assert len(back_arrows(tmp_path)) == 1


def test_a_configuration_is_checked_without_large_libraries() -> None:
    """They are not installed where the newest Python checks one (.ci/newest-python), and each costs every plan time."""
    large = {
        "tokenizers",
        "torch",
        "transformers",
        "pandas",
        "snakemake",
        "lightning",
        "peft",
        "safetensors",
        "matplotlib",
    }
    code = "import sys, capacity.plan.grid; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert large & set(result.stdout.split()) == set()


@pytest.mark.parametrize("script", sorted((LIBRARY.parents[1] / "benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_a_benchmark_imports_what_there_is(script: Path) -> None:
    """They run seldom, and no test runs them."""
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("capacity"):
            module, there = str(node.module), modules()
            asked = {each.name for each in node.names if f"{module}.{each.name}".removeprefix("capacity.") not in there}
            assert vars(importlib.import_module(module)).keys() >= asked, module
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    helped = subprocess.run([sys.executable, script, "--help"], env=environment, capture_output=True, text=True)
    assert helped.returncode == 0, helped.stderr


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    known = modules()
    edges = {
        name: {target for found in imports(path) if (target := found if found in known else found.rpartition(".")[0])}
        for name, path in known.items()
    }
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join([*way[way.index(name) :], name])
        if name not in done:
            for target in edges.get(name, ()):
                if target != name and not (target and name.startswith(f"{target}.")):
                    visit(target, (*way, name))
            done.add(name)

    for name in known:
        visit(name, ())


def test_no_two_modules_have_one_name() -> None:
    """Each stage has its own spec.py; all else is found by its name alone."""
    places = defaultdict(list)
    for name in modules():
        places[name.rpartition(".")[2]].append(name)
    assert {last: found for last, found in places.items() if len(found) > 1 and last not in ("spec", "")} == {}


def test_no_two_public_classes_have_one_name() -> None:
    places = defaultdict(list)
    for name, path in modules().items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(name)
    assert {kind: found for kind, found in places.items() if len(found) > 1} == {}
