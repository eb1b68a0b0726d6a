"""What all sections of `config.yaml` are made of: known keys, strict types, and mistakes in one line."""

import difflib
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=40)]
Count = Annotated[int, Field(gt=0)]


def problem(text: str) -> PydanticCustomError:
    """A mistake that no single field shows; the text names key, value and what is allowed."""
    return PydanticCustomError("problem", text.replace("{", "{{").replace("}", "}}"))


def unique(values: list[Any]) -> list[Any]:
    """Refuse a list that names something twice: it would count twice in a mean over seeds."""
    for value in values:
        if values.count(value) > 1:
            raise problem(f"{value!r} stands twice in the list; remove one")
    return values


Rate = Annotated[float, Field(gt=0, lt=1)]
Rates = Annotated[list[Rate], Field(min_length=2), AfterValidator(unique)]
OneRateOrMore = Annotated[
    Annotated[Rate, Tag("rate")] | Annotated[Rates, Tag("rates")],
    Discriminator(lambda value: "rates" if isinstance(value, list) else "rate"),
]
Names = Annotated[list[Name], Field(min_length=1), AfterValidator(unique)]


class Section(BaseModel):
    """A mapping with known keys and strict types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        """Name an unknown key and the nearest valid one."""
        if isinstance(value, dict):
            for key in value:
                if key not in cls.model_fields:
                    near = difflib.get_close_matches(str(key), cls.model_fields, n=1)
                    hint = f"did you mean {near[0]}? " if near else ""
                    raise problem(f"unknown key {key!r}; {hint}valid keys: {', '.join(cls.model_fields)}")
        return value
