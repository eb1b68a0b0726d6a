"""The settings of a spec as types; the spec.py of each stage has its own."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Settings of one stage: frozen, complete, nothing unknown in them. The configuration's models make them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def read(cls, settings: dict[str, Any]) -> Self:
        """The settings in a spec's JSON. Raises ValueError where they are of another kind."""
        return cls.model_validate(settings)

    def plain(self) -> dict[str, Any]:
        """JSON data, as a spec keeps it."""
        return self.model_dump(mode="json")
