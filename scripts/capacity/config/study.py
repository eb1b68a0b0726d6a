"""Studies, and how they are measured, tabulated and shown, as `config.yaml` describes them."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from capacity.config.validation import Count, Name, Names, Section, plain, problem, unique

ALWAYS_DRAWN = {"dataset.N", "regime.exposures", "regime.lr"}  # columns of every table
CROSSED = ("datasets", "tokenizers", "models", "regimes", "seeds")


class Probe(Section):
    """How bits are measured."""

    draws: Count = Field(4, description="Freshly worded biographies a person that losses are averaged over.")


class Table(Section):
    """How the capacity table is made."""

    resamples: Annotated[int, Field(ge=100, le=1_000_000)] = Field(1000, description="Bootstrap resamples over people.")


class Display(Section):
    """What figures look like; never changes a number."""

    title: str = Field("", description="A title above the figure.")


class Audit(Section):
    """What an artefact that is made again may differ by, where equal bits cannot be expected."""

    tensors: Annotated[float, Field(ge=0)] = Field(
        1e-3, description="Largest deviation of a number in a file, of a tensor relative to its largest element."
    )
    metrics: Annotated[float, Field(ge=0)] = Field(
        0.02, description="Largest deviation of a metric, relative to max(1, metric); enough where tensors differ more."
    )
    cells: Annotated[float, Field(ge=0)] = Field(
        0.1,
        description="Largest deviation of a measured cell of a table that is made again: of R and of bits in bits per "
        "parameter, of another number relative to max(1, number). Means over seeds differed by up to 0.07 on another "
        "kind of processor.",
    )


Loggers = Annotated[list[Literal["csv", "tensorboard", "wandb"]], AfterValidator(unique)]
Seeds = Annotated[list[Annotated[int, Field(ge=0, lt=2**32)]], Field(min_length=1), AfterValidator(unique)]


def _apart(vary: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Refuse a key within another one: what the one says, the other would replace."""
    for outer in vary:
        inner = next((key for key in vary if key.startswith(f"{outer}.")), None)
        if inner:
            raise problem(f"{inner} lies within {outer}, which is varied too; vary one of them")
    return vary


VARIED_PATTERN = r"^(dataset|tokenizer|model|regime)(\.[\w-]+)+$"
Vary = Annotated[
    dict[
        Annotated[str, StringConstraints(pattern=VARIED_PATTERN)],
        Annotated[list[Annotated[Any, AfterValidator(plain)]], AfterValidator(unique)],
    ],
    AfterValidator(_apart),
]


class Part(Section):
    """One of several grids of a study, where its regimes differ from dataset to dataset."""

    datasets: Names | None = Field(None, description="Names from `datasets`; null: the study's.")
    tokenizers: Names | None = Field(None, description="Names from `tokenizers`; null: the study's.")
    models: Names | None = Field(None, description="Names from `models`; null: the study's.")
    regimes: Names | None = Field(None, description="Names from `regimes`; null: the study's.")
    seeds: Seeds | None = Field(None, description="null: the study's.")
    vary: Vary = Field({}, description="Keys to sweep in this grid; the study's own are not swept in it.")


Axis = Annotated[str, StringConstraints(pattern=r"^(dataset|tokenizer|model|regime|quantizer)(\.[\w-]+)*$")]


class Axes(Section):
    """What a study's figure shows. Keys are `dataset`, `tokenizer`, `model`, `regime`, `quantizer`, `dataset.N`,
    `regime.exposures`, `regime.lr` and those that the study varies. What differs and is not named makes lines too: a
    line joins only what differs in x alone.
    """

    x: Axis = Field(description="What goes on x: numbers make curves, names make rows.")
    line: Axis | None = Field(None, description="What lines are named by first.")
    panel: Axis | None = Field(None, description="What makes panels; null: there is one.")


class Study(Section):
    """A grid of runs that answers one question."""

    question: str = Field(description="What the study asks.")
    paper: str = Field(description="What the paper found.")
    datasets: Names | None = Field(None, description="Names from `datasets`; null: each of `grids` has its own.")
    tokenizers: Names | None = Field(None, description="Names from `tokenizers`; null: each of `grids` has its own.")
    models: Names | None = Field(None, description="Names from `models`; null: each of `grids` has its own.")
    regimes: Names | None = Field(None, description="Names from `regimes`; null: each of `grids` has its own.")
    quantizers: Names = Field(["none"], description="Names from `quantizers`.")
    extraction: Name | None = Field(
        None,
        description="A name from `extractions`: how much of what the checkpoints memorised can be asked for; needs "
        "`none` among quantizers.",
    )
    seeds: Seeds | None = Field(
        None, description="A seed draws its own world and its own training; null: each of `grids` has its own."
    )
    vary: Vary = Field(
        {},
        description="Keys to sweep, for example dataset.N: [400, 750, 1500], also within others, such as "
        "dataset.junk.share; several keys are crossed.",
    )
    figure: Axes | None = Field(
        None,
        description="x, line and panel of the study's figure; null: the first key of `vary`, else the name with the "
        "most values, goes on x, and exposures make panels. Part of no identity but that of the figures.",
    )
    grids: list[Part] = Field([], description="Several grids, one after the other, instead of the study's own.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for key in CROSSED:
            if getattr(self, key) is None and not (self.grids and all(getattr(part, key) for part in self.grids)):
                raise problem(f"{key}: missing; name at least one, here or in each of grids")
        return self

    @model_validator(mode="after")
    def _drawn(self) -> Self:
        varied = self.varied()
        for name, key in self.figure or ():
            if key and "." in key and key not in varied | ALWAYS_DRAWN:
                raise problem(
                    f"figure.{name}: {key} is not varied; name one of {', '.join(sorted(varied | ALWAYS_DRAWN))}"
                )
        return self

    def varied(self) -> set[str]:
        """The keys that its runs are swept over: of grids, those that they sweep themselves."""
        swept = [part.vary for part in self.grids] or [self.vary]
        return {key for vary in swept for key in vary}

    def parts(self) -> list[Self]:
        """The grids to cross, each written out as a study of its own."""
        given = [part.model_dump(exclude_none=True) for part in self.grids]
        return [self.model_copy(update={**part, "grids": []}) for part in given] or [self]
