"""Whether each full name can be read in one way: parts of several words may join to the same text as others do."""

from collections import deque
from collections.abc import Iterator, Sequence

from capacity.errors import UserError

Words = tuple[str, ...]
State = tuple[int, int, Words, Words]  # parts read by one reading and by the other; what one is ahead; all words so far


def check_readings(parts: Sequence[Sequence[str]]) -> None:
    """Refuse lists whose values join to one text in two ways: two people could not be distinguished.

    parts: the values of each part of a full name, in order. Raises UserError with such a name.
    """
    if twice := read_twice(parts):
        raise UserError(
            f"value_lists: {twice!r} is two full names of these lists, whose parts end in different places; change "
            "values of several words, so that a text is one name"
        )


def read_twice(parts: Sequence[Sequence[str]]) -> str | None:
    """A text that is two full names, or None: the test of Sardinas and Patterson for unique decoding, part by part."""
    words = [[tuple(value.split(" ")) for value in values] for values in parts]
    if all(len(value) == 1 for values in words for value in values):
        return None
    lists = [_beginnings(values) for values in words]
    waiting = deque(_starts(words, lists))
    seen = set()
    while waiting:
        state = waiting.popleft()
        ahead, behind, rest, text = state
        if ahead == behind and not rest:  # whatever follows
            return " ".join(word for value in (text, *(values[0] for values in words[ahead:])) for word in value)
        if state[:3] not in seen:
            seen.add(state[:3])
            waiting.extend(_next(state, lists))
    return None


def _beginnings(values: list[Words]) -> dict[Words, list[Words]]:
    """Every beginning of values, from none of their words to all -> the values."""
    found: dict[Words, list[Words]] = {}
    for value in values:
        for stop in range(len(value) + 1):
            found.setdefault(value[:stop], []).append(value)
    return found


def _starts(words: list[list[Words]], lists: list[dict[Words, list[Words]]]) -> Iterator[State]:
    """Two readings that differ from some part on, where one's value begins the other's; before it any values."""
    for place, values in enumerate(words):
        before = tuple(word for each in words[:place] for word in each[0])
        for value in values:
            for longer in lists[place][value]:
                if longer != value:
                    yield place + 1, place + 1, longer[len(value) :], before + longer


def _next(state: State, lists: list[dict[Words, list[Words]]]) -> Iterator[State]:
    """The reading that is behind takes its next part."""
    ahead, behind, rest, text = state
    if behind == len(lists) or (ahead == len(lists) and not rest):
        return
    for stop in range(1, len(rest) + 1):
        if rest[:stop] in lists[behind].get(rest[:stop], ()):
            yield ahead, behind + 1, rest[stop:], text
    for value in lists[behind].get(rest, ()):
        if value != rest:
            yield behind + 1, ahead, value[len(rest) :], text + value[len(rest) :]
