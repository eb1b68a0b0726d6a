"""What moves a digest and what does not: source text, reachable code, packages, plain values."""

import ast
import io
import itertools
import keyword
import os
import re
import subprocess
import sys
import tokenize
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capacity.artefacts import identity
from capacity.artefacts.identity import (
    SCRIPTS,
    canonical_json,
    check_bytecode_by_hash,
    digest,
    package_version,
    source_digest,
)
from capacity.artefacts.sources import MODEL_MODULES, NEUTRAL_MODULES, code_digest, code_files, forget_sources
from capacity.artefacts.stages import OPTIMIZER_PACKAGES, REWRITER_PACKAGES, STAGES
from capacity.errors import UserError

SOURCES = sorted(SCRIPTS.rglob("*.py"))

SAMPLE = '''"""What the module is for."""

import math
from os import path as p


@property
def rate(step, warmup=100, *, scale=1.0):
    """The learning rate of a step."""
    if step < warmup:
        return scale * step / warmup
    return scale * math.cos(step)


class Box:
    """A box."""

    size: int = 3

    async def open(self, *names, **options):
        """Open it."""
        return [f"{name!r:>{self.size}}" for name in names if name is not None]
'''


# --- source text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("import math\n", "# a remark\nimport math  # and another\n"),
        ('"""What the module is for."""', '"""Something else."""'),
        ('"""What the module is for."""\n', ""),
        ('    """The learning rate of a step."""\n', ""),
        ('    """A box."""\n', '    """A crate."""\n'),
        ('        """Open it."""\n', "        'Shut it.'\n"),
        ("\n\n\nclass", "\n\n\n\n\nclass"),
        ("step < warmup", "(step  <  warmup)"),
        ("warmup=100", "warmup=1_00"),
        ("scale=1.0)", "scale=1e0,\n)"),
        ("from os import path as p", "from os import (\n    path as p,\n)"),
        ('f"{name!r:>{self.size}}"', "f'{name!r:>{self.size}}'"),
        ("return scale * step / warmup", "return scale \\\n            * step / warmup"),
        ("\n", "\r\n"),
    ],
)
def test_comments_docstrings_and_formatting_do_not_move_a_source_digest(old: str, new: str):
    assert old in SAMPLE
    assert source_digest(SAMPLE.replace(old, new)) == source_digest(SAMPLE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("warmup=100", "warmup=101"),
        ("warmup=100", "warmup=100.0"),
        ("warmup=100", "warmup=True"),
        ("warmup=100", "warmup=None"),
        ("warmup=100", "warmup"),
        ("step < warmup", "step <= warmup"),
        ("step / warmup", "step // warmup"),
        ("math.cos", "math.sin"),
        ("@property\n", ""),
        ("@property", "@staticmethod"),
        ("*, scale", "scale"),
        ("step, warmup=100", "warmup, step=100"),
        ("as p", "as q"),
        ("class Box:", "class Box(dict):"),
        ("size: int = 3", "size: int"),
        ("size: int", "size: float"),
        ("async def", "def"),
        ("*names, **options", "*options, **names"),
        ("!r", "!s"),
        (":>{", ":<{"),
        (" if name is not None", ""),
        ("is not None", "is None"),
        ("    return scale * math.cos(step)\n", "    return\n"),
        ('        """Open it."""\n', '        print("Open it.")\n'),
    ],
)
def test_a_change_of_meaning_moves_a_source_digest(old: str, new: str):
    assert old in SAMPLE
    assert source_digest(SAMPLE.replace(old, new, 1)) != source_digest(SAMPLE)


def test_return_none_differs_from_return_and_none_from_a_missing_value():
    sources = [
        "def f():\n    return",
        "def f():\n    return None",
        "def f():\n    return 0",
        "def f():\n    return ()",
    ]
    assert len({source_digest(source) for source in sources}) == len(sources)


def _tokens(source: str) -> list[tokenize.TokenInfo]:
    return list(tokenize.generate_tokens(io.StringIO(source).readline))


def _with_token(source: str, token: tokenize.TokenInfo, text: str) -> str:
    lines = source.splitlines(keepends=True)
    row, (start, stop) = token.start[0] - 1, (token.start[1], token.end[1])
    lines[row] = lines[row][:start] + text + lines[row][stop:]
    return "".join(lines)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_remark_or_a_blank_line_anywhere_in_our_code_moves_no_digest(data: st.DataObject):
    source = data.draw(st.sampled_from(SOURCES)).read_text()
    ends = [token for token in _tokens(source) if token.type == tokenize.NEWLINE]
    for end in data.draw(st.lists(st.sampled_from(ends), max_size=1) if ends else st.just([])):
        remark = data.draw(st.sampled_from(["  # a remark", "\n", "\n\n# a remark", "   "]))
        edited = _with_token(source, end, remark + "\n")
        assert source_digest(edited) == source_digest(source)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_another_name_or_number_anywhere_in_our_code_moves_its_digest(data: st.DataObject):
    source = data.draw(st.sampled_from(SOURCES)).read_text()
    words = [
        token
        for token in _tokens(source)
        if token.type == tokenize.NUMBER or (token.type == tokenize.NAME and not keyword.iskeyword(token.string))
    ]
    for word in data.draw(st.lists(st.sampled_from(words), max_size=1) if words else st.just([])):
        text = f"{word.string}1" if word.type == tokenize.NAME else f"1{word.string}"
        assert source_digest(_with_token(source, word, text)) != source_digest(source)


def test_the_digest_of_a_source_is_the_same_under_every_python():
    """The expected value was computed by Python 3.11 and 3.13; a newer one must give it too."""
    assert source_digest(SAMPLE) == "b7dc356bac9ab4099bd280c943e45a4d0646c4e9a87b38c9a8370ef134455f63"


@pytest.mark.parametrize("empty", [[], None])
def test_a_field_that_a_newer_python_adds_to_its_trees_changes_nothing(monkeypatch: pytest.MonkeyPatch, empty: Any):
    before = source_digest(SAMPLE)
    monkeypatch.setattr(ast.FunctionDef, "_fields", (*ast.FunctionDef._fields, "added"))
    monkeypatch.setattr(ast.FunctionDef, "added", empty, raising=False)
    assert source_digest(SAMPLE) == before
    monkeypatch.setattr(ast.FunctionDef, "added", [1])
    assert source_digest(SAMPLE) != before


# --- reachable code


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A scripts folder in which `job.py` reaches `a`, `pack`, `pack.b`, `pack.c` and `late`, not `other`."""
    files = {
        "job.py": "import a\n\ndef main():\n    from pack import b\n    import capacity.errors\n",
        "a.py": "import json\nX = 1\n",
        "pack/__init__.py": "",
        "pack/b.py": "from . import c\nif X:\n    from late import Y\n",
        "pack/c.py": "",
        "pack/d.py": "import other\n",
        "late.py": "Y = 1\n",
        "other.py": "",
        "capacity/__init__.py": "",
        "capacity/errors.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_reachable_code_follows_every_kind_of_import_and_leaves_neutral_modules_out(tree: Path):
    reached = {name: path.relative_to(tree).as_posix() for name, path in code_files("job.py", tree).items()}
    assert reached == {
        "__main__": "job.py",
        "a": "a.py",
        "late": "late.py",
        "pack": "pack/__init__.py",
        "pack.b": "pack/b.py",
        "pack.c": "pack/c.py",
    }


@pytest.mark.parametrize("file", ["job.py", "a.py", "pack/__init__.py", "pack/b.py", "pack/c.py", "late.py"])
def test_an_edit_of_a_reachable_file_moves_the_code_digest_and_a_remark_does_not(tree: Path, file: str):
    before = code_digest("job.py", tree)
    (tree / file).write_text((tree / file).read_text() + "\n# a remark\n")
    forget_sources()
    assert code_digest("job.py", tree) == before
    (tree / file).write_text((tree / file).read_text() + "\nPLANTED = 1\n")
    assert code_digest("job.py", tree) == before, "sources are frozen for the run until they are forgotten"
    forget_sources()
    assert code_digest("job.py", tree) != before


@pytest.mark.parametrize("file", ["other.py", "pack/d.py", "capacity/errors.py", "capacity/__init__.py"])
def test_an_edit_of_any_other_file_leaves_the_code_digest(tree: Path, file: str):
    before = code_digest("job.py", tree)
    (tree / file).write_text("PLANTED = 1\n")
    forget_sources()
    assert code_digest("job.py", tree) == before


def test_code_that_moves_to_another_module_moves_the_digest(tree: Path):
    before = code_digest("job.py", tree)
    (tree / "a.py").write_text("import json\nfrom late import Y as X\n")
    forget_sources()
    assert code_digest("job.py", tree) != before


@pytest.mark.parametrize("file", ["job.py", "a.py", "pack/__init__.py", "late.py"])
def test_a_reachable_file_that_is_no_python_is_one_line(tree: Path, file: str):
    (tree / file).write_text("X = 1\nY = (\n")
    with pytest.raises(UserError, match=rf"{file}, line 2: .*fix it") as caught:
        code_files("job.py", tree)
    assert "\n" not in str(caught.value)


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _module_file(name: str) -> Path | None:
    base = SCRIPTS.joinpath(*name.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _imports(path: Path, package: str) -> set[str]:
    """Dotted names that a file's import statements could mean, submodules included."""
    names: set[str] = set()
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return {".".join(name.split(".")[:end]) for name in names for end in range(1, name.count(".") + 2)}


def _closure(path: Path) -> dict[str, Path]:
    """Modules of `scripts/` that a file reaches, neutral ones included, by reading import statements only."""
    found: dict[str, Path] = {}
    todo = [(path, "")]
    while todo:
        file, package = todo.pop()
        for name in _imports(file, package):
            target = _module_file(name)
            if target and name not in found:
                found[name] = target
                todo.append((target, name if target.name == "__init__.py" else name.rpartition(".")[0]))
    return found


ALL_MODELS = tuple(MODEL_MODULES)
STAGE_SCRIPTS = [stage.script for stage in STAGES.values()]


@pytest.mark.parametrize("script", STAGE_SCRIPTS)
def test_the_code_of_a_stage_is_what_its_import_statements_reach(script: str):
    expected = {name for name in _closure(SCRIPTS / script) if name not in NEUTRAL_MODULES}
    assert set(code_files(script, for_model=ALL_MODELS)) == expected | {"__main__"}
    assert set(code_files(script)) == (expected | {"__main__"}) - MODEL_MODULES.keys()


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.glob("*.py")))
def test_no_job_reaches_the_configuration_or_the_plan(script: str):
    reached = _closure(SCRIPTS / script)
    assert not [name for name in reached if name.startswith("capacity.config")]
    assert not reached.keys() & {
        "capacity.plan.survey",
        "capacity.plan.prepare",
        "capacity.plan.forecast",
        "capacity.plan.run_states",
        "capacity.plan.orphans",
        "capacity.plan.reachable",
        "capacity.plan.gaps",
    }


WORK = {
    "datasets": {"capacity.world.biod", "capacity.world.bios", "capacity.world.facts"},
    "rewritings": {"capacity.rewriting.check", "capacity.rewriting.paraphrase", "capacity.rewriting.endpoint"},
    "tokenizers": {"capacity.tokenizers.tokenization", "capacity.world.render"},
    "checkpoints": {
        "capacity.training.loop",
        "capacity.training.pretraining",
        "capacity.models.build",
        "capacity.training.batches",
        "capacity.world.render",
    },
    "variants": {"capacity.quantization.quantize"},
    "probes": {"capacity.probe.score", "capacity.models.build", "capacity.world.render"},
    "questions": {"capacity.extraction.questions", "capacity.extraction.wordings"},
    "finetunes": {"capacity.extraction.finetune", "capacity.extraction.mixed", "capacity.extraction.adapt"},
    "answers": {"capacity.extraction.answers", "capacity.probe.score"},
    "tables": {"capacity.tables.rows", "capacity.tables.bits", "capacity.tables.summary"},
    "claims": {"capacity.tables.claims"},
    "figures": {"capacity.figures.capacity", "capacity.figures.figure1", "capacity.figures.studies"},
}


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_its_script_and_rule_and_reaches_the_modules_that_do_its_work(stage: str):
    assert (SCRIPTS / STAGES[stage].script).is_file()
    rules = "".join(path.read_text() for path in (SCRIPTS.parent / "rules").glob("*.smk"))
    assert f"rule {STAGES[stage].rule}:" in rules
    assert f"python scripts/{STAGES[stage].script} --spec" in rules
    assert code_files(STAGES[stage].script).keys() >= WORK[stage]


@pytest.mark.parametrize(
    ("module", "stages"),
    [
        ("capacity.training.loop", {"checkpoints", "finetunes"}),
        ("capacity.extraction.adapt", {"finetunes"}),
        ("capacity.extraction.wordings", {"questions", "finetunes", "answers"}),
        ("capacity.quantization.quantize", {"variants"}),
        ("capacity.probe.score", {"probes", "answers"}),
        ("capacity.figures.capacity", {"figures"}),
        (
            "capacity.tokenizers.tokenization",
            {"tokenizers", "checkpoints", "variants", "probes", "questions", "finetunes", "answers"},
        ),
    ],
)
def test_a_module_of_some_stages_is_in_no_other_stage(module: str, stages: set[str]):
    assert {stage for stage in STAGES if module in code_files(STAGES[stage].script)} == stages


def test_the_list_of_neutral_modules_changes_only_on_purpose():
    """Each of them runs, records or shows a job. Adding one here says: it cannot change a number."""
    assert {
        "capacity",
        "capacity.artefacts",
        "capacity.artefacts.identity",
        "capacity.artefacts.making",
        "capacity.artefacts.manifest",
        "capacity.artefacts.hash_index",
        "capacity.artefacts.settings",
        "capacity.artefacts.sources",
        "capacity.artefacts.spec",
        "capacity.artefacts.stages",
        "capacity.artefacts.store",
        "capacity.environment",
        "capacity.errors",
        "capacity.jobs",
        "capacity.jobs.allocation",
        "capacity.jobs.gpu_locks",
        "capacity.jobs.gpus",
        "capacity.jobs.job",
        "capacity.jobs.lease",
        "capacity.jobs.progress",
        "capacity.jobs.run_file",
        "capacity.jobs.run_loggers",
        "capacity.jobs.startup",
        "capacity.jobs.training_files",
    } == NEUTRAL_MODULES


def test_every_neutral_module_is_one_that_a_stage_imports():
    reached = set().union(*(_closure(SCRIPTS / script) for script in STAGE_SCRIPTS))
    assert reached >= NEUTRAL_MODULES


@pytest.mark.parametrize("name", sorted(NEUTRAL_MODULES))
def test_nothing_hides_behind_a_neutral_module(name: str):
    path = _module_file(name)
    assert path is not None, f"{name} does not exist"
    assert set(_closure(path)) <= NEUTRAL_MODULES


LIBRARY = sorted({path for script in STAGE_SCRIPTS for path in code_files(script, for_model=ALL_MODELS).values()})


def _calls(tree: ast.AST) -> set[str]:
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.relative_to(SCRIPTS).as_posix())
def test_code_that_counts_imports_nothing_by_a_computed_name_and_reads_no_docstring(path: Path):
    tree = _parsed(path)
    forbidden = {"__import__", "importlib.import_module", "import_module", "exec", "eval", "runpy.run_path"}
    if path.name == "modeling_wrapped.py":  # a user's factory, whose source is in the spec by content
        forbidden.remove("importlib.import_module")
    assert not _calls(tree) & forbidden, "an import that the digest of the code cannot follow"
    docstrings = [node for node in ast.walk(tree) if getattr(node, "id", getattr(node, "attr", "")) == "__doc__"]
    uses = ast.unparse(tree).count("job_parser(__doc__)")
    assert len(docstrings) == uses, "docstrings are not in the digest of the code, so no number may follow from one"


def test_code_that_counts_reads_files_of_the_repository_in_one_place_only():
    readers = {path.relative_to(SCRIPTS).as_posix() for path in LIBRARY if "__file__" in path.read_text()}
    assert readers == {"capacity/world/pools.py"}, "such files must enter the spec by content, as the value lists do"


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.relative_to(SCRIPTS).as_posix())
def test_code_imported_after_a_job_began_is_checked_again(path: Path):
    tree = _parsed(path)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    late = [
        node
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("capacity")
    ]
    assert not late or "job.check_again" in _calls(tree), f"line {late[0].lineno}: an edit in between would go unseen"


# Packages that only carry bytes: their version cannot change a number that is read back.
CARRIERS = {"huggingface_hub", "pyarrow", "pydantic", "safetensors"}
# Packages that a stage can reach but never calls: a world is made without the renderer in its package.
DISTRIBUTIONS = metadata.packages_distributions()


def _outside(path: Path) -> set[str]:
    """Distributions, as installers name them, that a file imports from."""
    names = {name.split(".")[0] for name in _imports(path, "capacity")} - sys.stdlib_module_names - {"capacity", ""}
    return {DISTRIBUTIONS[name][0] for name in names if _module_file(name) is None}


def test_every_package_that_a_stage_imports_is_in_its_identity_or_in_that_of_a_parent():
    parents = {"tokenizers": ["datasets"], "variants": ["checkpoints"], "figures": ["tables"], "claims": ["tables"]}
    parents |= {"checkpoints": ["datasets", "tokenizers"], "tables": ["probes"]}
    parents["probes"] = ["datasets", "tokenizers", "variants", "checkpoints"]
    parents |= {"finetunes": ["checkpoints"], "answers": ["finetunes"]}
    optimizers = set().union(*OPTIMIZER_PACKAGES.values())  # fine-tunings reach their module and take AdamW
    besides = {
        "rewritings": set().union(*REWRITER_PACKAGES.values()),
        "checkpoints": optimizers,
        "finetunes": optimizers,
    }
    for name, stage in STAGES.items():
        known = besides.get(name, set()) | set(stage.packages).union(
            *(STAGES[parent].packages for parent in parents.get(name, []))
        )
        imported = set().union(*(_outside(path) for path in code_files(stage.script, for_model=ALL_MODELS).values()))
        missing = imported - known - CARRIERS
        assert not missing, f"{name}: a version that can change its numbers is in no identity"


# --- bytecode


def _answer(folder: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [sys.executable, "-c", "import lib; print(lib.X)"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True).stdout.strip()


def test_an_edit_that_keeps_size_and_time_is_what_runs(tmp_path: Path):
    source = tmp_path / "lib.py"
    source.write_text("X = 1\n")
    stat = source.stat()
    assert _answer(tmp_path) == "1"
    check_bytecode_by_hash(tmp_path)
    source.write_text("X = 2\n")
    os.utime(source, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert _answer(tmp_path) == "2"
    source.write_text("X = 3\n")
    os.utime(source, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert _answer(tmp_path) == "3", "bytecode that Python wrote anew is checked by hash too"


def test_bytecode_is_compiled_anew_only_once(tmp_path: Path):
    (tmp_path / "lib.py").write_text("X = 1\n")
    _answer(tmp_path)
    check_bytecode_by_hash(tmp_path)
    (bytecode,) = tmp_path.glob("__pycache__/*")
    before = bytecode.stat().st_ino
    check_bytecode_by_hash(tmp_path)
    assert bytecode.stat().st_ino == before


# --- packages


def test_the_build_of_a_package_for_some_hardware_is_not_its_version(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(identity.metadata, "version", lambda name: {"planted-a": "2.1.0+cpu"}[name])
    assert package_version("planted-a") == "2.1.0"


@pytest.mark.parametrize("name", ["no-such-package", "", "../no"])
def test_a_package_that_is_not_installed_is_one_line(name: str):
    with pytest.raises(UserError, match=f"{re.escape(name)} is not installed"):
        package_version(name)


# --- plain values


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [-float("inf")], {"lr": float("nan")}])
def test_a_value_that_is_not_a_number_has_no_canonical_text(value: Any):
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(value)


def test_canonical_text_keeps_types_and_nesting_apart():
    values = [
        1,
        1.0,
        True,
        "1",
        None,
        "null",
        [],
        {},
        [1],
        [[1]],
        {"a": 1},
        {"a": {"b": 1}},
        {"a.b": 1},
        "",
        0,
        False,
        0.0,
    ]
    assert len({canonical_json(value) for value in values}) == len(values)
    assert len({digest(value) for value in values}) == len(values)


def test_every_order_of_keys_gives_the_same_digest():
    items = [("l", 2), ("h", 4), ("regime", {"lr": 0.01, "betas": [0.9, 0.98]})]
    assert len({digest(dict(spec)) for spec in itertools.permutations(items)}) == 1


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def _typed(value: Any) -> Any:
    """A value in which 1, 1.0 and True, and 0.0 and -0.0, differ, whatever the order of keys."""
    if isinstance(value, dict):
        return {key: _typed(inner) for key, inner in value.items()}
    return [_typed(inner) for inner in value] if isinstance(value, list) else (type(value), repr(value))


@settings(deadline=None)
@given(PLAIN, PLAIN)
def test_canonical_texts_are_equal_exactly_when_the_values_are(a: Any, b: Any):
    assert (canonical_json(a) == canonical_json(b)) == (_typed(a) == _typed(b))
    assert re.search(r"\s", re.sub(r'"(\\.|[^"\\])*"', "", canonical_json(a))) is None


# --- settings


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("    rate: float", False),
        ("    rate: float = 1.0", True),
        ("    def bits(self) -> int:\n        return self.width", True),
    ],
)
def test_a_field_of_a_stages_settings_does_not_count_and_all_else_does(tmp_path: Path, line: str, counts: bool):
    """Its value is in the spec; a default, or what is done with it, is code."""
    source = "class Settings: ...\n\n\nclass Mine(Settings):\n    width: int\n"
    for name in ("spec.py", "other.py"):
        (tmp_path / "job.py").write_text(f"import {name.removesuffix('.py')}\n")
        (tmp_path / name).write_text(source)
        forget_sources()
        before = code_digest("job.py", tmp_path)
        (tmp_path / name).write_text(f"{source}{line}\n")
        forget_sources()
        assert (code_digest("job.py", tmp_path) != before) == (counts or name == "other.py")


RULES = [path for path in sorted((SCRIPTS.parent / "rules").glob("*.smk")) if "rule " in path.read_text()]


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_rules_say_nothing_by_which_the_engine_would_rerun_or_share_on_its_own(path: Path):
    """Its own reruns by code and params, its cache and its checkpoints know nothing of specs."""
    keys = set(re.findall(r"^    (\w+):", path.read_text(), re.MULTILINE))
    assert keys <= {"input", "output", "log", "priority", "threads", "resources", "message", "shell", "localrule"}, path
    commands = re.findall(r"^    shell:\n((?:        .*\n?)+)", path.read_text(), re.MULTILINE)
    named = {name for command in commands for name in re.findall(r"\{(\w+)", command)}
    assert named <= {"wildcards", "input", "output", "log"}, path
