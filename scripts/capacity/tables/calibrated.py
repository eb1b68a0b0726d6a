"""Calibrated bits: what losses prove to be stored when the logits are divided by one temperature.

R of a model that is confidently wrong is below zero: it gives high probability to wrong values. That
does not say that nothing is stored. Divided by a temperature above 1, the same logits are less confident. It is
fitted on one half of the people, the one of a fixed grid at which their losses prove most bits, and judged on the
other half, and the other way round; the sum is the bound of Definition 4.1 over all people with these losses.

It is never above R_max: a half stores at most as much at the other half's temperature as at its own, so the sum is at
most what is stored at either temperature alone, and that is R of a model. Nor is it below 0: the trivial code of
section 3 uses priors alone and stores 0 bits, and to say that it is used instead takes one bit, which is not counted.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from capacity.errors import UserError
from capacity.tables.bits import Array, person_bits
from capacity.world.prior import Account


@dataclass(frozen=True)
class Calibrated:
    """bits: stored by all people. fitted: the temperature that was fitted on each half, and judged the other."""

    bits: float
    fitted: tuple[float, float]

    @property
    def temperature(self) -> float:
        """The geometric mean of the two."""
        return math.sqrt(self.fitted[0] * self.fitted[1])


def calibrate(halves: pd.DataFrame, account: Account) -> Calibrated:
    """Bits stored at temperatures that are fitted on one half and judged on the other.

    halves: from `capacity.probe.temperatures.HalfLosses`. On a half that no temperature changes, as one without
    people, 1 is fitted.
    """
    temperatures, bits = half_bits(halves, account)
    nothing = np.abs(np.log(temperatures)).argmin()
    first, second = np.where(np.ptp(bits, axis=1) > 0, bits.argmax(axis=1), nothing)  # each fitted on a half alone
    judged = float(bits[0, second] + bits[1, first])
    return Calibrated(max(judged, 0.0), (float(temperatures[first]), float(temperatures[second])))


def half_bits(halves: pd.DataFrame, account: Account) -> tuple[Array, Array]:
    """The temperatures, (T,), and the bits that each half stores at each of them, (2, T).

    Raises UserError where the rows are not halves by temperatures by the account's items.
    """
    items = ["name", *(name for name, _ in account.items)]
    temperatures = halves["temperature"].unique()
    rows = pd.MultiIndex.from_product([(0, 1), temperatures, items])
    if not pd.MultiIndex.from_frame(halves[["half", "temperature", "item"]]).equals(rows):
        raise UserError(
            f"losses of halves are not of temperatures by items {', '.join(items)}: probe this dataset again"
        )
    shape = (2, len(temperatures), len(items))
    nats, first_chunk = (halves[column].to_numpy(float).reshape(shape) for column in ("nats", "first_chunk_nats"))
    people = halves["people"].to_numpy(float).reshape(shape)[:, 0, 0]
    at_each = range(len(temperatures))
    totals = [person_bits(nats[:, t], first_chunk[:, t, 1:], account, people).total for t in at_each]
    return temperatures, np.stack(totals, axis=1)
