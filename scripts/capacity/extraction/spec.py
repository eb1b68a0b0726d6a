"""What questions and fine-tuned models are described by; light enough for the main process."""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from capacity.artefacts.settings import Settings
from capacity.training.spec import Hardware, TrainingSettings


class QuestionSettings(Settings):
    """asked: share of the people whose questions are trained on. choosing: share of the others, for validation.

    wordings: one's own, by attribute.
    """

    asked: float
    choosing: float
    wordings: dict[str, list[str]]
    seed: int


class _Tuning(Settings):
    """One fine-tuning of a checkpoint. batch: questions a step."""

    lr: float
    steps: int
    batch: int
    weight_decay: float
    hardware: Hardware
    seed: int


class LowRank(_Tuning):
    """Low-rank matrices beside the weights. ranks: on the embedding, and on query and value."""

    method: Literal["lora"]
    ranks: tuple[int, int]


class Full(_Tuning):
    """All weights."""

    method: Literal["full"]
    ranks: None


class MixedTraining(TrainingSettings):
    """A training of another model, on biographies and questions. share: of questions in the rows or windows."""

    method: Literal["mixed"]
    share: float


Tuning = LowRank | Full
Try = LowRank | Full | MixedTraining
TRY: TypeAdapter[Try] = TypeAdapter(Annotated[Try, Field(discriminator="method")])


def read_try(settings: dict[str, Any]) -> Try:
    """The settings in the spec of a fine-tuned model. Raises ValueError where they are of another kind."""
    return TRY.validate_python(settings)
