"""Tokenizers, as `config.yaml` describes them."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from capacity.config.validation import Section, problem


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
    """A published BPE tokenizer, such as GPT-2's, LLaMA's or Mistral's, from a folder or by name."""

    kind: Literal["pretrained"]
    folder: str | None = Field(
        None, description="A folder with its tokenizer.json, from the project's folder on; by content."
    )
    name: str | None = Field(
        None,
        description="Instead of folder: a repository on Hugging Face, such as openai-community/gpt2. Its "
        "tokenizer.json is read from Hugging Face's cache and counts by content; `hf download` puts it there.",
    )
    revision: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")] | None = Field(
        None, description="The commit of a repository by name, 40 digits; required there."
    )
    compact: bool = Field(
        True,
        description="true: only the tokens that the dataset can use are rows of a model, as in the paper. false: all "
        "are, and P counts them; the end of a text is row 0.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.folder is None) == (self.name is None):
            raise problem("folder or name: give one of them, a folder here or a repository on Hugging Face")
        if self.name is not None and self.revision is None:
            raise problem(f"name: {self.name} needs a revision, its commit; tomorrow it may mean another file")
        if self.folder is not None and self.revision is not None:
            raise problem("revision: given with folder, which counts by content; remove revision")
        return self


Tokenizer = Annotated[Word | Bpe | Pretrained, Field(discriminator="kind")]
