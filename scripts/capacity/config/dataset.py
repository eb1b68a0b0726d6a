"""Datasets, as `config.yaml` describes them: people, records, random strings, and how they are worded."""

import math
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from capacity.config.validation import Count, Section, problem, unique
from capacity.world.strings import opening_length

MOST_ATTRIBUTES = 250  # labels are bytes
MOST_WORDINGS = 256  # of an attribute; they are drawn as bytes
MOST_DIGITS = 4000  # of the number of strings that a chunk is drawn from; Python writes no more than 4300
MOST_TEXTS = 5_000_000  # a tokenizer takes 2 kB of memory for each
MOST_LETTERS = 100_000  # of a person; a model reads them at once
SHIPPED_NAMES = (400, 400, 1000)

Texts = Annotated[int, Field(gt=0, le=1_000_000)]
Length = Annotated[int, Field(gt=0, le=1000)]
Pronoun = Annotated[str, StringConstraints(pattern=r"^[A-Z][a-z]*$", max_length=20)]
Phrase = Annotated[str, StringConstraints(pattern=r"^\S+( \S+)*$", max_length=100)]
Phrases = Annotated[list[Phrase], Field(min_length=1, max_length=MOST_WORDINGS), AfterValidator(unique)]
PoolName = Literal["first_names", "middle_names", "last_names", "cities", "universities", "majors", "employers"]


class Junk(Section):
    """Junk people written between the dataset's own, in the same words and with other names; never stored."""

    people: Count = Field(
        description="Junk people, drawn at random. The paper's: 100,000,000 (random junk) or 1,000 (repetitive)."
    )
    share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.875, description="Share of junk: of the rows, of pure windows, or of the tokens of mixed ones."
    )
    windows: Literal["pure", "mixed"] = Field(
        "pure",
        description="pure: a window holds junk alone or none. mixed: junk biographies stand between the dataset's own "
        "within windows; for packing: windows alone.",
    )


class Worded(Section):
    """How the facts of one person or record are put into a text."""

    sentences: Literal["shuffled", "in_order"] = Field(
        "shuffled", description="Order of a biography's sentences: drawn anew, or always that of the attributes."
    )
    paragraphs: Count | None = Field(
        None,
        description="Paragraphs a person has, drawn once and used in turn: 1 is the paper's bioS-simple. "
        "null: words and order are drawn anew at every exposure.",
    )
    tag: bool = Field(False, description="One token of its own in front of each biography, never of junk.")

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.paragraphs is not None and self.paragraphs > 1 and self.sentences == "in_order" and not self.worded():
            raise problem(f"paragraphs: {self.paragraphs} with sentences: in_order; all would be equal, use 1 or null")
        return self

    def worded(self) -> bool:
        """Whether a sentence can be said in several ways."""
        return False


class People(Worded):
    """What datasets of synthetic people have in common."""

    N: Count = Field(description="People.")
    junk: Junk | None = Field(
        None,
        description="Junk to mix in. Exposures count the dataset's own people, so training grows by 1/(1 - share).",
    )

    @model_validator(mode="after")
    def _mixed(self) -> Self:
        if self.paragraphs is not None and self.junk is not None:
            raise problem(f"paragraphs: {self.paragraphs} with junk; junk is worded anew, use paragraphs: null")
        return self

    def check_names(self, total: int, where: str) -> None:
        """Refuse more people, junk included, than there are names."""
        _check_names(self.N, self.junk.people if self.junk else 0, total, where)


def _check_names(people: int, junk: int, total: int, where: str) -> None:
    if total < people + junk:
        besides = f" and {junk} junk people" if junk else ""
        raise problem(f"N: {people} people{besides}, but {where} only {total} full names; raise them")


class BioD(People):
    """Synthetic people of the paper's bioD(N, K, C, D, L, T): random names and random strings as values.

    Letter i of the alphabet is the word v<i>, the same in all attributes: one token of a word vocabulary.
    """

    kind: Literal["bioD"]
    K: Annotated[int, Field(gt=0, le=MOST_ATTRIBUTES)] = Field(description="Attributes a person.")
    C: Length = Field(1, description="Chunks a value.")
    D: Texts = Field(description="Distinct chunks an attribute can take (its diversity set).")
    L: Length = Field(1, description="Letters a chunk.")
    T: Texts = Field(description="Letters of the alphabet.")
    names: Annotated[list[Texts], Field(min_length=3, max_length=3)] = Field(
        description="Sizes of the pools of first, middle and last names; their product is N0."
    )
    wording: Literal["atomic", "sentence"] = Field(
        "sentence", description="sentence: the paper's template. atomic: name and values only, one token each."
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        self.check_names(math.prod(self.names), f"names {self.names} give")
        if self.L * math.log10(self.T) > MOST_DIGITS:
            raise problem(f"L: {self.L} letters of T: {self.T} are a number of strings with over {MOST_DIGITS} digits")
        if self.T**self.L < self.D:
            raise problem(f"D: {self.D} distinct chunks, but T^L = {self.T}^{self.L} = {self.T**self.L} strings exist")
        if self.K * self.D > MOST_TEXTS:
            raise problem(
                f"K: {self.K} attributes with D: {self.D} chunks each are {self.K * self.D:,} different texts; "
                f"use at most {MOST_TEXTS:,}"
            )
        if self.K * self.C * self.L > MOST_LETTERS:
            raise problem(
                f"K: {self.K} attributes of C: {self.C} chunks of L: {self.L} letters are {self.K * self.C * self.L:,} "
                f"letters a person; use at most {MOST_LETTERS:,}"
            )
        for part, size, ships in zip(("first", "middle", "last"), self.names, SHIPPED_NAMES, strict=True):
            if self.wording == "sentence" and size > ships:
                raise problem(f"names: {size} {part} names, but {ships} ship; use fewer, or wording: atomic")
        return self


def _pool(description: str, shipped: int) -> Any:
    return Field(shipped, ge=1, le=shipped, description=f"{description} (the first so many of {shipped}).")


class Pools(Section):
    """How many of the shipped values bioS uses; the paper's sizes by default."""

    first_names: int = _pool("First names", SHIPPED_NAMES[0])
    middle_names: int = _pool("Middle names", SHIPPED_NAMES[1])
    last_names: int = _pool("Last names", SHIPPED_NAMES[2])
    months: int = _pool("Months of birth", 12)
    days: int = _pool("Days of birth", 28)
    years: int = _pool("Years of birth, from 1900", 200)
    cities: int = _pool("Birth cities", 200)
    universities: int = _pool("Universities", 300)
    majors: int = _pool("Majors", 100)
    employers: int = _pool("Employers, each with its city", 263)


class SixFacts(Section):
    """What the six facts of a person can be, and the sentences that state them."""

    pools: Pools = Field(Pools(), description="Sizes of the value pools.")
    value_lists: dict[PoolName, str] = Field(
        {}, description="Own values by pool: a text file, one value a line (employers: `name; city`); all are used."
    )
    templates: Annotated[int, Field(ge=1, le=MOST_WORDINGS)] = Field(
        52, description="Sentence templates an attribute, at most (46 to 52 ship)."
    )
    template_folder: str | None = Field(
        None, description="A folder of own templates, <attribute>.txt, lines like `{subject} was born in {value}.`"
    )
    pronouns: Annotated[list[Pronoun], Field(min_length=1, max_length=10), AfterValidator(unique)] = Field(
        ["He", "She"],
        description="Subjects of the later sentences; the choice holds log2 of their number in bits.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        for pool in self.value_lists:
            if pool in self.pools.model_fields_set:
                raise problem(f"value_lists.{pool}: pools.{pool} is given too; a list is used whole, remove one")
        return self

    def check_people(self, people: int, junk: int) -> None:
        """Refuse more people than the name pools give; own lists are counted when they are read."""
        if not any(pool.endswith("_names") for pool in self.value_lists):
            total = self.pools.first_names * self.pools.middle_names * self.pools.last_names
            _check_names(people, junk, total, "the name pools give")


class BioS(SixFacts, People):
    """Synthetic people of the paper's bioS(N): six facts in English sentences, worded anew at every exposure."""

    kind: Literal["bioS"]

    def worded(self) -> bool:
        return self.templates > 1

    @model_validator(mode="after")
    def _possible(self) -> Self:
        self.check_people(self.N, self.junk.people if self.junk else 0)
        return self


class Paraphraser(Section):
    """An offline rewriter without weights: sentences of the templates, joined and opened in other ways."""

    kind: Literal["grammar"]
    corruption: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="Share of facts, each on its own, written wrongly or left out, half and half."
    )


class Sampled(Section):
    """What rewriters that sample from a language model have in common."""

    words: Count = Field(60, description="About how many words a text is asked to have.")
    max_tokens: Count = Field(200, description="Tokens after which a text is cut.")
    temperature: Annotated[float, Field(gt=0, le=2)] = Field(0.8, description="Of sampling.")


class LocalModel(Sampled):
    """A causal language model that transformers loads, on the hardware of the scale."""

    kind: Literal["model"]
    model: str = Field(
        "meta-llama/Llama-2-7b-chat-hf",
        description="A folder, from the project's folder on, by content; or a name on Hugging Face. Jobs do not "
        "download: fetch it before, or set HF_HUB_OFFLINE=0.",
    )
    revision: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")] | None = Field(
        None, description="The commit of a model by name, 40 digits; required there."
    )
    batch: Count = Field(16, description="Texts sampled at a time; changes what is drawn.")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(0.95, description="Share of probability sampled from.")


def _without_secrets(url: Any) -> Any:
    """Refuse what may carry a key, without repeating it: a URL is written into specifications, which are published."""
    if not isinstance(url, str):
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        raise problem("is no URL; give the base, such as http://localhost:8000/v1") from None
    if "@" in (parts.netloc or url) or "?" in url or "#" in url:
        raise problem(
            "has a user, a query or a fragment, and would be published with the results; "
            "give the base alone, and the key in the variable REWRITER_API_KEY"
        )
    return url


class Endpoint(Sampled):
    """An endpoint with OpenAI's interface; its texts cannot be made again. Key: the variable REWRITER_API_KEY."""

    kind: Literal["endpoint"]
    url: Annotated[str, StringConstraints(pattern=r"^https?://\S+$"), BeforeValidator(_without_secrets)] = Field(
        description="Its base, such as http://localhost:8000/v1; without user, query or fragment: it is published."
    )
    model: str = Field(description="The model's name there.")
    parallel: Annotated[int, Field(ge=1, le=64)] = Field(8, description="Requests at a time.")
    timeout: Annotated[float, Field(gt=0, le=3600)] = Field(
        120.0, description="Seconds for an answer; a request is tried three times."
    )


class BioR(SixFacts):
    """The paper's bioR(N): the people of bioS, each in texts by a rewriter. No working city is mentioned."""

    REFUSED: ClassVar[dict[str, str]] = {
        "junk": "given with kind: bioR, whose texts are written and not worded anew; remove it, or use kind: bioS"
    }

    kind: Literal["bioR"]
    N: Count = Field(description="People.")
    rewritings: Annotated[int, Field(ge=1, le=250)] = Field(
        40, description="Texts a person; every exposure draws one of them."
    )
    rewriter: Annotated[Paraphraser | LocalModel | Endpoint, Field(discriminator="kind")] = Field(
        description="Who writes them."
    )
    flawed: Literal["resample", "keep"] = Field(
        "resample",
        description="What becomes of texts that miss a fact or have it wrong: written again, the best of all tries "
        "is kept; or kept as they are. Both are counted, and no such fact is scored.",
    )
    tries: Annotated[int, Field(ge=1, le=100)] = Field(8, description="Texts written at most for one, with resample.")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        self.check_people(self.N, 0)
        if self.flawed == "keep" and "tries" in self.model_fields_set:
            raise problem(f"tries: {self.tries} with flawed: keep, which writes each text once; remove tries")
        return self

    def people(self) -> BioS:
        """The dataset that the people and their facts come from."""
        shared = {key: getattr(self, key) for key in SixFacts.model_fields}
        return BioS(kind="bioS", N=self.N, **shared)


class Records(Worded):
    """Own facts: a CSV or parquet file, one column names the entity, the others are its attributes."""

    kind: Literal["records"]
    file: str = Field(description="The file, from the project's folder on; its content counts, and its name.")
    entity: str = Field(description="The column that names each row; no name may stand twice.")
    attributes: Annotated[list[str], Field(min_length=1), AfterValidator(unique)] | None = Field(
        None, description="The columns to write; null: all others."
    )
    phrases: dict[str, Phrases] = Field(
        {}, description="By column, what can stand before its value; '<column> is' where nothing is given."
    )
    account: Literal["uniform", "frequencies"] = Field(
        "uniform", description="What is known of a column's values beforehand: what they are, or how frequent too."
    )
    missing: Literal["error", "drop"] = Field(
        "error",
        description="What becomes of rows with an empty cell; manifest and preview count those that are dropped.",
    )
    N: Count | None = Field(None, description="The first so many rows that can be used; null: all, 5,000,000 at most.")

    @model_validator(mode="after")
    def _entity_is_none(self) -> Self:
        if self.entity in (self.attributes or ()):
            raise problem(f"attributes: {self.entity!r} is the entity; leave it out of its attributes")
        return self

    def worded(self) -> bool:
        return any(len(phrases) > 1 for phrases in self.phrases.values())


class RandomStrings(Section):
    """Random strings, every token scored: a ceiling for an architecture (Morris et al. 2025)."""

    kind: Literal["random"]
    N: Count = Field(description="Strings.")
    length: Annotated[int, Field(ge=2, le=250)] = Field(64, description="Tokens a string.")
    vocabulary: Annotated[int, Field(ge=2, le=60_000)] = Field(2048, description="Tokens to choose from.")

    @model_validator(mode="after")
    def _differ(self) -> Self:
        opening = opening_length(self.N, self.vocabulary)
        if self.length <= opening or self.vocabulary**self.length < self.N**3:
            least = max(opening + 1, math.ceil(3 * math.log(self.N, self.vocabulary) - 1e-9))
            raise problem(
                f"length: {self.length} tokens of {self.vocabulary} are too few for {self.N} strings to differ; "
                f"use {least} or more"
            )
        return self


Dataset = Annotated[BioD | BioS | BioR | Records | RandomStrings, Field(discriminator="kind")]
