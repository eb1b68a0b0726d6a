"""The processes of one training: each takes an equal share of every batch, and all make the same update.

The first process is the job: it holds the lease, saves, writes and stops. The others are started by Lightning with
the job's own command line, follow it step by step, and end with it.
"""

import signal
from collections.abc import Callable
from typing import Any

import torch
from lightning.fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from capacity.errors import UserError


class ProcessGroup:
    """One process's view of a training's processes; with one process every method gives back what it got."""

    def __init__(self, fabric: Fabric):
        self._fabric = fabric
        self.size, self.rank = fabric.world_size, fabric.global_rank
        if self.rank:  # a terminal and a cluster signal every process; the first one decides
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)

    @property
    def alone(self) -> bool:
        return self.size == 1

    def share(self, steps_KBT: NDArray[Any]) -> NDArray[Any]:
        """This process's rows of each batch: every `size`-th, so that a last partial batch is shared out too."""
        return steps_KBT[:, self.rank :: self.size]

    def combine(self, gradient_P: Tensor, loss: Tensor, weight: float) -> tuple[Tensor, Tensor]:
        """Gradient and loss of the whole batch from those of the shares.

        weight: this share's scored tokens over the batch's; a share without any counts nothing.
        """
        if self.alone:
            return gradient_P, loss
        both = torch.cat([gradient_P, loss.reshape(1)])
        both = both * weight if weight else torch.zeros_like(both)
        total = self._fabric.all_reduce(both, reduce_op="sum")
        assert isinstance(total, Tensor)
        return total[:-1], total[-1]

    def all_go_on(self, go_on: Callable[[], bool]) -> bool:
        """What the first process decides; one that is alone stops where it stands and need not ask."""
        return self.alone or bool(self._fabric.broadcast(go_on(), src=0))

    def first(self, work: Callable[[], None]) -> None:
        """Have the first process do something before any other goes on."""
        if self.rank == 0:
            work()
        if not self.alone:
            self._fabric.barrier()

    def check_equal(self, step: int) -> None:
        """Refuse processes that begin at different steps: one could not use the state. Raises UserError in all."""
        if self.alone:
            return
        steps = sorted(set(torch.as_tensor(self._fabric.all_gather(torch.tensor(step))).flatten().tolist()))
        if len(steps) > 1:
            raise UserError(
                f"devices: the processes of one training would begin at steps {', '.join(map(str, steps))}, since not "
                "all can use its saved state; give it devices of one model, or remove its folder in results/resume"
            )

    def leave(self) -> None:
        """Leave the process group, without waiting for the others."""
        if not self.alone:
            torch.distributed.destroy_process_group()
