"""What `config.yaml` may say: one model a section, every key with a description and its limits.

These models feed the checks, the JSON schema for editors and docs/config.md.
"""

import difflib
import math
import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from capacity.architectures import FAMILIES, described, mlp_width
from capacity.quantization.schemes import HALF_PRECISION, MAX_BITS, MIN_BITS, ROLES, Role

ARCHITECTURE = re.compile(rf"({'|'.join(FAMILIES)})-([1-9]\d*)-([1-9]\d*)")

SIZES = ("head_dim", "width")
SWITCHES = ("init_std", "mlp_ratio", "mlp", "activation", "tied", "norm", "bias", "kv_sharing", "rotary", "experts")

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=40)]
Count = Annotated[int, Field(gt=0)]

PAPER_CALIBRATION = 1000  # biographies: arXiv 2404.05405, Section 7
PAPER_QUESTIONS, PAPER_DECAY = 96, 0.1  # questions a step, and weight decay: the same, Appendix A.2


def problem(text: str) -> PydanticCustomError:
    """A mistake that no single field shows; the text names key, value and what is allowed."""
    return PydanticCustomError("problem", text.replace("{", "{{").replace("}", "}}"))


def _unique(values: list[Any]) -> list[Any]:
    """Refuse a list that names something twice: it would count twice in a mean over seeds."""
    for value in values:
        if values.count(value) > 1:
            raise problem(f"{value!r} stands twice in the list; remove one")
    return values


Pronoun = Annotated[str, StringConstraints(pattern=r"^[A-Z][a-z]*$", max_length=20)]
Rate = Annotated[float, Field(gt=0, lt=1)]
Rates = Annotated[list[Rate], Field(min_length=2), AfterValidator(_unique)]
OneRateOrMore = Annotated[
    Annotated[Rate, Tag("rate")] | Annotated[Rates, Tag("rates")],
    Discriminator(lambda value: "rates" if isinstance(value, list) else "rate"),
]
Phrase = Annotated[str, StringConstraints(pattern=r"^\S+( \S+)*$", max_length=100)]
PoolName = Literal["first_names", "middle_names", "last_names", "cities", "universities", "majors", "employers"]
Names = Annotated[list[Name], Field(min_length=1), AfterValidator(_unique)]


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


class Scale(Section):
    """The hardware that decides a run's numbers."""

    accelerator: Literal["cpu", "gpu"] = Field(description="Where training and probes run.")
    precision: Literal["fp32", "bf16"] = Field(description="bf16 means mixed precision with fp32 weights.")
    devices: Count = Field(
        1, description="Devices of one machine that a training uses, one process each, with equal shares of a batch."
    )
    compile: bool | Literal["auto"] = Field(
        "auto",
        description="torch.compile. auto: when a C++ compiler is found and the run has so many steps that it pays.",
    )


class Junk(Section):
    """Junk people told between the dataset's own, in the same words and with other names; never stored."""

    people: Count = Field(
        description="Junk people, told at random. The paper's: 100,000,000 (random junk) or 1,000 (repetitive)."
    )
    share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.875, description="Share of junk: of the rows, of pure windows, or of the tokens of mixed ones."
    )
    windows: Literal["pure", "mixed"] = Field(
        "pure",
        description="pure: a window holds junk alone or none. mixed: junk biographies stand between the dataset's own "
        "within windows; for packing: windows alone.",
    )


class Told(Section):
    """How the facts of one person or record are put into a text."""

    sentences: Literal["shuffled", "in_order"] = Field(
        "shuffled", description="Order of a biography's sentences: drawn anew, or always that of the attributes."
    )
    paragraphs: Count | None = Field(
        None,
        description="Paragraphs a person has, drawn once and told in turn: 1 is the paper's bioS-simple. "
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


class People(Told):
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
    K: Count = Field(description="Attributes a person.")
    C: Count = Field(1, description="Chunks a value.")
    D: Count = Field(description="Distinct chunks an attribute can take (its diversity set).")
    L: Count = Field(1, description="Letters a chunk.")
    T: Count = Field(description="Letters of the alphabet.")
    names: Annotated[list[Count], Field(min_length=3, max_length=3)] = Field(
        description="Sizes of the pools of first, middle and last names; their product is N0."
    )
    wording: Literal["atomic", "sentence"] = Field(
        "sentence", description="sentence: the paper's template. atomic: name and values only, one token each."
    )

    @model_validator(mode="after")
    def _possible(self) -> Self:
        self.check_names(math.prod(self.names), f"names {self.names} give")
        if self.T**self.L < self.D:
            raise problem(f"D: {self.D} distinct chunks, but T^L = {self.T}^{self.L} = {self.T**self.L} strings exist")
        return self


def _pool(description: str, shipped: int, minimum: int = 1) -> Any:
    return Field(shipped, ge=minimum, le=shipped, description=f"{description} (the first so many of {shipped}).")


class Pools(Section):
    """How many of the shipped values bioS uses; the paper's sizes by default."""

    first_names: int = _pool("First names", 400)
    middle_names: int = _pool("Middle names", 400)
    last_names: int = _pool("Last names", 1000)
    months: int = _pool("Months of birth", 12)
    days: int = _pool("Days of birth", 28)
    years: int = _pool("Years of birth, from 1900", 200)
    cities: int = _pool("Birth cities", 200)
    universities: int = _pool("Universities", 300)
    majors: int = _pool("Majors", 100)
    employers: int = _pool("Employers, each with its city", 263)


class SixFacts(Section):
    """What the six facts of a person can be, and the sentences that tell them."""

    pools: Pools = Field(Pools(), description="Sizes of the value pools.")
    value_lists: dict[PoolName, str] = Field(
        {}, description="Own values by pool: a text file, one value a line (employers: `name; city`); all are used."
    )
    templates: Annotated[int, Field(ge=1, le=1000)] = Field(
        52, description="Sentence templates an attribute, at most (46 to 52 ship)."
    )
    template_folder: str | None = Field(
        None, description="A folder of own templates, <attribute>.txt, lines like `{subject} was born in {value}.`"
    )
    pronouns: Annotated[list[Pronoun], Field(min_length=1, max_length=10), AfterValidator(_unique)] = Field(
        ["He", "She"],
        description="Subjects of the later sentences; which one tells log2 of their number in bits. One tells nothing.",
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
        0.0, description="Share of facts, each on its own, told wrongly or left out, half and half."
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
    revision: str | None = Field(None, description="The commit of a model by name; required there.")
    batch: Count = Field(16, description="Texts sampled at a time; changes what is drawn.")
    top_p: Annotated[float, Field(gt=0, le=1)] = Field(0.95, description="Share of probability sampled from.")


class Endpoint(Sampled):
    """An endpoint with OpenAI's interface; its texts cannot be made again. Key: the variable REWRITER_API_KEY."""

    kind: Literal["endpoint"]
    url: Annotated[str, StringConstraints(pattern=r"^https?://\S+$")] = Field(
        description="Its base, such as http://localhost:8000/v1."
    )
    model: str = Field(description="The model's name there.")
    parallel: Annotated[int, Field(ge=1, le=64)] = Field(8, description="Requests at a time.")
    timeout: Annotated[float, Field(gt=0, le=3600)] = Field(
        120.0, description="Seconds for an answer; a request is tried three times."
    )


class BioR(SixFacts):
    """The paper's bioR(N): the people of bioS, each told in texts by a rewriter. The working city is not told."""

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
        description="What becomes of texts that miss a fact or tell it wrongly: written again, the best of all tries "
        "is kept; or kept as they are. Both are counted, and no such fact is scored.",
    )
    tries: Annotated[int, Field(ge=1, le=100)] = Field(8, description="Texts written at most for one, with resample.")

    @model_validator(mode="before")
    @classmethod
    def _written(cls, value: Any) -> Any:
        if isinstance(value, dict) and "junk" in value:
            raise problem(
                "junk: given with kind: bioR, whose texts are written and not worded anew; remove it, or use kind: bioS"
            )
        return value

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


class Records(Told):
    """Own facts: a CSV or parquet file, one column names the entity, the others are its attributes."""

    kind: Literal["records"]
    file: str = Field(description="The file, from the project's folder on; it counts by content.")
    entity: str = Field(description="The column that names each row; no name may stand twice.")
    attributes: Annotated[list[str], Field(min_length=1), AfterValidator(_unique)] | None = Field(
        None, description="The columns to tell; null: all others."
    )
    phrases: dict[str, Annotated[list[Phrase], Field(min_length=1), AfterValidator(_unique)]] = Field(
        {}, description="By column, what can stand before its value; '<column> is' where nothing is given."
    )
    account: Literal["uniform", "frequencies"] = Field(
        "uniform", description="What is known of a column's values beforehand: what they are, or how frequent too."
    )
    missing: Literal["error", "drop"] = Field(
        "error",
        description="What becomes of rows with an empty cell; manifest and preview count those that are dropped.",
    )
    N: Count | None = Field(None, description="The first so many rows that can be told; null: all, 5,000,000 at most.")

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
        if self.vocabulary**self.length < self.N**3:
            raise problem(
                f"length: {self.length} tokens of {self.vocabulary} are too few for {self.N} strings to differ"
            )
        return self


Dataset = Annotated[BioD | BioS | BioR | Records | RandomStrings, Field(discriminator="kind")]


class Word(Section):
    """A closed vocabulary: the words that the dataset can produce."""

    kind: Literal["word"]


class Bpe(Section):
    """Byte-level BPE trained on the dataset's own text; rows that it can never use are dropped."""

    kind: Literal["bpe"]
    vocabulary: Annotated[int, Field(ge=257, le=65_000)] = Field(description="Tokens before unused rows are dropped.")
    split_digits: bool = Field(
        False, description="Whether every digit is a token of its own, as in LLaMA's tokenizer, or numbers may join."
    )


class Pretrained(Section):
    """A published BPE tokenizer, such as GPT-2's, LLaMA's or Mistral's."""

    kind: Literal["pretrained"]
    folder: str = Field(description="A folder with its tokenizer.json, from the project's folder on; by content.")
    compact: bool = Field(
        True,
        description="true: only the tokens that the dataset can use are rows of a model, as in the paper. false: all "
        "are, and P counts them; the end of a text is row 0.",
    )


Tokenizer = Annotated[Word | Bpe | Pretrained, Field(discriminator="kind")]


class Experts(Section):
    """Experts in place of every MLP, each of the size that mlp_ratio gives; the paper's are d -> d -> d."""

    count: Annotated[int, Field(ge=2)] = Field(description="Experts a layer; the paper's GPT-2 has 32.")
    top: Count = Field(1, description="Experts that a token is sent to.")
    capacity: Annotated[float, Field(gt=0)] = Field(
        2.0,
        description="Room in training: an expert takes top * capacity times its even share of a batch's tokens; "
        "what comes after is dropped.",
    )
    test_capacity: Annotated[float, Field(gt=0)] = Field(8.0, description="The same when the model is probed.")
    balance: Annotated[float, Field(ge=0)] = Field(
        0.01, description="Weight of the load-balancing loss, summed over layers; the paper does not say its own."
    )

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.top >= self.count:
            raise problem(f"top: {self.top} of {self.count} experts; use fewer than count")
        return self


class Model(Section):
    """An architecture in the paper's notation with switches that change it, or any other model by `hf` or `python`."""

    architecture: Annotated[str, StringConstraints(pattern=rf"^{ARCHITECTURE.pattern}$")] | None = Field(
        None,
        description="<family>-<l>-<h>: l layers, h heads. gpt2: GPT-2 with rotary positions. llama: gated MLP, "
        "RMSNorm, no biases, head not tied. mistral: llama with a wider MLP and shared key and value heads.",
    )
    head_dim: Annotated[int, Field(gt=0, multiple_of=2)] | None = Field(
        None, description="Width of a head, even; 64 (the paper's) unless width is given."
    )
    width: Count | None = Field(None, description="Width d, instead of head_dim = d / h.")
    init_std: Annotated[float, Field(gt=0, le=1)] = Field(
        0.02,
        description="Standard deviation of the initial weights. GPT-2's 0.02 suits widths near 1000; about 1/sqrt(d) "
        "learns twice as fast at widths near 16.",
    )
    mlp_ratio: Annotated[float, Field(ge=0, le=1)] = Field(
        1.0,
        description="Size of the MLP as a share of the architecture's own; 0.25 is d -> d -> d in gpt2, 0 is no MLP.",
    )
    mlp: Literal["standard", "gated"] | None = Field(
        None,
        description="standard: d -> m -> d. gated: the activation of one projection times another. Both hold as many "
        "parameters. Unless given, as in the architecture.",
    )
    activation: Literal["gelu", "silu", "relu"] | None = Field(
        None, description="Activation of the MLP; gelu is GPT-2's tanh form. Unless given, as in the architecture."
    )
    tied: bool | None = Field(
        None, description="Whether the head is the embedding. Unless given, as in the architecture."
    )
    norm: Literal["layer", "rms"] | None = Field(
        None, description="layer: LayerNorm with bias. rms: RMSNorm. Unless given, as in the architecture."
    )
    bias: bool | None = Field(
        None, description="Whether linear layers have biases. Unless given, as in the architecture."
    )
    kv_sharing: Count | None = Field(
        None,
        description="Query heads that share a key and a value head; divides h. Unless given, as in the architecture: "
        "1; in mistral 4 where 4 divides h, else 2 where 2 does.",
    )
    rotary: Annotated[float, Field(ge=0, le=1)] = Field(
        1.0, description="Share of a head's channels that turn with the position; 0 is no positions at all."
    )

    experts: Experts | None = Field(None, description="Experts in place of every MLP; null: none.")
    hf: dict[str, Any] | None = Field(
        None,
        description="Instead of architecture: model_type of any causal LM that transformers knows, and keys of its "
        "configuration, for example {model_type: mamba, hidden_size: 16, num_hidden_layers: 2}. Weights are new.",
    )
    python: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")] | None = Field(
        None,
        description="Instead of architecture: package.module:factory in the project folder. The factory is called with "
        "vocab_size, context and settings and returns a torch module from token ids (B, T) to logits (B, T, V).",
    )
    settings: dict[str, Any] | None = Field(None, description="Keyword arguments of the factory that python names.")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [key for key in ("architecture", "hf", "python") if getattr(self, key) is not None]
        if len(given) != 1:
            raise problem(f"{' and '.join(given) or 'no'} model given; give one of architecture, hf, python")
        allowed = {"architecture": {"architecture", *SIZES, *SWITCHES}, "hf": {"hf"}, "python": {"python", "settings"}}
        for key in sorted(self.model_fields_set - allowed[given[0]]):
            raise problem(f"{key}: given with {given[0]}, where it says nothing; remove {key}")
        if self.hf is not None and not isinstance(self.hf.get("model_type"), str):
            raise problem(
                "hf: needs model_type, the name of a causal LM in transformers, for example model_type: mamba"
            )
        return self

    @field_validator("hf", mode="before")
    @classmethod
    def _no_download(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise problem(
                f"hf: {value!r} would be fetched from a network; give its configuration, {{model_type: ..., ...}}"
            )
        return value

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if not self.architecture:
            return self
        heads = self._shape()[2]
        if self.width is not None and self.head_dim is not None:
            raise problem(f"width: {self.width} and head_dim: {self.head_dim} are both given; keep one")
        if self.width is not None and self.width % (2 * heads):
            raise problem(
                f"width: {self.width} does not give {heads} heads an even width; use a multiple of {2 * heads}"
            )
        if self.kv_sharing is not None and heads % self.kv_sharing:
            raise problem(f"kv_sharing: {self.kv_sharing} does not divide {heads} heads; use a divisor of {heads}")
        return self

    @model_validator(mode="after")
    def _applies(self) -> Self:
        if not self.architecture:
            return self
        spec = self.spec()
        turning = self.rotary * spec["head_dim"]
        if turning != int(turning) or int(turning) % 2:
            raise problem(
                f"rotary: {self.rotary} of head_dim {spec['head_dim']} is {turning:g} channels; use an even number"
            )
        if self.experts and spec["mlp"] == "gated":
            raise problem("experts: with a gated mlp; experts are standard MLPs, add mlp: standard")
        if self.mlp_ratio == 0 and (self.mlp or self.activation or self.experts):
            key = next(key for key in ("mlp", "activation", "experts") if getattr(self, key))
            raise problem(f"{key}: given with mlp_ratio: 0, which has no MLP; remove {key}")
        if self.mlp_ratio > 0 and mlp_width(spec) == 0:
            raise problem(
                f"mlp_ratio: {self.mlp_ratio} rounds to no hidden unit at this width; use 0 or a larger ratio"
            )
        return self

    def _shape(self) -> tuple[str, int, int]:
        """Family, layers, heads."""
        assert self.architecture
        family, layers, heads = self.architecture.rsplit("-", 2)
        return family, int(layers), int(heads)

    def label(self) -> str:
        """A name for folders."""
        if self.hf:
            return str(self.hf["model_type"]).replace("_", "-")
        return self.architecture or (self.python or "").replace(".", "-").replace(":", "-").replace("_", "-")

    def spec(self) -> dict[str, Any]:
        """The model as training reads it, every switch set."""
        if self.hf:
            return {"hf": self.hf}
        if self.python:
            return {"python": self.python, "settings": self.settings or {}}
        family, layers, heads = self._shape()
        head_dim = self.width // heads if self.width else self.head_dim or 64
        whole = described(
            {"family": family, "l": layers, "h": heads, "head_dim": head_dim}
            | {name: value for name in SWITCHES if (value := self.model_dump()[name]) is not None}
        )
        return {name: whole[name] for name in ("family", "l", "h", "head_dim", *SWITCHES)}


class Regime(Section):
    """How a model is trained."""

    exposures: Count = Field(description="Times each person is seen; with zipf, on average.")
    zipf: Annotated[float, Field(gt=0, le=5)] | None = Field(
        None,
        description="Person n is seen in proportion to n to the power of minus this, instead of all equally often.",
    )
    batch: Count = Field(description="Rows or windows a step.")
    lr: OneRateOrMore = Field(
        description="Peak learning rate. A list: every rate is trained and stays in the table, where `chosen` marks "
        "the one with the lowest training loss, in the mean over seeds."
    )
    packing: Literal["rows", "windows"] = Field(
        "windows", description="rows: one biography a row. windows: biographies end to end, cut every `context` tokens."
    )
    context: Annotated[int, Field(ge=8)] | None = Field(None, description="Tokens a window; the paper's is 512.")
    warmup_steps: Annotated[int, Field(ge=0)] = Field(1000, description="Steps of linear warm-up.")
    final_lr_fraction: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="Where the cosine ends, as a share of lr."
    )
    schedule: Literal["cosine", "linear"] = Field(
        "cosine", description="How the rate falls after the warm-up; final_lr_fraction: 1 keeps it."
    )
    optimizer: Literal["adamw", "muon"] = Field(
        "adamw",
        description="muon: torch's Muon on hidden matrices, each scaled to an AdamW step, and AdamW on all else.",
    )
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None, description="Muon's momentum; 0.95 unless given. AdamW takes betas."
    )
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.01, description="Decoupled weight decay.")
    betas: Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)] = Field(
        [0.9, 0.98], description="AdamW's betas."
    )
    eps: Annotated[float, Field(gt=0)] = Field(1e-6, description="AdamW's epsilon.")
    clip: Annotated[float, Field(gt=0)] | None = Field(1.0, description="Largest gradient norm; null: no clipping.")
    quantizer: Name | None = Field(
        None,
        description="A scheme of `quantizers`, method rtn: each forward pass sees weights rounded by it, gradients "
        "pass straight through. The checkpoint keeps full precision; the same scheme makes the variant trained for.",
    )
    quantize_from: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="Share of the training before the rounding begins; 0: from scratch."
    )

    @model_validator(mode="after")
    def _of_its_optimizer(self) -> Self:
        if self.momentum is not None and self.optimizer != "muon":
            raise problem(
                f"momentum: {self.momentum} with optimizer: {self.optimizer}, which takes betas; remove momentum"
            )
        return self

    @model_validator(mode="after")
    def _packed(self) -> Self:
        if self.packing == "windows" and self.context is None:
            raise problem("context: missing; windows need a length in tokens, for example context: 512")
        if self.packing == "rows" and self.context is not None:
            raise problem(f"context: {self.context} with packing: rows; a row is one biography, remove context")
        return self

    @model_validator(mode="after")
    def _quantized(self) -> Self:
        if self.quantize_from and self.quantizer is None:
            raise problem(f"quantize_from: {self.quantize_from} without quantizer; name one or remove quantize_from")
        return self


def _group(value: int | str) -> int | str:
    if value not in ("row", "tensor") and not (isinstance(value, int) and value > 0):
        raise problem(f"{value!r} is not allowed; use row, tensor, or a number of inputs")
    return value


# Options of a quantiser that each choice leaves without a meaning.
IGNORED_OPTIONS: dict[str, tuple[str, ...]] = {
    "method: none": (
        *("bits", "format", "symmetric", "group", "tensors", "scale_format", "rest"),
        *("damping", "act_order", "calibration"),
    ),
    "method: rtn": ("damping", "act_order", "calibration"),
    **{f"format: {name}": ("bits", "symmetric") for name in ("ternary", "fp8", "fp4")},
    **{f"format: {name}": ("bits", "symmetric", "group", "scale_format") for name in HALF_PRECISION},
}


class Quantizer(Section):
    """A scheme that turns a checkpoint into a variant."""

    method: Literal["none", "rtn", "gptq"] = Field(
        description="none: the checkpoint itself. rtn: round to nearest. gptq: GPTQ on the same grid; embeddings and "
        "a tied head are rounded to nearest."
    )
    bits: Annotated[int, Field(ge=MIN_BITS, le=MAX_BITS)] | None = Field(
        None, description="Bits a weight, of format int."
    )
    format: Literal["int", "ternary", "fp8", "fp4", "fp16", "bf16"] = Field(
        "int",
        description="Numbers that weights become. fp8 is e4m3, fp4 is e2m1; ternary is -s, 0 or s, "
        "where s is the mean size of the weights.",
    )
    symmetric: bool = Field(
        True, description="Integer levels on both sides of 0; false: from the smallest to the largest."
    )
    group: Annotated[int | str, AfterValidator(_group)] = Field(
        "row",
        description="What shares a scale: row (all weights of an output), tensor, or a number of inputs, which must "
        "divide the layers' widths.",
    )
    tensors: Annotated[list[Role], Field(min_length=1), AfterValidator(_unique)] = Field(
        list(ROLES),
        description="Which tensors are quantised. A tied head is head and embeddings at once: both or neither.",
    )
    scale_format: Literal["fp32", "fp16", "bf16"] = Field("fp32", description="How scales are stored.")
    rest: Literal["fp16", "bf16"] | None = Field(
        None, description="What all other tensors are rounded to; null leaves them as trained."
    )
    damping: Annotated[float, Field(ge=1e-6, le=1)] = Field(
        0.01, description="gptq: added to the diagonal of x x^T, as a share of its mean."
    )
    act_order: bool = Field(True, description="gptq: columns of the largest inputs first.")
    calibration: Count | None = Field(
        None, description="gptq: people whose biographies it calibrates on; null is the paper's 1000, or all of fewer."
    )

    @model_validator(mode="after")
    def _meaningful(self) -> Self:
        """Refuse an option that would be ignored, and bits where they are missing."""
        for choice in (f"method: {self.method}", f"format: {self.format}"):
            for option in IGNORED_OPTIONS.get(choice, ()):
                if option in self.model_fields_set and getattr(self, option) is not None:
                    raise problem(f"{option}: {getattr(self, option)} with {choice}, which takes none; remove {option}")
        if self.method != "none" and self.format == "int" and self.bits is None:
            raise problem(f"bits: missing; method: {self.method} with integers needs bits, {MIN_BITS} to {MAX_BITS}")
        if self.method == "gptq" and self.format in HALF_PRECISION:
            raise problem(f"format: {self.format} with method: gptq; rounding to {self.format} needs method: rtn")
        return self

    def spec(self, people: int, seed: int) -> dict[str, Any]:
        """The scheme as the quantiser reads it, without options that mean nothing to it."""
        idle = {*IGNORED_OPTIONS.get(f"method: {self.method}", ()), *IGNORED_OPTIONS.get(f"format: {self.format}", ())}
        spec = {key: value for key, value in self.model_dump().items() if key not in idle}
        if "tensors" in spec:
            spec["tensors"] = [role for role in ROLES if role in self.tensors]
        if self.method == "gptq":
            spec |= {"calibration": self.calibration or min(PAPER_CALIBRATION, people), "seed": seed}
        return spec


RankPair = Annotated[list[Count], Field(min_length=2, max_length=2)]
Wording = Annotated[str, StringConstraints(pattern=r"^(\S+ )*\{name\}\S*( \S+)*$", max_length=200)]


class Extraction(Section):
    """Questions about some people, on which a model is fine-tuned before it is asked about the others."""

    method: Literal["lora", "full", "mixed"] = Field(
        description="lora: low-rank matrices beside the checkpoint's weights. full: all its weights. mixed: another "
        "model like the run's, trained on biographies and questions at once."
    )
    ranks: Annotated[list[RankPair], Field(min_length=1), AfterValidator(_unique)] | None = Field(
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
        description="Of the others, the share whose answers choose between several tries; they count no further.",
    )
    wordings: dict[str, Annotated[list[Wording], Field(min_length=1), AfterValidator(_unique)]] = Field(
        {},
        description="By attribute, texts with {name} that the value follows, such as `Where was {name} born? Answer:`; "
        "those that ship where nothing is given.",
    )

    @model_validator(mode="after")
    def _of_its_method(self) -> Self:
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


class Probe(Section):
    """How bits are measured."""

    draws: Count = Field(4, description="Freshly worded biographies a person that losses are averaged over.")


class Table(Section):
    """How the capacity table is made."""

    resamples: Annotated[int, Field(ge=100)] = Field(1000, description="Bootstrap resamples over people.")


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


Seeds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1), AfterValidator(_unique)]
Vary = dict[
    Annotated[str, StringConstraints(pattern=r"^(dataset|tokenizer|model|regime)\.\w+$")],
    Annotated[list[Any], AfterValidator(_unique)],
]


class Part(Section):
    """One of several grids of a study, where its regimes differ from dataset to dataset."""

    datasets: Names | None = Field(None, description="Names from `datasets`; null: the study's.")
    tokenizers: Names | None = Field(None, description="Names from `tokenizers`; null: the study's.")
    models: Names | None = Field(None, description="Names from `models`; null: the study's.")
    regimes: Names | None = Field(None, description="Names from `regimes`; null: the study's.")
    seeds: Seeds | None = Field(None, description="null: the study's.")
    vary: Vary = Field({}, description="Keys to sweep in this grid; the study's own are not swept in it.")


class Study(Section):
    """A grid of runs that answers one question."""

    question: str = Field(description="What the study asks.")
    paper: str = Field(description="What the paper found.")
    datasets: Names = Field(description="Names from `datasets`.")
    tokenizers: Names = Field(description="Names from `tokenizers`.")
    models: Names = Field(description="Names from `models`.")
    regimes: Names = Field(description="Names from `regimes`.")
    quantizers: Names = Field(["none"], description="Names from `quantizers`.")
    extraction: Name | None = Field(
        None,
        description="A name from `extractions`: how much of what the checkpoints know can be asked for; needs a "
        "quantizer with method: none.",
    )
    seeds: Seeds = Field(description="A seed draws its own world and its own training.")
    vary: Vary = Field(
        {}, description="Keys to sweep, for example dataset.N: [400, 750, 1500]; several keys are crossed."
    )
    grids: list[Part] = Field([], description="Several grids, one after the other, instead of the study's own.")

    def parts(self) -> list[Self]:
        """The grids to cross, each written out as a study of its own."""
        given = [part.model_dump(exclude_none=True) for part in self.grids]
        return [self.model_copy(update={**part, "grids": []}) for part in given] or [self]


class Config(Section):
    """The whole experiment."""

    scale: Name = Field(description="Which of `scales` to use.")
    study: Names = Field(description="Which of `studies` to build.")
    scales: dict[Name, Scale] = Field(description="Hardware by name.")
    datasets: dict[Name, Dataset] = Field(description="Worlds of facts by name.")
    tokenizers: dict[Name, Tokenizer] = Field(description="Tokenizers by name.")
    models: dict[Name, Model] = Field(description="Architectures by name.")
    regimes: dict[Name, Regime] = Field(description="Training regimes by name.")
    quantizers: dict[Name, Quantizer] = Field(description="Quantisation schemes by name.")
    extractions: dict[Name, Extraction] = Field({}, description="Ways to ask for what models know, by name.")
    studies: dict[Name, Study] = Field(description="Studies by name.")
    probe: Probe = Field(Probe(), description="How bits are measured.")
    table: Table = Field(Table(), description="How the capacity table is made.")
    claims: str | None = Field(None, description="A file of published claims that the table is held against.")
    display: Display = Field(Display(), description="What figures look like.")
    audit: Audit = Field(Audit(), description="Tolerances of `make audit`.")
    store: str | None = Field(
        None, description="A folder shared by several checkouts or users, from which artefacts are taken by identity."
    )
