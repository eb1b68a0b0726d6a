"""The questions of a world: who is asked about, in which words, and the texts as files; and a tokenizer for them.

A text is a prompt and its answer. Every person of a group is asked for every attribute in every wording, a row each:
person, attribute, wording, prompt, answer. The answer is the value as a biography words it, its blank in front.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tokenizers import Tokenizer

from capacity.errors import UserError
from capacity.extraction.people import SPLIT, split_sizes
from capacity.extraction.spec import QuestionSettings
from capacity.extraction.wordings import NAME, wordings_of
from capacity.world.facts import World
from capacity.world.grammar import Grammar, Slot
from capacity.world.pieces import EOS_ID
from capacity.world.streams import generator
from capacity.world.token_merges import read_grammar

GROUPS = ("asked", "choosing", "held_out")  # files of texts, by group of people
CHECKED_PEOPLE = 1000  # whose texts are held against the biographies' tokens
ROWS_A_WRITE = 2**18


@dataclass(frozen=True)
class Lengths:
    """Tokens of the longest prompt and of the longest answer that a grammar gives, whichever people are drawn."""

    prompt: int
    answer: int

    @property
    def positions(self) -> int:
        """Tokens that a model reads at most when it is asked: EOS, a prompt, an answer as long as the longest."""
        return 1 + self.prompt + self.answer


@dataclass(frozen=True)
class Asked:
    """What a model is trained on to answer: texts, the tokenizer that reads them, and how long any can be."""

    tokenizer: Tokenizer
    prompts: list[str]
    answers: list[str]
    lengths: Lengths


def groups_of(world: World, settings: QuestionSettings) -> list[NDArray[np.int64]]:
    """The people of each group, in ascending order; a keyed shuffle, cut by `split_sizes`."""
    sizes = split_sizes(world.N, settings.asked, settings.choosing)
    people = generator(settings.seed, SPLIT).permutation(world.N)
    cuts = [sizes.asked, sizes.asked + sizes.choosing]
    return [np.sort(part) for part in np.split(people, cuts)]


def full_names(world: World, people: NDArray[np.int64]) -> list[str]:
    """Full names as biographies have them, a blank in front."""
    return _read(world, world.grammar.name, people)


def answers(world: World, attribute: str, people: NDArray[np.int64]) -> list[str]:
    """Values of an attribute as biographies have them, a blank in front."""
    grammar = world.grammar
    return _read(world, grammar.attributes[grammar.attribute_index(attribute)].slots, people)


def _read(world: World, slots: Sequence[Slot], people: NDArray[np.int64]) -> list[str]:
    columns = []
    for slot in slots:
        assert slot.column is not None
        texts = world.grammar.texts(slot)
        columns.append([texts[code] for code in world.codes(slot.column, people)])
    return list(map("".join, zip(*columns, strict=True)))


def asked_attributes(world: World, own: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The wordings of every attribute in the order of the account; those of attributes that cannot be asked are out."""
    wordings = wordings_of(world.settings, own)
    return {name: wordings[name] for name, _ in world.account.items if name in wordings}


def prompt_parts(wording: str, grammar: Grammar) -> tuple[str, str]:
    """What stands before and after the name; a name that ends with a mark is followed by a blank."""
    before, after = f" {wording}".split(f" {NAME}")
    return before, (" " if grammar.name[-1].after and after[:1].strip() else "") + after


def texts(world: World, wordings: Mapping[str, Sequence[str]], people: NDArray[np.int64]) -> pa.Table:
    """Every text of some people: a row a person, attribute and wording, people in order."""
    attributes = list(wordings)
    names = full_names(world, people)
    values = {attribute: answers(world, attribute, people) for attribute in attributes}
    kinds = [(attribute, w) for attribute in attributes for w in range(len(wordings[attribute]))]
    codes = np.tile(np.array([attributes.index(attribute) for attribute, _ in kinds], dtype=np.int16), len(people))
    parts = [prompt_parts(wordings[attribute][w], world.grammar) for attribute, w in kinds]
    return pa.table(
        {
            "person": np.repeat(people.astype(np.int32), len(kinds)),
            "attribute": pa.DictionaryArray.from_arrays(codes, attributes),
            "wording": np.tile(np.array([w for _, w in kinds], dtype=np.int16), len(people)),
            "prompt": [before + name + after for name in names for before, after in parts],
            "answer": [values[attribute][i] for i in range(len(people)) for attribute, _ in kinds],
        }
    )


def write_texts(world: World, wordings: Mapping[str, Sequence[str]], people: NDArray[np.int64], path: Path) -> int:
    """Write the texts of some people as parquet, a part of them in memory at a time; the number of texts."""
    kinds = sum(map(len, wordings.values()))
    step = max(1, ROWS_A_WRITE // kinds)
    schema = texts(world, wordings, people[:1]).schema
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for first in range(0, len(people), step):
            writer.write_table(texts(world, wordings, people[first : first + step]))
    return kinds * len(people)


def write_questions(world: World, tokenizer: Tokenizer, settings: QuestionSettings, folder: Path) -> Tokenizer:
    """Write asked, choosing and held_out.parquet, wordings.json, lengths.json; returns the tokenizer that reads them.

    Raises UserError where the tokenizer reads names or values otherwise than in a biography.
    """
    groups = groups_of(world, settings)
    wordings, known = readable_questions(world, tokenizer, settings.wordings)
    for group, people in zip(GROUPS, groups, strict=True):
        write_texts(world, wordings, people, folder / f"{group}.parquet")
    (folder / "wordings.json").write_text(json.dumps(wordings, indent=1) + "\n", encoding="utf-8")
    lengths = asdict(lengths_of(known, wordings, world.grammar))
    (folder / "lengths.json").write_text(json.dumps(lengths, indent=1) + "\n", encoding="utf-8")
    return known


def readable_questions(
    world: World, tokenizer: Tokenizer, own: Mapping[str, Sequence[str]]
) -> tuple[dict[str, list[str]], Tokenizer]:
    """The wordings of all attributes, and the tokenizer that reads them; tried on the first people.

    Raises UserError where it reads names or values otherwise than in a biography.
    """
    wordings = asked_attributes(world, own)
    known = questions_tokenizer(tokenizer, wordings, world)
    sample = np.arange(min(world.N, CHECKED_PEOPLE))
    check_reads(
        known if world.rewritings else tokenizer, known, texts(world, wordings, sample), full_names(world, sample)
    )
    return wordings, known


def read_texts(folder: Path, group: str) -> pa.Table:
    """The texts of a group that `write_questions` wrote."""
    return pq.read_table(folder / f"{group}.parquet", use_threads=False)


def read_asked(folder: Path, tokenizer: Tokenizer) -> Asked:
    """What fine-tuning reads of a folder that `write_questions` wrote. tokenizer: the folder's own."""
    table = read_texts(folder, "asked")
    lengths = Lengths(**json.loads((folder / "lengths.json").read_text()))
    return Asked(tokenizer, table["prompt"].to_pylist(), table["answer"].to_pylist(), lengths)


def questions_tokenizer(tokenizer: Tokenizer, wordings: Mapping[str, Sequence[str]], world: World) -> Tokenizer:
    """A world's tokenizer with what the wordings need besides, and names and values that no written text mentions.

    Raises UserError where the end of a value is a part of what follows in a biography, and so no answer.
    """
    grammar = world.grammar
    if world.rewritings is None and read_grammar(tokenizer, grammar).merge:
        raise UserError(
            "extraction: the tokenizer joins the end of a value with what follows in a biography, so that no answer "
            "reads as the value does there; use one that splits at marks"
        )
    facts = [*grammar.name, *(slot for attribute in grammar.attributes for slot in attribute.slots)]
    unmentioned = (text for slot in facts for text in grammar.texts(slot)) if world.rewritings else ()
    return extended(tokenizer, chain(chain.from_iterable(_all_parts(wordings, grammar)), unmentioned))


def _all_parts(wordings: Mapping[str, Sequence[str]], grammar: Grammar) -> list[tuple[str, str]]:
    return [prompt_parts(text, grammar) for text in chain.from_iterable(wordings.values())]


def lengths_of(tokenizer: Tokenizer, wordings: Mapping[str, Sequence[str]], grammar: Grammar) -> Lengths:
    """How long questions can be. tokenizer: of `questions_tokenizer`; it reads the parts of a text as in the whole."""

    def longest(texts: Iterable[str]) -> int:
        return max(map(len, encode(tokenizer, list(texts))))

    def filled(slots: Sequence[Slot]) -> int:
        return sum(longest(grammar.texts(slot)) for slot in slots)

    parts = _all_parts(wordings, grammar)
    around = max(len(before) + len(after) for before, after in (encode(tokenizer, part) for part in parts))
    attributes = [grammar.attributes[grammar.attribute_index(attribute)] for attribute in wordings]
    return Lengths(around + filled(grammar.name), max(filled(attribute.slots) for attribute in attributes))


def extended(tokenizer: Tokenizer, pieces: Iterable[str]) -> Tokenizer:
    """The tokenizer with what some texts need besides: words of a closed vocabulary, characters of a BPE.

    Ids that it has are kept, new ones follow after its last. A text that it could read it reads as before.
    """
    state = json.loads(tokenizer.to_str())
    vocabulary, whole_words = state["model"]["vocab"], state["model"]["type"] == "WordLevel"
    for text in pieces:
        for word in _words(tokenizer, text):
            for unit in [word] if whole_words else word:
                vocabulary.setdefault(unit, len(vocabulary))
    return Tokenizer.from_str(json.dumps(state))


def _words(tokenizer: Tokenizer, text: str) -> list[str]:
    """A text cut as the tokenizer cuts it before it looks for tokens."""
    text = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
    if tokenizer.pre_tokenizer is None:
        return [text]
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]


def check_reads(tokenizer: Tokenizer, known: Tokenizer, table: pa.Table, names: Sequence[str]) -> None:
    """Refuse a tokenizer that does not find a biography's tokens in a question and its answer. Raises UserError.

    tokenizer: of the biographies. known: of the questions. names: of the people of the table, in their order.
    """
    prompts, answers = table["prompt"].to_pylist(), table["answer"].to_pylist()
    kinds = len(prompts) // len(names)
    asked, values, in_biography, together = (
        encode(reader, some)
        for reader, some in (
            (known, prompts),
            (known, answers),
            (tokenizer, answers),
            (known, [p + a for p, a in zip(prompts, answers, strict=True)]),
        )
    )
    for row, name in enumerate(encode(tokenizer, [name for name in names for _ in range(kinds)])):
        whole = asked[row] + values[row]
        inside = any(asked[row][i : i + len(name)] == name for i in range(len(asked[row])))
        if not inside or values[row] != in_biography[row] or together[row] != whole:
            raise UserError(
                f"wordings: the tokenizer reads {prompts[row] + answers[row]!r} otherwise than a biography's name and "
                "value; put blanks around {name} and at no end"
            )
        if known.decode(whole) != prompts[row] + answers[row]:
            raise UserError(f"wordings: the tokenizer reads {prompts[row]!r} as {known.decode(asked[row])!r}")


def encode(tokenizer: Tokenizer, some: Sequence[str]) -> list[list[int]]:
    """Token ids of texts; a prompt and its answer are read apart. Raises UserError where the tokenizer cannot."""
    try:
        return [encoding.ids for encoding in tokenizer.encode_batch_fast(list(some), add_special_tokens=False)]
    except Exception as error:  # tokenizers raises plain Exception
        raise UserError(
            f"wordings: the tokenizer cannot read a question ({error}); put blanks around {{name}}"
        ) from None


def rows_of(tokenizer: Tokenizer) -> int:
    """Rows that a model needs for the tokenizer, EOS included."""
    assert tokenizer.id_to_token(EOS_ID) is not None
    return tokenizer.get_vocab_size()
