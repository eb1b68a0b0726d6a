"""Who writes texts of people, and how many; light enough for the main process."""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from capacity.artefacts.settings import Settings
from capacity.world.kinds import WorldSettings


class GrammarRewriter(Settings):
    """The offline paraphraser. corruption: the share of facts that it writes wrongly or leaves out."""

    kind: Literal["grammar"]
    corruption: float


class _Sampling(Settings):
    """What is asked of a language model: about so many words, cut after so many tokens."""

    model: str
    words: int
    max_tokens: int
    temperature: float


class ModelRewriter(_Sampling):
    """A causal language model, in a folder or by name and revision."""

    kind: Literal["model"]
    revision: str | None
    batch: int
    top_p: float
    accelerator: Literal["cpu", "gpu"]
    precision: Literal["fp32", "bf16"]


class EndpointRewriter(_Sampling):
    """An endpoint with OpenAI's interface, asked by so many requests at a time."""

    kind: Literal["endpoint"]
    url: str
    parallel: int
    timeout: float


RewriterSettings = GrammarRewriter | ModelRewriter | EndpointRewriter


class RewritingSettings(Settings):
    """Texts of N people. tries: texts written at most for one. files: those of a model in a folder, by content."""

    kind: Literal["bioR"]
    N: int
    seed: int
    rewritings: int
    rewriter: Annotated[RewriterSettings, Field(discriminator="kind")]
    flawed: Literal["resample", "keep"]
    tries: int
    files: dict[str, str]


DatasetSettings = WorldSettings | RewritingSettings
DATASET: TypeAdapter[DatasetSettings] = TypeAdapter(Annotated[DatasetSettings, Field(discriminator="kind")])


def read_dataset(settings: dict[str, Any]) -> DatasetSettings:
    """The settings in the spec of what a training reads. Raises ValueError where they are of no kind."""
    return DATASET.validate_python(settings)
