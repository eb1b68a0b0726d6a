"""Tokenizers, as `config.yaml` describes them."""

from typing import Annotated, Literal

from pydantic import Field

from capacity.config.sections import Section


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
