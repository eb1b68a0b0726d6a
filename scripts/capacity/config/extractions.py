"""Extractions, as `config.yaml` describes them: which questions are trained on, how, and in which words."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from capacity.config.validation import Count, OneRateOrMore, Section, problem, unique

PAPER_QUESTIONS, PAPER_DECAY = 96, 0.1  # questions a step, and weight decay: the same, Appendix A.2
RankPair = Annotated[list[Count], Field(min_length=2, max_length=2)]


WORDING = re.compile(r"(\S+ )*\{name\}([^\w\s]\S*)?( \S+)*")


def _wording(text: str) -> str:
    """A wording: words with single blanks between, one of which begins with the place for the name."""
    if text.count("{name}") != 1:
        raise problem(f"a wording with {text.count('{name}')} places for the name; give one")
    if not WORDING.fullmatch(text):
        raise problem(
            "a wording is words with single blanks between, of which one begins with the place for the name and has a "
            "blank or a mark behind it"
        )
    return text


Wording = Annotated[
    str,
    StringConstraints(max_length=200),
    AfterValidator(_wording),
    Field(json_schema_extra={"pattern": f"^{WORDING.pattern}$"}),  # for editors
]


class Extraction(Section):
    """Questions about some people, on which a model is fine-tuned before it is asked about the others."""

    method: Literal["lora", "full", "mixed"] = Field(
        description="lora: low-rank matrices beside the checkpoint's weights. full: all its weights. mixed: another "
        "model like the run's, trained on biographies and questions at once."
    )
    ranks: Annotated[list[RankPair], Field(min_length=1), AfterValidator(unique)] | None = Field(
        None, description="lora: pairs [rank on the embedding, rank on query and value]; each is tried."
    )
    lr: OneRateOrMore | None = Field(
        None, description="lora, full: the first learning rate, which falls in a line to 0. A list: each is tried."
    )
    steps: Count | None = Field(None, description="lora, full: steps of a try; the paper's has 75,000.")
    batch: Count | None = Field(None, description="lora, full: questions a step; the paper's 96 unless given.")
    weight_decay: Annotated[float, Field(ge=0)] | None = Field(
        None, description="lora, full: decoupled weight decay; the paper's 0.1 unless given."
    )
    share: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="mixed: share of questions in the rows or windows; biographies come as without."
    )
    asked: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.5, description="Share of people whose questions are trained on."
    )
    choosing: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.2,
        description="Of the others, the share for validation: their answers choose between tries and count no further.",
    )
    wordings: dict[str, Annotated[list[Wording], Field(min_length=1), AfterValidator(unique)]] = Field(
        {},
        description="By attribute, texts with {name} that the value follows, such as `Where was {name} born? Answer:`; "
        "those that ship where nothing is given.",
    )

    @model_validator(mode="after")
    def _of_its_method(self) -> Self:
        texts = [text for each in self.wordings.values() for text in each]
        if len(set(texts)) < len(texts):
            raise problem("wordings: two attributes are asked for in the same words; one answer cannot be both")
        tuned, mixed = ("lr", "steps", "batch", "weight_decay"), self.method == "mixed"
        idle = {"lora": ["share"], "full": ["share", "ranks"], "mixed": [*tuned, "ranks"]}[self.method]
        needed = {"lora": ["ranks", "lr", "steps"], "full": ["lr", "steps"], "mixed": ["share"]}[self.method]
        for key in idle:
            if getattr(self, key) is not None:
                hint = ", which takes those of the run's regime" if mixed and key in tuned else ""
                raise problem(f"{key}: {getattr(self, key)} with method: {self.method}{hint}; remove {key}")
        for key in needed:
            if getattr(self, key) is None:
                raise problem(f"{key}: missing; method: {self.method} needs {key}")
        if "choosing" in self.model_fields_set and len(self.tries()) == 1:
            raise problem(f"choosing: {self.choosing} with one try, where nothing is chosen; remove choosing")
        return self

    def tries(self) -> list[dict[str, Any]]:
        """What each try has of its own and in common, as fine-tuning reads it; one for mixed training."""
        if self.method == "mixed":
            return [{"method": "mixed", "share": self.share}]
        common = {
            "method": self.method,
            "steps": self.steps,
            "batch": PAPER_QUESTIONS if self.batch is None else self.batch,
            "weight_decay": PAPER_DECAY if self.weight_decay is None else self.weight_decay,
        }
        rates = self.lr if isinstance(self.lr, list) else [self.lr]
        pairs: list[Any] = [*self.ranks] if self.ranks else [None]
        return [{**common, "ranks": pair, "lr": rate} for pair in pairs for rate in rates]
