"""Training: one explicit loop over one vector of parameters, deterministic, resumable at every step."""

from capacity.training.train import Interrupted, follow, forget, train_checkpoint

__all__ = ["Interrupted", "follow", "forget", "train_checkpoint"]
