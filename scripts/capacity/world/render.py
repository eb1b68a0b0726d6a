"""From draws to labelled tokens: a biography is a row of piece numbers, its tokens are gathered from tables.

Where a token can reach from one piece into the next, the row's text is tokenised whole instead.

Shapes: B biographies, S attributes, P sentences rendered, Q pieces a sentence, F pieces before the sentences.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from capacity.errors import UserError
from capacity.world.facts import World
from capacity.world.junk import JunkPeople
from capacity.world.labels import reach, token_labels
from capacity.world.pieces import EMPTY, PieceTable
from capacity.world.sampling import Draws
from capacity.world.text import biographies
from capacity.world.token_merges import encode_texts

CHUNK = 40_000  # pieces gathered at a time, so that the temporaries stay in the cache


@dataclass(frozen=True)
class Rendering:
    """Tokens of B biographies, end to end, without EOS.

    tokens, labels, first_chunk: (sum of lengths,). lengths, people: (B,). labels name each token's item: 0
    filler, 1 full name, 2.. value items in the account's order. first_chunk marks the first chunk of each
    bioD value.
    """

    tokens: NDArray[np.unsignedinteger]
    lengths: NDArray[np.int64]
    people: NDArray[np.int64]
    labels: NDArray[np.uint8] | None
    first_chunk: NDArray[np.bool_] | None


class Renderer:
    """Renders draws of one world in the tokens of one tokenizer. Raises UserError where they do not match.

    all_rows: whether a model has rows for tokens of the tokenizer that the world cannot produce.
    """

    def __init__(self, world: World, tokenizer: Tokenizer, all_rows: bool = False):
        self._set(world, PieceTable(world.grammar, bool(world.account.diversity), tokenizer, all_rows))

    def for_junk(self, junk: JunkPeople) -> "Renderer":
        """A renderer of the world's junk people in the same tokens."""
        other = object.__new__(Renderer)
        other._set(junk, self.pieces)
        return other

    def _set(self, world: World | JunkPeople, pieces: PieceTable) -> None:
        self.world, self.grammar, self.pieces = world, world.grammar, pieces
        self._tag = pieces.tag if world.grammar.tag else EMPTY
        self._num_slots = max(len(attribute.slots) for attribute in world.grammar.attributes)
        templates = [template for attribute in world.grammar.attributes for template in attribute.templates]
        self._has_after = any(after for _, after in templates)
        self._template_sizes = self.pieces.template_sizes()

    @property
    def vocab_size(self) -> int:
        """V: the rows of a model's embedding; unless all are asked for, the ids that this world can produce and EOS."""
        return self.pieces.vocab_size

    @property
    def num_used(self) -> int:
        """The ids that this world can produce, EOS included."""
        return self.pieces.num_used

    @cached_property
    def max_length(self) -> int:
        """Tokens of the longest biography that the grammar can produce, whichever people are drawn.

        Where tokens reach across pieces, a bound, and none for the shortest: 1.
        """
        longest = self._constant_size + sum(int(sizes.max()) for sizes in self._part_sizes())
        return longest + self.pieces.most_change * self._width(len(self.grammar.attributes))

    @property
    def min_length(self) -> int:
        """Tokens of the shortest."""
        if self.pieces.merge:
            return 1
        return self._constant_size + sum(int(sizes.min()) for sizes in self._part_sizes())

    @property
    def mean_length(self) -> float:
        """Tokens of one with uniform facts and templates; roughly, where tokens reach across pieces."""
        return self._constant_size + sum(float(sizes.mean()) for sizes in self._part_sizes())

    def _part_sizes(self) -> list[NDArray[np.int64]]:
        return [*self.pieces.column_sizes().values(), *self._template_sizes]

    @property
    def _constant_size(self) -> int:
        return self.pieces.constant_size() + int(self._tag != EMPTY)

    @cached_property
    def _person_lengths(self) -> NDArray[np.int32]:
        """Tokens of each stored person's biography that no template decides, (N,)."""
        return self._fact_lengths(np.arange(self.world.N))

    def _fact_lengths(self, people: NDArray[np.int64]) -> NDArray[np.int32]:
        lengths = np.full(len(people), self._constant_size, dtype=np.int32)
        for column, sizes in self.pieces.column_sizes().items():
            lengths += sizes.astype(np.int32).take(self.world.codes(column, people))
        return lengths

    def lengths(self, draws: Draws) -> NDArray[np.int64]:
        """Tokens of each whole biography, (B,).

        It need not be rendered, unless tokens reach across pieces: the order of sentences plays no part.
        """
        if self.pieces.merge:
            return self.tokens(draws, labels=False).lengths
        stored = isinstance(self.world, World)
        by_facts = self._person_lengths.take(draws.people) if stored else self._fact_lengths(draws.people)
        lengths = by_facts.astype(np.int64)
        for index, sizes in enumerate(self._template_sizes):
            lengths += sizes.take(draws.templates[:, index])
        return lengths

    def texts(self, draws: Draws) -> list[str]:
        """The draws as text; tokenising it gives what `tokens` gives, slowly."""
        return list(biographies(self.world, draws))

    def tokens(self, draws: Draws, labels: bool) -> Rendering:
        """The draws as tokens, with the item of each where labels are asked for."""
        rows = max(CHUNK // self._width(draws.order.shape[1]), 1)
        starts = range(0, max(len(draws), 1), rows)
        parts = [self._gather(draws[start : start + rows], labels) for start in starts]
        tokens, lengths, *marks = (np.concatenate(part) for part in zip(*parts, strict=True))
        token_labels, first_chunk = marks or (None, None)
        return Rendering(tokens, lengths, draws.people, token_labels, first_chunk)

    def _gather(self, draws: Draws, labels: bool) -> list[NDArray]:
        """Tokens and lengths, with labels also labels and first-chunk marks, of a few biographies."""
        matrix, table = self._piece_matrix(draws, labels), self.pieces
        if table.merge:
            return self._encode(matrix, labels)
        flat = matrix.ravel()
        sizes = table.sizes.take(flat)
        ends = np.cumsum(sizes)
        shifts = table.starts.take(flat)  # from a token's place in the output to its place in the table
        shifts -= ends
        shifts += sizes
        source = np.repeat(shifts, sizes)
        source += np.arange(len(source))
        lengths = np.diff(ends[matrix.shape[1] - 1 :: matrix.shape[1]], prepend=0)
        tables = [table.labels, table.first_chunk] if labels else []
        return [table.tokens.take(source), lengths, *(table.take(source) for table in tables)]

    def _encode(self, matrix: NDArray[np.int64], labels: bool) -> list[NDArray]:
        """What `_gather` gives, of texts that are tokenised whole. Raises UserError for a token that is no row."""
        table = self.pieces
        texts = ["".join([table.texts[number] for number in row]) for row in matrix.tolist()]
        encodings = encode_texts(table.tokenizer, texts, offsets=True)
        lengths = np.array([len(each) for each in encodings], dtype=np.int64)
        tokens = np.fromiter(chain.from_iterable(each.ids for each in encodings), np.int64, lengths.sum())
        if tokens.max(initial=0) >= self.vocab_size or lengths.max(initial=0) > self.max_length:
            raise UserError("tokenizer: its tokens reach over whole pieces of a text; use compact: false")
        rendered = [tokens.astype(table.tokens.dtype), lengths]
        if labels:
            flat = matrix.ravel()
            sizes = np.array([len(table.texts[number]) for number in flat], dtype=np.int64)
            starts = (np.cumsum(sizes) - sizes)[:: matrix.shape[1]]
            token_label, spans = token_labels(encodings, starts, np.repeat(table.piece_labels.take(flat), sizes))
            rendered += [token_label, reach(np.repeat(table.piece_first_chunk.take(flat), sizes), spans)]
        return rendered

    def _width(self, num_sentences: int) -> int:
        """At least the pieces of a biography of so many sentences."""
        return len(self.pieces.names) + 2 + num_sentences * (3 + self._num_slots)

    def _piece_matrix(self, draws: Draws, labels: bool) -> NDArray[np.int64]:
        """Piece numbers in reading order, (B, F + P * Q): tag, name, suffix, then each sentence's Q pieces."""
        B, P = draws.order.shape
        S, table = len(self.grammar.attributes), self.pieces
        sentences = self._sentences(draws, labels)
        Q = sentences.shape[1] // S
        rows = (draws.order + np.arange(0, B * S, S)[:, None]).ravel()
        front = [self._numbers(draws, column, base) for column, base in table.names]
        if table.suffix != EMPTY:
            front.append(self._numbers(draws, None, table.suffix))
        if self._tag != EMPTY:
            front.insert(0, self._numbers(draws, None, self._tag))
        F = len(front)
        matrix = np.empty((B, F + P * Q), dtype=np.int64)
        for place, numbers in enumerate(front):
            matrix[:, place] = numbers
        matrix[:, F:] = sentences.reshape(B * S, Q).take(rows, axis=0).reshape(B, P * Q)
        if self.grammar.pronoun:  # the first sentence's subject is the full name, and its own place stays EMPTY
            column = self.grammar.pronoun.column
            matrix[:, F + Q : F + 2 * Q : Q] = self._numbers(draws, column, table.first_pronoun)[:, None]
            matrix[:, F + 2 * Q :: Q] = self._numbers(draws, column, table.later_pronoun)[:, None]
        return matrix

    def _sentences(self, draws: Draws, labels: bool) -> NDArray[np.int64]:
        """Piece numbers of all attributes' sentences, in the grammar's order, (B, S * Q); no subjects yet."""
        S, table, start = len(self.grammar.attributes), self.pieces, int(self.grammar.pronoun is not None)
        Q = start + 1 + self._num_slots + int(self._has_after)
        sentences = np.full((len(draws), S * Q), EMPTY, dtype=np.int64)
        for index in range(S):
            template, first = draws.templates[:, index].astype(np.int64), index * Q + start
            sentences[:, first] = template + table.befores[index]
            for place, (column, base) in enumerate(table.values[index], start=first + 1):
                sentences[:, place] = self._numbers(draws, column, base)
            if labels and self.grammar.paragraphs and table.leaks[index]:
                leaking = self._leaking(draws, index)
                for place, (column, base) in enumerate(table.leaks[index], start=first + 1):
                    sentences[leaking, place] = self._numbers(draws, column, base)[leaking]
            if self._has_after:
                sentences[:, index * Q + Q - 1] = template + table.afters[index]
        return sentences

    def _leaking(self, draws: Draws, index: int) -> NDArray[np.bool_]:
        """Which biographies, (B,), mention an attribute before the one that decides it.

        The two together then cost what the deciding one costs: the chain rule makes it a code for the pair.
        """
        deciding = self.grammar.attributes[index].determined_by
        assert deciding
        source = self.grammar.attribute_index(deciding)
        if draws.order.shape[1] < len(self.grammar.attributes):
            return np.zeros(len(draws), dtype=bool)
        return np.argmax(draws.order == index, axis=1) < np.argmax(draws.order == source, axis=1)

    def _numbers(self, draws: Draws, column: str | None, base: int) -> NDArray[np.int64]:
        """Piece numbers of what a column says of each person, (B,); its run of pieces begins at base."""
        if column is None:
            return np.full(len(draws), base, dtype=np.int64)
        return self.world.codes(column, draws.people) + np.int64(base)
