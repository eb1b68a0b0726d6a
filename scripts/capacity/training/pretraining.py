"""The training of a new model on a dataset, on one device or several."""

from collections.abc import Iterable

import numpy as np
import torch
from lightning.fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from capacity.models.build import build_model
from capacity.models.spec import PaperModel
from capacity.training.batches import IGNORED, TrainingBatches
from capacity.training.executed import decide
from capacity.training.loop import Batch, Loop
from capacity.training.objective import Objective
from capacity.training.optimizer import check_schedule, make_optimizer
from capacity.training.spec import TrainingSettings

CHUNK_TOKENS = 2**18  # rendered at once: of no effect on the time of a step, and it fits the cache
NUM_ROWS = 200


class Training(Loop):
    """A training from a model's first weights, with rounded weights from some step on where the regime says so."""

    def __init__(self, settings: TrainingSettings, batches: TrainingBatches, fabric: Fabric):
        regime, num_steps, self.batches = settings.regime, batches.num_steps, batches
        check_schedule(regime, num_steps)
        execution = decide(settings, batches.context, batches.vocab_size, num_steps)
        model = build_model(settings.model, batches.vocab_size, batches.context, settings.seed, execution.attention)
        fabric.to_device(model)
        plain = not isinstance(settings.model, PaperModel)
        experts = settings.model.experts if isinstance(settings.model, PaperModel) else None
        balance = experts.balance if experts else 0.0
        quantization = regime.quantization
        # The first step with quantised weights; after the last one where there is no scheme.
        self.quantised_from = min(round(quantization.start * num_steps), num_steps - 1) if quantization else num_steps
        scheme = quantization.scheme if quantization else None
        self.objective = Objective(
            model, batches.context, settings.hardware.precision, execution.compile, balance, plain, scheme,
            regime.document_mask, execution.loss == "chunked",
        )  # fmt: skip
        self.execution = execution.plain()
        self.exposures, self.compiled = regime.exposures, self.objective.compiled
        vector = self.objective.initial_vector()
        optimizer = make_optimizer(regime, vector, self.objective.hidden_matrices())
        chunk = max(1, CHUNK_TOKENS // (batches.batch * batches.context))
        super().__init__(regime, optimizer, vector, fabric, num_steps, chunk, NUM_ROWS)

    def _batches(self, first: int, count: int) -> Iterable[Batch]:
        inputs, targets = self.batches.steps(first, count)
        scored_K = _num_scored(targets)
        inputs, targets = self.group.share(inputs), self.group.share(targets)
        shares = (_num_scored(targets) / scored_K).tolist()
        on_device = [torch.from_numpy(array).to(self.device, torch.int64) for array in (inputs, targets)]
        return zip(*on_device, scored_K.tolist(), shares, strict=True)

    def _gradient(self, inputs_BT: Tensor, targets_BT: Tensor) -> tuple[Tensor, Tensor]:
        return self.objective.gradient(self.vector, inputs_BT, targets_BT, self.step >= self.quantised_from)

    def state(self) -> tuple[dict[str, Tensor], dict[str, int]]:
        tensors, counters = super().state()
        return {**tensors, "num_dropped": self.objective.num_dropped}, counters


def _num_scored(targets_KBT: NDArray[np.int32]) -> NDArray[np.int64]:
    """Targets of each step that are scored."""
    return np.count_nonzero(targets_KBT != IGNORED, axis=(1, 2))
