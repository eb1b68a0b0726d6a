"""What a fine-tuning leaves behind: a folder for transformers, with metrics.csv; nothing depends on the clock."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from capacity.extraction.finetune import Finetuning
from capacity.training.model_card import TOKENIZER_FILES
from capacity.training.optimizer import learning_rate

DIGITS = 9  # significant, of a float32


def write_finetuned(model: PreTrainedModel, training: Finetuning, questions: Path, folder: Path) -> dict[str, Any]:
    """Write model, tokenizer, metrics.csv and finetuning.json; the facts of finetuning.json."""
    model.save_pretrained(folder)
    for name in TOKENIZER_FILES:
        shutil.copyfile(questions / name, folder / name)
    losses = [float(f"{loss:.{DIGITS}g}") for loss in training.row_losses.tolist()]
    with open(folder / "metrics.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("step", "loss", "lr"))
        for step, loss in zip(training.row_steps, losses, strict=True):
            writer.writerow((step, loss, f"{learning_rate(training.regime, training.num_steps, step - 1):.{DIGITS}g}"))
    facts = {
        "steps": training.num_steps,
        "questions": len(training.batches.prompts),
        "trained_parameters": training.vector.numel(),
        "final_loss": losses[-1],
    }
    (folder / "finetuning.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors makes files that only their owner may read
    return facts
