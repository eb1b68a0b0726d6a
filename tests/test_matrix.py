"""Promises of the matrix of options: every valid pair is in a row, every other is refused before any job.

That rows come to numbers is tried in tests/long/test_matrix_whole.py, all of them.
"""

import json
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest
from checkout import Checkout
from configuration import configuration, write, write_files
from covering import Rule, Space, cover
from dimensions import DIMENSIONS, SECTIONS, SPACE
from running import covering

from capacity.config.dataset import BioD, BioR, BioS, Junk, Records
from capacity.config.extractions import Extraction
from capacity.config.model import Experts, Model
from capacity.config.quantizer import Quantizer
from capacity.config.regime import Regime
from capacity.config.scale import Scale
from capacity.config.tokenizer import Bpe, Pretrained

REFUSALS = Path(__file__).parent / "matrix" / "refusals.py"
MODELS = {
    "datasets": (BioD, BioS, BioR, Records, Junk),
    "tokenizers": (Bpe, Pretrained),
    "models": (Model, Experts),
    "regimes": (Regime,),
    "quantizers": (Quantizer,),
    "extractions": (Extraction,),
    "scales": (Scale,),
}
# Options that the matrix leaves out: they need a network, or Hugging Face's cache.
ELSEWHERE = {"name", "revision"}


def keys_in(value: object) -> set[str]:
    """All keys of nested mappings."""
    if not isinstance(value, dict):
        return set()
    return {*value, *set().union(*map(keys_in, value.values()))} if value else set()


def test_every_valid_pair_of_options_stands_in_a_row(capsys: pytest.CaptureFixture):
    made = covering()
    with capsys.disabled():
        print(f"\n{made}")
    together = [{frozenset(pair) for pair in combinations(row.items(), 2)} for row in made.rows]
    values = [(name, value) for name, some in DIMENSIONS.items() for value in some]
    pairs = {frozenset(pair) for pair in combinations(values, 2) if pair[0][0] != pair[1][0]}
    assert len(pairs) == len(made.pairs)
    impossible = {frozenset(pair) for pair in made.pairs if not SPACE.completed(dict(pair), SPACE.rules)}
    assert pairs - set().union(*together) == impossible
    assert not any(rule.broken_by(row) for rule in SPACE.rules for row in made.rows)


@pytest.mark.parametrize("section", SECTIONS)
def test_no_option_of_the_configuration_is_left_out(section: str):
    """A new option needs a value in the matrix, or a reason why it has none."""
    used = keys_in(configuration(covering().rows)[section])
    known = {key for model in MODELS[section] for key in model.model_fields}
    assert known - used - ELSEWHERE == set()


def test_a_covering_leaves_out_no_pair_that_a_third_value_forces_or_forbids():
    """Planted: a is 1 only where b is 2, b is 2 only where c is 3: (a 1, c 1) is no pair, though no rule names it."""
    one = Rule(("a", "b"), lambda a, b: a == "1" and b != "2", "b")
    two = Rule(("b", "c"), lambda b, c: b == "2" and c != "3", "c")
    space = Space({"a": "12", "b": "12", "c": "123"}, [one, two])
    made = cover(space)
    assert len(made.pairs) == 4 + 6 + 6
    assert len(made.pairs) - len(made.valid) == 1 + 2 + 2
    assert made.valid <= made.covered
    assert space.refused((("a", "1"), ("c", "1"))) is not None


def test_every_pair_that_cannot_be_is_refused_in_one_line_before_any_job(tmp_path: Path):
    """By the checks that a run makes first; here in one process for all."""
    checkout = Checkout.new(tmp_path / "checkout")
    write_files(checkout.path)
    made = covering()
    broken = [SPACE.refused(pair) for pair in made.pairs if pair not in made.valid]
    assert None not in broken
    configs = [configuration([row]) for row, _ in broken]
    answer = subprocess.run(
        [sys.executable, str(REFUSALS)],
        cwd=checkout.path, env=checkout.environment(), input=json.dumps(configs), capture_output=True, text=True,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    for line, (row, rule) in zip(json.loads(answer.stdout), broken, strict=True):
        assert line is not None, row
        assert re.search(rule.refusal, line), (line, rule.refusal)
        assert "\n" not in line


def test_the_engine_refuses_such_a_pair_before_it_makes_anything(tmp_path: Path):
    checkout = Checkout.new(tmp_path / "checkout")
    write_files(checkout.path)
    row, rule = SPACE.refused((("model", "gpt2"), ("tensors", "head")))
    write(configuration([row]), checkout.path / "config.yaml")
    answer = checkout.engine(targets=("results/capacity_table.csv",))
    errors = [line for line in answer.stdout.splitlines() if line.startswith("error:")]
    assert answer.returncode == 1
    assert len(errors) == 1
    assert re.search(rule.refusal, errors[0])
    assert list((checkout.path / "results").glob("*/*")) == []
