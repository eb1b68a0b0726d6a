"""A variant must be read back as it was written: some tools load other weights and only print that they did."""

from pathlib import Path

import torch
from transformers import PreTrainedModel

from capacity.errors import UserError
from capacity.models.build import load_model


def check_reloads(model: PreTrainedModel, folder: Path) -> None:
    """Raise UserError where the model that a folder gives has another parameter than the one that was written."""
    read, written = (dict(m.named_parameters()) for m in (load_model(folder), model))
    for name in sorted(read.keys() | written.keys()):
        if name not in read or name not in written or not torch.equal(read[name].detach(), written[name].detach()):
            raise UserError(f"{folder.name}: {name} is read back otherwise than it was written; nothing was kept")
