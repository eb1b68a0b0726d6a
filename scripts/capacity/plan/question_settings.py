"""How people are asked, from a checked extraction: of studies and of tasks for another harness alike."""

from collections.abc import Mapping, Sequence

from capacity.config.extractions import Extraction
from capacity.errors import UserError
from capacity.extraction.people import split_sizes
from capacity.extraction.spec import QuestionSettings
from capacity.extraction.wordings import NAME, wordings_of
from capacity.world.kinds import WorldSettings


def question_settings(extraction: Extraction, seed: int) -> QuestionSettings:
    """The questions of an extraction. seed: of the split."""
    own = {attribute: list(texts) for attribute, texts in extraction.wordings.items()}
    return QuestionSettings(asked=extraction.asked, choosing=_choosing(extraction), wordings=own, seed=seed)


def _choosing(extraction: Extraction) -> float:
    """The share for validation: none where there is nothing to choose from."""
    return extraction.choosing if len(extraction.tries()) > 1 else 0.0


def check_questions(extraction: Extraction, label: str, asked_by: str, world: WorldSettings, dataset: str) -> None:
    """Raise UserError, in one line, for people that could not be asked so.

    label, dataset: names in the configuration. asked_by: what asks for the extraction, a key or an option.
    """
    key = f"extractions.{label}"
    try:
        wordings = wordings_of(world, extraction.wordings)
    except KeyError as error:
        known = ", ".join(wordings_of(world, {})) or "none"
        raise UserError(f"{key}.wordings: {error.args[0]!r} is no attribute of {dataset}; there are: {known}") from None
    if not wordings:
        raise UserError(
            f"{asked_by}: {label}, but {dataset} is of kind {world.kind}, which has no attributes to ask for"
        )
    _check_wordings(wordings, f"{key}.wordings", dataset)
    _check_groups(extraction, key, world.N, dataset, most=max(map(len, wordings.values())))


def _check_wordings(wordings: Mapping[str, Sequence[str]], key: str, dataset: str) -> None:
    """Refuse questions that ask for two attributes, or whose attribute is called as the place for the name is."""
    attribute_of: dict[str, str] = {}
    for attribute, texts in wordings.items():
        for text in texts:
            if text.count(NAME) != 1:
                raise UserError(
                    f"{key}: {attribute!r} of {dataset} is asked for by {text!r}; give it wordings of its own"
                )
            if (other := attribute_of.setdefault(text, attribute)) != attribute:
                raise UserError(
                    f"{key}: {other!r} and {attribute!r} of {dataset} are both asked for by {text!r}; "
                    "give one of them wordings of its own"
                )


def _check_groups(extraction: Extraction, key: str, N: int, dataset: str, most: int) -> None:
    """Refuse groups of people that are too small. most: wordings of a question."""
    groups = split_sizes(N, extraction.asked, _choosing(extraction))
    if groups.asked < most:
        raise UserError(
            f"{key}.asked: {extraction.asked} of N: {N} people of {dataset} are {groups.asked}, fewer than the "
            f"{most} wordings of a question; use more people"
        )
    if groups.held_out < 1 or (_choosing(extraction) and groups.choosing < 1):
        raise UserError(
            f"{key}: asked: {extraction.asked} and choosing: {extraction.choosing} of N: {N} people of {dataset} leave "
            f"{groups.held_out} for the test and {groups.choosing} for validation; use more people or other shares"
        )
