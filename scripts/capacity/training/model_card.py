"""What a finished training leaves behind: a folder that transformers loads, with metrics and a model card.

Nothing here depends on the clock or the machine: two trainings of one specification leave equal bytes.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from capacity.models.architectures import paper_model, sizes
from capacity.models.spec import FactoryModel, ModelSettings, TransformersModel
from capacity.training.cost import active_parameters, flops_a_token, routing_facts
from capacity.training.pretraining import Training
from capacity.training.spec import TrainingSettings

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")

CARD = """---
library_name: transformers
tags: [knowledge-capacity, synthetic]
---

# {title}

A causal language model trained from scratch on synthetic facts, to measure how many bits of knowledge it
stores a parameter (arXiv 2404.05405). It knows nothing else.

| | |
|---|---|
| dataset | {dataset} |
| exposures of each person | {exposures} |
| architecture | {architecture} |
| parameters | {parameters:,} |
| vocabulary | {vocabulary:,} |
| context | {context} tokens |
| scored training tokens | {tokens:,} |
| final training loss | {final_loss:.4f} nats a token |

Every text starts with the token `<|endoftext|>`.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained(folder{trust})
tokenizer = AutoTokenizer.from_pretrained(folder)
```
"""


def write_checkpoint(training: Training, settings: TrainingSettings, tokenizer: Path, folder: Path) -> dict[str, Any]:
    """Write model, tokenizer, metrics.csv, training.json and README.md; the facts of training.json."""
    flops = flops_a_token(training)
    model = training.objective.finish(training.weights)
    model.save_pretrained(folder)
    for name in TOKENIZER_FILES:
        shutil.copyfile(tokenizer / name, folder / name)
    training.write_metrics(folder / "metrics.csv")
    facts = (
        training_facts(training, settings, active_parameters(model))
        | {"flops_a_token": flops}
        | routing_facts(training, model)
    )
    (folder / "training.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    words, dataset = architecture_in_words(settings.model), training.batches.description
    card = {"title": f"{words.partition(':')[0]} on {dataset}", "dataset": dataset, "architecture": words}
    card["trust"] = ", trust_remote_code=True" if any(folder.glob("*.py")) else ""  # the code lies in the folder
    (folder / "README.md").write_text(CARD.format(**card, **facts), encoding="utf-8")
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors makes files that only their owner may read
    return facts


def architecture_in_words(model: ModelSettings) -> str:
    """The model's name in the paper's notation, its sizes, and the switches that differ from its family's own."""
    if isinstance(model, TransformersModel):
        return f"hf {model.hf['model_type']}: {model.hf}"
    if isinstance(model, FactoryModel):
        return f"python {model.python}"
    own = paper_model(model.family, model.l, model.h, model.head_dim).plain() | {"init_std": model.init_std}
    changes = [f"{name} {value}" for name, value in model.plain().items() if own[name] != value]
    parts = [f"{model.l} layers", f"{model.h} heads", f"width {model.d}"]
    return f"{model.family}-{model.l}-{model.h}: {', '.join(parts + changes)}"


def training_facts(training: Training, settings: TrainingSettings, active: int) -> dict[str, Any]:
    """Numbers that a table needs beside the scores; final_loss is the mean of the last row of metrics.csv."""
    batches = training.batches
    parameters = training.vector.numel()
    return {
        "parameters": parameters,
        "active_parameters": active,
        "vocabulary": batches.vocab_size,
        "context": batches.context,
        "exposures": settings.regime.exposures,
        "steps": training.num_steps,
        "tokens": training.tokens,
        "flops": training_flops(settings.model, active, batches.context) * training.tokens,
        "final_loss": training.final_loss,
    }


def training_flops(model: ModelSettings, P: int, T: int) -> int:
    """Floating-point operations of training on one token: 6 P, and 12 l d T for attention; P is the active ones.

    A multiplication and an addition count as two; the backward pass as twice the forward pass; attention as
    if it saw the whole context of T tokens (Kaplan et al., arXiv 2001.08361, Section 2.1; PaLM, arXiv
    2204.02311, Appendix B).
    """
    known = sizes(model)
    return 6 * P + 12 * (known["l"] or 0) * (known["d"] or 0) * T
