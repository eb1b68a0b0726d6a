"""What a quantisation leaves behind: a checkpoint folder of its own, with what was done to each tensor."""

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from transformers import PreTrainedModel

from capacity.quantization.calibration import Batches, calibration_batches
from capacity.quantization.quantize import quantize_model
from capacity.quantization.reload import check_reloads
from capacity.quantization.spec import Gptq, Scheme
from capacity.tokenizers.tokenization import has_all_rows, load_tokenizer
from capacity.world.facts import load_world
from capacity.world.text_renderer import renderer_of

OWN = ("model.safetensors", "manifest.json", "metrics.csv", "README.md")  # of the checkpoint; the rest is carried over


def write_variant(
    model: PreTrainedModel, scheme: Scheme, checkpoint: Path, dataset: Path | None, folder: Path
) -> dict[str, Any]:
    """Write one variant of a checkpoint, `model`: weights, what was done to each tensor, and the files that load it.

    dataset: what the checkpoint learned, for a scheme that is calibrated. Gives the report without the tensors. Raises
    UserError where the scheme does not fit the model or the dataset, and where a variant is not read back as it is.
    """
    batches = text_for(scheme, checkpoint, dataset) if isinstance(scheme, Gptq) else None
    quantised, report, parts = quantize_model(model, scheme, batches)
    quantised.save_pretrained(folder)
    for path in checkpoint.iterdir():
        if path.is_file() and path.name not in OWN:
            shutil.copyfile(path, folder / path.name)
    if parts:
        save_file(parts, folder / "quantization.safetensors")
    text = json.dumps({"scheme": scheme.plain(), **report}, indent=1, sort_keys=True)
    (folder / "quantization.json").write_text(text + "\n", encoding="utf-8")
    for path in folder.iterdir():
        path.chmod(0o644)  # safetensors makes files that only their owner may read
    check_reloads(quantised, folder)
    return {key: value for key, value in report.items() if key != "tensors"}


def text_for(scheme: Gptq, checkpoint: Path, dataset: Path | None) -> Batches:
    """The biographies that a scheme is calibrated on, of the world that the checkpoint learned."""
    assert dataset is not None, "a scheme that is calibrated has a dataset among its parents"
    renderer = renderer_of(load_world(dataset), load_tokenizer(checkpoint), has_all_rows(checkpoint))
    return calibration_batches(renderer, scheme.calibration, scheme.seed)
