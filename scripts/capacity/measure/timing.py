"""How fast a model that is not of the paper learns on this machine's CPU: a few steps, timed."""

import statistics
import time

from capacity.errors import UserError
from capacity.measure.recipe import LONG, Recipe
from capacity.models.spec import ExternalModel

WARM_UP, TIMED = 3, 7  # steps


def seconds_a_token(model: ExternalModel, recipe: Recipe) -> float:
    """Of one core: forward, backward and AdamW on random rows, the median of a few steps. Raises UserError."""
    import torch  # heavy

    from capacity.models.external import build_external, name_of, one_line

    torch.set_num_threads(1)
    built = build_external(model, recipe.vocabulary, recipe.tokens)
    optimizer = torch.optim.AdamW(built.parameters())
    rows = torch.randint(0, recipe.vocabulary, (recipe.batch[LONG], recipe.tokens))
    taken = []
    for _ in range(WARM_UP + TIMED):
        start = time.perf_counter()
        try:
            logits = built(rows).logits
            torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), rows.flatten()).backward()
        except Exception as error:  # whatever a factory's model raises
            raise UserError(f"{name_of(model)}: cannot be trained: {one_line(error)}") from error
        optimizer.step()
        optimizer.zero_grad()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[WARM_UP:]) / rows.numel()
