"""The study of a measure as sections that are laid over config.yaml: two models, the same worlds, orders and rates."""

import math
from dataclasses import dataclass, replace
from typing import Any, Self

from capacity.errors import UserError
from capacity.measure.recipe import LEAST_SEEDS, LONG, OFFERED, ON_THIS_CPU, SHORT, Recipe

SCHEMES = {"none": {"method": "none"}, "int8": {"method": "rtn", "bits": 8}, "int4": {"method": "rtn", "bits": 4}}
CANDIDATE, BASELINE = "candidate", "baseline"
MOST_RATES = 6


@dataclass(frozen=True)
class MeasureStudy:
    """models: label to a section of `models`. rates: tried with 100 exposures. best: the one with 1000, by model.

    training: further keys of the candidate's regimes, such as optimizer. schemes: further quantizers. diverged: models
    and rates that gave no number.
    """

    name: str
    recipe: Recipe
    models: dict[str, dict[str, Any]]
    P: int
    rates: dict[str, list[float]]
    best: dict[str, float]
    seeds: int = LEAST_SEEDS
    offered: tuple[float, ...] = OFFERED
    left_out: tuple[float, ...] = ()  # of what was to be offered, for want of time
    training: tuple[tuple[str, Any], ...] = ()
    schemes: tuple[tuple[str, Any], ...] = ()
    extraction: str | None = None
    seconds_a_token: float | None = None  # of the candidate's training, where it was timed
    diverged: tuple[tuple[str, float], ...] = ()
    folder: str = "measures"
    against: str = "a GPT-2 of the same size"

    @classmethod
    def first(cls, name: str, recipe: Recipe, models: dict[str, dict[str, Any]], P: int, **more: Any) -> Self:
        """Three rates after 100 exposures; nothing yet after 1000."""
        return cls(name, recipe, models, P, {label: recipe.first_rates() for label in models}, {}, **more)

    @property
    def study(self) -> str:
        """Its name among `studies`."""
        return f"measure-{self.name}"

    def whole(self) -> Self:
        """With 1000 exposures at the middle of each model's rates, for an estimate of what all costs."""
        return replace(self, best={label: rates[len(rates) // 2] for label, rates in self.rates.items()})

    def with_rate(self, label: str, rate: float) -> Self:
        """With one more rate for a model."""
        return replace(self, rates={**self.rates, label: sorted([*self.rates[label], rate])})

    def next_rates(self, label: str, best: float) -> list[float]:
        """Half or twice the best rate, where it is the lowest or highest tried and the model did not diverge there."""
        rates, wider = self.rates[label], []
        if best == rates[0] and (label, best / 2) not in self.diverged:
            wider.append(best / 2)
        if best == rates[-1] and 2 * best < self.too_high(label):
            wider.append(2 * best)
        return wider

    def without(self, lost: set[tuple[str, float]]) -> Self:
        """Without rates at which models, by their names in the table, diverged, and without what rests on them.

        Raises UserError where a model has no rate left.
        """
        diverged = {*self.diverged, *((model.removeprefix("measure-"), rate) for model, rate in lost)}
        rates = {
            label: [each for each in rates if (label, each) not in diverged] for label, rates in self.rates.items()
        }
        if empty := [label for label, left in rates.items() if not left]:
            tried = ", ".join(f"{rate:g}" for label, rate in sorted(diverged) if label == empty[0])
            raise UserError(
                f"{empty[0]}: the loss is no number at any rate tried ({tried}); start with smaller weights"
            )
        return replace(self, rates=rates, best={}, diverged=tuple(sorted(diverged)))

    def too_high(self, label: str) -> float:
        """The lowest rate at which a model diverged, infinity where it did at none."""
        return min((rate for model, rate in self.diverged if model == label), default=math.inf)

    def worlds(self) -> dict[float, int]:
        """Bits offered a parameter to people."""
        return {offered: self.recipe.people(self.P, offered) for offered in self.offered}

    def config(self) -> dict[str, Any]:
        """What is laid over config.yaml."""
        regimes, grids = {}, []
        people = list(self.worlds().values())
        for label in self.models:
            more = dict(self.training) if label == CANDIDATE else {}
            wanted: dict[int, float | list[float]] = {SHORT: self.rates[label]}
            if self.best:
                wanted[LONG] = self.best[label]
            for exposures, lr in wanted.items():
                regimes[f"measure-{label}-{exposures}"] = {**self.recipe.regime(exposures, lr, min(people)), **more}
            names = [f"measure-{label}-{exposures}" for exposures in wanted]
            grids.append({"models": [f"measure-{label}"], "regimes": names, "vary": {"dataset.N": people}})
        study = {
            "question": f"How much does {self.name} remember beside {self.against}?",
            "paper": "Two bits a parameter after 1000 exposures, one after 100, whatever the architecture.",
            "datasets": ["measure"],
            "tokenizers": ["measure"],
            "quantizers": [*SCHEMES, *dict(self.schemes)],
            "seeds": list(range(1, self.seeds + 1)),
            "grids": grids,
            **({"extraction": self.extraction} if self.extraction else {}),
        }
        return {
            **ON_THIS_CPU,
            "study": [self.study],
            "claims": None,
            "datasets": {"measure": self.recipe.world(people[0])},
            "tokenizers": {"measure": {"kind": "word"}},
            "models": {f"measure-{label}": section for label, section in self.models.items()},
            "regimes": regimes,
            "quantizers": {**SCHEMES, **dict(self.schemes)},
            "studies": {self.study: study},
        }
