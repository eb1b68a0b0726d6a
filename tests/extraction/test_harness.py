"""The task for lm-evaluation-harness, and, where `make harness` has installed it, its answer beside ours."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from test_questions import KINDS, SPEC
from worlds import TOKENIZERS, made_tokenizer, world_of

from capacity.extraction.harness import write_task
from capacity.extraction.questions import encode, full_names, groups_of
from capacity.world.grammar import EOS_TOKEN

sys.path.insert(0, str(Path(__file__).parents[1] / "crosscheck"))

from harness import HARNESS, make_model_and_task, run_harness


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_asks_every_held_out_person_every_question_and_nobody_else(kind: str, tmp_path: Path):
    world = world_of(KINDS[kind])
    tokenizer = made_tokenizer(TOKENIZERS["word"], world)
    count = write_task(world, tokenizer, SPEC, "task", tmp_path)
    task = yaml.safe_load((tmp_path / "task.yaml").read_text())
    rows = [json.loads(line) for line in Path(task["dataset_kwargs"]["data_files"]["test"]).read_text().splitlines()]
    held_out = groups_of(world, SPEC)[2]
    assert len(rows) == count
    assert {row["person"] for row in rows} == set(held_out.tolist())
    names = dict(zip(held_out.tolist(), full_names(world, held_out), strict=True))
    assert all(row["prompt"].startswith(EOS_TOKEN) and names[row["person"]] in row["prompt"] for row in rows)
    assert len({(row["person"], row["attribute"], row["wording"]) for row in rows}) == count
    room = task["generation_kwargs"]["max_gen_toks"]
    assert room == 1 + max(map(len, encode(tokenizer, [row["answer"] for row in rows])))
    assert np.unique([row["person"] for row in rows], return_counts=True)[1].std() == 0


@pytest.mark.skipif(not HARNESS.is_file(), reason="lm-evaluation-harness is not installed; `make harness` does it")
def test_the_harness_finds_the_accuracy_of_our_probe(tmp_path: Path):
    ours = make_model_and_task(tmp_path)
    assert 0.1 < ours < 0.9
    assert run_harness(tmp_path) == pytest.approx(ours, abs=1e-9)
