"""What those who started this process gave it: time that SLURM leaves, and a place among several processes."""

import os
import time
from collections.abc import Mapping

MARGIN = 0.05  # of what is left, kept for the last save and the files
LEAST_MARGIN, MOST_MARGIN = 20.0, 300.0  # seconds


def time_budget(variables: Mapping[str, str] = os.environ) -> float | None:
    """Seconds that a job may work before it should save and stop; None where no SLURM sets an end.

    SLURM gives every step the end of its job, changes by an administrator before its start included.
    """
    end = variables.get("SLURM_JOB_END_TIME", "")
    if not end.isdigit():
        return None
    left = int(end) - time.time()
    return left - min(max(left * MARGIN, LEAST_MARGIN), MOST_MARGIN)


def follows() -> bool:
    """Whether this process was started by another, on the same node, to do a share of its training."""
    return os.environ.get("LOCAL_RANK", "0") != "0"
