"""lm-evaluation-harness, offline, on a model of ours and a task that we wrote: the accuracy of our own probe.

The harness has an environment of its own (envs/harness.txt, `make harness`). The model is a tiny one, fine-tuned on the
very questions of the task, and too briefly, so that it answers some of them.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from worlds import made_tokenizer

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]
HARNESS = ROOT / ".venv-harness" / "bin" / "lm_eval"
TASK = "tiny"


def make_model_and_task(folder: Path) -> float:
    """Write model/ and task/ into the folder; the accuracy that our probe finds."""
    from trainings import HARDWARE, WORLD, spec_of, train
    from worlds import make_world

    from capacity.extraction.answers import answer_texts
    from capacity.extraction.finetune import finetune
    from capacity.extraction.harness import write_task
    from capacity.extraction.questions import read_asked, read_texts, write_questions
    from capacity.extraction.record import write_finetuned
    from capacity.extraction.spec import Full, QuestionSettings
    from capacity.tokenizers.tokenization import save_tokenizer

    train(folder, spec_of())
    asked = QuestionSettings(asked=0.5, choosing=0.0, wordings={}, seed=7)
    world, questions, model_folder, task = make_world(WORLD), folder / "questions", folder / "model", folder / "task"
    for each in (questions, model_folder, task):
        each.mkdir()
    known = write_questions(world, made_tokenizer({"kind": "word"}, world), asked, questions)
    save_tokenizer(known, questions)
    texts = read_texts(questions, "held_out")
    settings: dict[str, Any] = {
        **{"method": "full", "ranks": None, "lr": 0.01, "steps": 60, "batch": 8, "weight_decay": 0.0},
        **{"hardware": HARDWARE, "seed": 1},
    }
    prompts, answers = (texts[column].to_pylist() for column in ("prompt", "answer"))
    told = replace(read_asked(questions, known), prompts=prompts, answers=answers)
    model, training = finetune(Full.read(settings), folder / "checkpoint", told, folder / "finetuning")
    write_finetuned(model, training, questions, model_folder)
    write_task(world, known, asked, TASK, task)
    exact = answer_texts(model, known, texts)["exact"].to_pylist()
    return sum(exact) / len(exact)


def run_harness(folder: Path, harness: Path = HARNESS) -> float:
    """The harness's exact_match on model/ and task/ of a folder."""
    model = f"pretrained={folder / 'model'},dtype=float32"
    command = [harness, "run", "--model", "hf", "--model_args", model, "--tasks", TASK, "--device", "cpu"]
    command += ["--include_path", folder / "task", "--batch_size", "16", "--output_path", folder / "out"]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "home")}
    done = subprocess.run(list(map(str, command)), env=offline, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (answer,) = (folder / "out").rglob("results_*.json")
    return json.loads(answer.read_text())["results"][TASK]["exact_match,none"]
