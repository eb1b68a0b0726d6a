"""What scoring is described by; light enough for the main process."""

from typing import Literal

from capacity.artefacts.settings import Settings


class ProbeDraws(Settings):
    """draws: wordings of a person that scores are averaged over. seed: of those wordings."""

    draws: int
    seed: int


class ProbeSettings(ProbeDraws):
    """The scoring of one model."""

    accelerator: Literal["cpu", "gpu"]
