"""How each section of `config.yaml` is validated: known keys, strict types, and mistakes in one line."""

import difflib
import math
import reprlib
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    ModelWrapValidatorHandler,
    StringConstraints,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

MOST = 10**9  # of anything that is counted: none is made that large, and folders can still be named by it
DEEPEST = 20  # levels of settings within settings

NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9_-]*"
Name = Annotated[str, StringConstraints(pattern=f"^{NAME_PATTERN}$", max_length=40)]
Count = Annotated[int, Field(gt=0, le=MOST)]


def problem(text: str, kind: str = "problem") -> PydanticCustomError:
    """A mistake that no single field shows; the text names key, value and what is allowed."""
    return PydanticCustomError(kind, text.replace("{", "{{").replace("}", "}}"))  # type: ignore[arg-type]


def shown(value: Any) -> str:
    """A value as a message shows it, long ones with their middle left out."""
    return _SHORT.repr(value)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 120
_SHORT.maxlong, _SHORT.maxlist, _SHORT.maxdict = 60, 12, 12


def unique(values: list[Any]) -> list[Any]:
    """Refuse a list that names something twice: it would count twice in a mean over seeds."""
    seen: set[Any] = set()
    for value in values:
        key = (isinstance(value, bool), value) if isinstance(value, bool | int | float | str | None) else repr(value)
        if key in seen:
            raise problem(f"{shown(value)} stands twice in the list; remove one")
        seen.add(key)
    return values


def _several(rates: list[float]) -> list[float]:
    """Refuse a list in which there is nothing to choose."""
    if len(rates) < 2:
        raise problem(f"{rates} is a list in which nothing is chosen; write one rate without brackets, or two and more")
    return rates


def plain(value: Any, depth: int = 0) -> Any:
    """Refuse what cannot be written down in a specification: only finite numbers, text, true, false, null, lists
    and mappings with keys of text can.
    """
    if depth > DEEPEST:
        raise problem(f"nested more than {DEEPEST} deep; use fewer levels")
    if isinstance(value, dict):
        for key, part in value.items():
            if not isinstance(key, str):
                raise problem(f"the key {shown(key)} is not allowed: use text")
            plain(part, depth + 1)
    elif isinstance(value, list):
        for part in value:
            plain(part, depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise problem(f"{value} is not allowed: use a finite number")
    elif not isinstance(value, bool | int | float | str | None):
        raise problem(f"{shown(value)} is not allowed: use a number, text, true, false, null, a list or a mapping")
    elif isinstance(value, int) and abs(value) >= 2**63:
        raise problem(f"{shown(value)} is not allowed: use a number below 2^63")
    return value


Rate = Annotated[float, Field(gt=0, lt=1)]
Rates = Annotated[
    list[Rate], AfterValidator(_several), AfterValidator(unique), Field(json_schema_extra={"minItems": 2})
]
OneRateOrMore = Annotated[
    Annotated[Rate, Tag("rate")] | Annotated[Rates, Tag("rates")],
    Discriminator(lambda value: "rates" if isinstance(value, list) else "rate"),
]
Names = Annotated[list[Name], Field(min_length=1), AfterValidator(unique)]


class Section(BaseModel):
    """A mapping with known keys and strict types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    REFUSED: ClassVar[dict[str, str]] = {}  # keys that others of its kind have, and why this one has not

    @model_validator(mode="wrap")
    @classmethod
    def _known_keys(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Name every unknown key and the nearest valid one, beside the mistakes in known ones."""
        unknown = [key for key in value if key not in cls.model_fields] if isinstance(value, dict) else []
        if not unknown:
            return handler(value)
        mistakes = [InitErrorDetails(type=cls._unknown(key), loc=(key,), input=value[key]) for key in unknown]
        try:
            handler({key: part for key, part in value.items() if key in cls.model_fields})
        except ValidationError as error:
            mistakes += [
                InitErrorDetails(type=problem(each["msg"], each["type"]), loc=each["loc"], input=each["input"])
                for each in error.errors(include_url=False)
            ]
        raise ValidationError.from_exception_data(cls.__name__, mistakes)

    @classmethod
    def _unknown(cls, key: Any) -> PydanticCustomError:
        if key in cls.REFUSED:
            return problem(f"{key}: {cls.REFUSED[key]}", "unknown")
        near = difflib.get_close_matches(str(key), cls.model_fields, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        return problem(f"unknown key {shown(key)}; {hint}valid keys: {', '.join(cls.model_fields)}", "unknown")
