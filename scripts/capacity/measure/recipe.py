"""How models of one order of size are trained and how much they are offered; declared here, before any run."""

from collections.abc import Sequence
from dataclasses import dataclass

from capacity.config.dataset import BioD
from capacity.errors import UserError
from capacity.plan.estimates import biography_tokens, vocabulary
from capacity.plan.world_specs import world_settings
from capacity.tables.bits import bits_offered
from capacity.tokenizers.spec import WordVocabulary
from capacity.world.facts import account_of
from capacity.world.kinds import GRAMMARS, WorldSettings

LONG, SHORT = 1000, 100  # exposures
WARM_UP = 500  # steps
OFFERED = (1.3, 2.6, 5.2)  # bits a parameter: less than is kept, a little more, too much
LEAST_OFFERED = 0.05  # less would be a handful of people
ON_THIS_CPU = {  # whatever scale config.yaml names
    "scale": "measure",
    "scales": {"measure": {"accelerator": "cpu", "precision": "fp32", "compile": "auto"}},
}
LEAST_SEEDS = 3  # an interval needs them


@dataclass(frozen=True)
class Recipe:
    """P: about so many parameters. lr: the middle of three rates, each twice the last. names: of each part."""

    P: int
    lr: float
    batch: dict[int, int]  # by exposures
    names: int

    def regime(self, exposures: int, lr: float | Sequence[float], fewest: int) -> dict[str, object]:
        """A section of `regimes`; a number of exposures without a batch of its own has that of 100.

        lr: a rate, or those to be tried. fewest: people of the smallest world; its warm-up takes a quarter at most.
        """
        batch = self.batch.get(exposures, self.batch[SHORT])
        rates = [lr] if isinstance(lr, float) else list(lr)
        return {
            "exposures": exposures,
            "packing": "rows",
            "batch": batch,
            "lr": rates if len(rates) > 1 else rates[0],
            "warmup_steps": min(WARM_UP, fewest * exposures // batch // 4),
        }

    def first_rates(self) -> list[float]:
        """The rates that are tried first."""
        return [self.lr / 2, self.lr, self.lr * 2]

    def world(self, N: int) -> dict[str, object]:
        """A section of `datasets`: names and values in single tokens, so that nothing is spent on language."""
        names = [self.names] * 3
        return {"kind": "bioD", "N": N, "K": 4, "D": 64, "T": 64, "names": names, "wording": "atomic"}

    @property
    def vocabulary(self) -> int:
        """Tokens of the recipe's worlds, EOS included."""
        return vocabulary(self._settings(1), WordVocabulary(kind="word"))

    @property
    def tokens(self) -> int:
        """Of a text, EOS included: the context of a model."""
        return biography_tokens(self._settings(1))

    def bits(self, N: int) -> float:
        """Bits that N people offer."""
        settings = self._settings(N)
        return bits_offered(N, account_of(GRAMMARS[type(settings)](settings), settings))

    def _settings(self, N: int) -> WorldSettings:
        return world_settings(BioD.model_validate(self.world(N)), seed=1)

    def people(self, P: int, offered: float) -> int:
        """How many people offer a model of P parameters so many bits a parameter, to two digits.

        Raises UserError for more than half of the names, and for a handful of people.
        """
        least, most = 1, self.names**3 // 2
        if not LEAST_OFFERED <= offered <= self.bits(most) / P:
            raise UserError(
                f"--offer: {offered:g} bits a parameter of {P:,}; this recipe has {LEAST_OFFERED:g} to "
                f"{self.bits(most) / P:.1f}"
            )
        while least < most:
            N = (least + most) // 2
            least, most = (least, N) if self.bits(N) >= offered * P else (N + 1, most)
        return int(float(f"{least:.2g}"))


RECIPES = {
    "9k": Recipe(9_200, 1e-2, {LONG: 64, SHORT: 16}, 32),
    "34k": Recipe(34_000, 5e-3, {LONG: 64, SHORT: 32}, 64),
    "117k": Recipe(117_000, 2.5e-3, {LONG: 64, SHORT: 64}, 64),
}
SPAN = 2.5  # a recipe serves models that are so many times larger or smaller


def recipe_for(P: int, name: str | None = None) -> Recipe:
    """The recipe of a name, or of the nearest size. Raises UserError where a model of P parameters fits none."""
    recipe = RECIPES[name] if name else min(RECIPES.values(), key=lambda each: max(P / each.P, each.P / P))
    if not 1 / SPAN <= P / recipe.P <= SPAN:
        sizes = ", ".join(f"{key} ({each.P:,})" for key, each in RECIPES.items())
        raise UserError(f"the model has {P:,} parameters; recipes: {sizes}, each for {SPAN} times less to {SPAN} more")
    return recipe
