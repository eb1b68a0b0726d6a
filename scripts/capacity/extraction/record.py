"""What a fine-tuning leaves behind: a folder for transformers, with metrics.csv; nothing depends on the clock."""

import json
import shutil
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from capacity.extraction.finetune import Finetuning
from capacity.training.model_card import TOKENIZER_FILES


def write_finetuned(model: PreTrainedModel, training: Finetuning, questions: Path, folder: Path) -> dict[str, Any]:
    """Write model, tokenizer, metrics.csv and finetuning.json; the facts of finetuning.json."""
    model.save_pretrained(folder)
    for name in TOKENIZER_FILES:
        shutil.copyfile(questions / name, folder / name)
    training.write_metrics(folder / "metrics.csv")
    facts = {
        "steps": training.num_steps,
        "questions": len(training.batches.prompts),
        "trained_parameters": training.vector.numel(),
        "final_loss": training.final_loss,
    }
    (folder / "finetuning.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors makes files that only their owner may read
    return facts
