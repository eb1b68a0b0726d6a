"""What a tokenizer is made by; light enough for the main process."""

from typing import Any, Literal

from pydantic import TypeAdapter

from capacity.artefacts.settings import Settings

TOKENIZER_FILE = "tokenizer.json"  # in a folder of a tokenizer


class WordVocabulary(Settings):
    """The words that the dataset can produce."""

    kind: Literal["word"]


class OwnBpe(Settings):
    """Byte-level BPE learned from the dataset's text, of at most so many tokens; unused rows are dropped."""

    kind: Literal["bpe"]
    vocabulary: int
    split_digits: bool


class _PublishedBpe(Settings):
    """compact: without the rows that the dataset cannot use. rows: the number of all, where they are kept."""

    kind: Literal["pretrained"]
    compact: bool
    rows: int | None


class FolderBpe(_PublishedBpe):
    """A published tokenizer in a folder; files: its tokenizer.json, by content."""

    folder: str
    files: dict[str, str]


class NamedBpe(_PublishedBpe):
    """A published tokenizer in Hugging Face's cache. sha256: of its tokenizer.json."""

    name: str
    revision: str
    sha256: str


PublishedBpe = FolderBpe | NamedBpe
TokenizerSettings = WordVocabulary | OwnBpe | FolderBpe | NamedBpe
TOKENIZER: TypeAdapter[TokenizerSettings] = TypeAdapter(TokenizerSettings)


def read_tokenizer(settings: dict[str, Any]) -> TokenizerSettings:
    """The settings in a tokenizer's spec. Raises ValueError where they are of another kind."""
    return TOKENIZER.validate_python(settings)


def keeps_all_rows(settings: TokenizerSettings) -> bool:
    """Whether tokens that the dataset cannot use are rows of a model too."""
    return isinstance(settings, FolderBpe | NamedBpe) and not settings.compact
