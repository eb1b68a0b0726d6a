"""People for training, validation (`choosing`: their answers choose between tries) and test (`held_out`). Light."""

from dataclasses import dataclass

# Streams of keyed randomness; those of worlds are below 100, that of initial weights is 101.
SPLIT = 201  # who is asked about in fine-tuning
ORDER = 202  # in which order the questions are trained on, by pass
NEW_ROWS = 203  # the embeddings of words that only questions have
ADAPTER = 204  # the initial low-rank matrices


@dataclass(frozen=True)
class Split:
    """Numbers of people: asked about in fine-tuning; for validation; for the test."""

    asked: int
    choosing: int
    held_out: int


def split_sizes(num_people: int, asked_share: float, choosing_share: float) -> Split:
    """The sizes of the three groups. choosing_share: of those who are not asked about; 0 where nothing is chosen."""
    asked = round(num_people * asked_share)
    choosing = round((num_people - asked) * choosing_share)
    return Split(asked, choosing, num_people - asked - choosing)
