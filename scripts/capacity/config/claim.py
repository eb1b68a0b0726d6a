"""What a file of claims may say: published numbers, and how a capacity table is held against them."""

import functools
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from capacity.artefacts.identity import time_and_size
from capacity.config.load import check
from capacity.config.validation import Count, Name, Names, Section, problem
from capacity.config.yaml_files import read_yaml

Patterns = Annotated[list[str], Field(min_length=1)]


class Selection(Section):
    """Rows of the capacity table. A pattern may hold * and ?; a row is taken where any pattern of a list fits."""

    study: Names = Field(
        description="Studies whose rows count; a run that several of them share counts once. Of regimes with the same "
        "exposures and batch one counts, the best in the mean, as where another study tries more rates; regimes of one "
        "study that tried the same rate differ in something else and stay apart."
    )
    scheme: Patterns = Field(["none"], description="Quantisation schemes.")
    exposures: list[Count] | None = Field(None, description="Exposures.")
    dataset: Patterns | None = Field(None, description="Names of datasets.")
    model: Patterns | None = Field(None, description="Names of models.")
    regime: Patterns | None = Field(None, description="Names of regimes.")
    setting: Patterns | None = Field(None, description="What the study varies, for example '*dataset.K=*'.")
    R_max_at_most: Annotated[float, Field(gt=0)] | None = Field(None, description="Only where no more is offered.")


class Claim(Section):
    """One published number."""

    id: Name = Field(description="A short name.")
    result: Annotated[int, Field(ge=1, le=12)] | None = Field(None, description="The paper's number of the result.")
    source: str | None = Field(None, description="Where the number stands, if it is none of the paper's results.")
    statement: str = Field(description="What the paper says, in one sentence.")
    published: Annotated[float, Field(gt=0)] = Field(description="The published number.")
    relation: Literal["at least", "at most", "equal"] = Field(description="How measured relates to published.")
    tolerance: Annotated[float, Field(ge=0)] = Field(
        description="As a share, declared before the run: at least p/(1+t), at most p(1+t), or between the two."
    )
    statistic: Literal["peak", "lowest peak", "lowest share"] = Field(
        description="peak: the highest R. lowest peak: the lowest, over worlds, of the highest R. lowest share: the "
        "lowest R / R_max; R is the claim's `column`."
    )
    column: Literal["R", "R_calibrated"] = Field(
        "R", description="The bits a parameter that the statistic is of: as they are, or calibrated."
    )
    of: Selection | None = Field(None, description="The rows it is about.")
    to: Selection | None = Field(None, description="Rows whose peak the statistic is divided by, for a ratio.")
    seeds: Annotated[int, Field(ge=3)] = Field(3, description="Seeds without which there is no verdict.")
    headline: bool = Field(False, description="Whether the README shows it.")
    not_run: str | None = Field(None, description="Why it is not run, where it is not.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.result is None) == (self.source is None):
            raise problem(f"{self.id}: needs `result`, the paper's number, or `source`, another work, and not both")
        if self.of is None and self.not_run is None:
            raise problem(f"{self.id}: needs `of`, the rows it is about, or not_run, the reason why there are none")
        if self.to and (self.of is None or self.statistic == "lowest share"):
            raise problem(f"{self.id}: `to` makes a ratio of peaks, not of {self.statistic if self.of else 'nothing'}")
        return self


class Claims(Section):
    """A file of claims."""

    claims: Annotated[list[Claim], Field(min_length=1)] = Field(description="The claims, in the order of the table.")

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        names = [claim.id for claim in self.claims]
        for name in names:
            if names.count(name) > 1:
                raise problem(f"claims: the id {name!r} stands twice; rename one")
        return self


def read_claims(path: Path) -> list[dict[str, Any]]:
    """The claims in a file, as plain data. Raises UserError with one line: file, key, value, what is allowed."""
    return [claim.model_dump() for claim in _read(path, time_and_size(path)).claims]


@functools.lru_cache(maxsize=8)
def _read(path: Path, _: tuple[int, int]) -> Claims:
    """The same, read once as long as the file stays as it is: a plan of many studies asks for it with each."""
    claims: Claims = check(Claims, read_yaml(path), str(path))
    return claims
