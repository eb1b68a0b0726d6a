"""The study of a mix: one world told more and more often among more and more junk, with a tag or with fewer facts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Self

from capacity.errors import UserError
from capacity.measure.recipe import ON_THIS_CPU, Recipe

CLEAN, JUNK, TAGGED, FEWER = "clean", "junk", "tagged", "fewer"
NAMES = 128  # of each part: useful and junk people together leave most names alone
JUNK_PEOPLE = 500_000  # with few useful people and exposures each is told a few times at most: `junk_told`
MOST_TOLD = 3.5  # times that the paper tells a person of its random junk, at most
OFFERED = 1.3  # bits a parameter: the model can keep nearly all of it


@dataclass(frozen=True)
class Arm:
    """One curve over exposures. kind: how the text is mixed. share: of junk."""

    kind: str
    share: float

    @property
    def label(self) -> str:
        """Its name in a configuration, of letters and digits."""
        return self.kind if self.kind == CLEAN else f"{self.kind}-{self.share:g}".replace(".", "-")

    def __str__(self) -> str:
        return {
            CLEAN: "no junk",
            JUNK: f"{self.share:.1%} junk",
            TAGGED: f"{self.share:.1%} junk, a tag on what is useful",
            FEWER: f"{self.share:.1%} junk, half of the facts",
        }[self.kind]


@dataclass(frozen=True)
class MixStudy:
    """exposures: of a useful fact. The rates are tried in every cell. P: of the model, on these worlds."""

    name: str
    recipe: Recipe
    model: dict[str, Any]
    P: int
    arms: tuple[Arm, ...]
    exposures: tuple[int, ...]
    seeds: int
    seconds_a_token: float | None = None
    diverged: tuple[float, ...] = ()  # rates that gave no number in some cell
    folder: str = "mixes"

    def whole(self) -> Self:
        """Itself: nothing is decided on the way."""
        return self

    @property
    def study(self) -> str:
        """Its name among `studies`."""
        return f"mix-{self.name}"

    def people(self, arm: Arm) -> int:
        """How many useful people an arm tells of."""
        N = self.recipe.people(self.P, OFFERED)
        return N // 2 if arm.kind == FEWER else N

    def junk_told(self, arm: Arm, exposures: int) -> float:
        """How often a junk person is told on average while a useful fact is told `exposures` times."""
        return self.people(arm) * exposures * arm.share / (1 - arm.share) / JUNK_PEOPLE

    def rates(self) -> list[float]:
        """Around the recipe's, and further down: the best rate among junk lies lower."""
        tried = (self.recipe.lr * factor for factor in (0.25, 0.5, 1, 2))
        return [rate for rate in tried if rate not in self.diverged]

    def without(self, lost: set[tuple[str, float]]) -> Self:
        """Without rates at which a training diverged, in all cells. Raises UserError where none is left."""
        left = replace(self, diverged=tuple(sorted({*self.diverged, *(rate for _, rate in lost)})))
        if not left.rates():
            raise UserError(
                f"{self.name}: the loss is no number at any rate that was tried; start with smaller weights"
            )
        return left

    def config(self) -> dict[str, Any]:
        """What is laid over config.yaml."""
        fewest = min(self.people(arm) for arm in self.arms)
        rates = self.rates()
        regimes = {f"mix-{exposures}": self.recipe.regime(exposures, rates, fewest) for exposures in self.exposures}
        study = {
            "question": f"How often must a fact be told among junk, to {self.name}?",
            "paper": "Among 7/8 random junk 100 exposures store 20 times less, with a tag 2 times less.",
            "datasets": [f"mix-{arm.label}" for arm in self.arms],
            "tokenizers": ["mix"],
            "models": ["mix"],
            "regimes": list(regimes),
            "quantizers": ["none"],
            "seeds": list(range(1, self.seeds + 1)),
        }
        return {
            **ON_THIS_CPU,
            "study": [self.study],
            "claims": None,
            "datasets": {f"mix-{arm.label}": self._world(arm) for arm in self.arms},
            "tokenizers": {"mix": {"kind": "word"}},
            "models": {"mix": self.model},
            "regimes": regimes,
            "quantizers": {"none": {"method": "none"}},
            "studies": {self.study: study},
        }

    def _world(self, arm: Arm) -> dict[str, Any]:
        world = self.recipe.world(self.people(arm))
        junk = {} if arm.kind == CLEAN else {"junk": {"people": JUNK_PEOPLE, "share": arm.share}}
        return {**world, **junk, **({"tag": True} if arm.kind == TAGGED else {})}


def arms_of(shares: Sequence[float], tagged: bool, fewer: bool) -> tuple[Arm, ...]:
    """No junk, and each share of it in each kind of text. Raises UserError for what is no share."""
    for share in shares:
        if not 0 < share < 1:
            raise UserError(f"--shares: {share:g}; give shares of junk above 0 and below 1, such as 0.5 0.875")
    distinct = sorted(set(shares))
    for share, next_ in pairwise(distinct):
        if Arm(JUNK, share).label == Arm(JUNK, next_).label:
            raise UserError(f"--shares: {share!r} and {next_!r} are one in six digits; leave one of them out")
    kinds = [JUNK, *([TAGGED] if tagged else []), *([FEWER] if fewer else [])]
    return (Arm(CLEAN, 0), *(Arm(kind, share) for share in distinct for kind in kinds))


def mix_recipe(recipe: Recipe) -> Recipe:
    """A recipe whose worlds have names for the junk people, too."""
    return replace(recipe, names=NAMES)
