"""What a plan for GPUs assumes, what it would cost at rates that were measured, and what fits a day, in words."""

from collections import Counter

from capacity.plan.estimates import DAY, PUBLISHED_RUN, published_rate
from capacity.plan.forecast import Forecast, PlannedJob
from capacity.plan.roofline import Card, in_words

MOST_DAYS = 10  # of a plan that is told what to leave out; a longer one is a cluster's
MOST_NAMED = 8  # trainings to leave out


def assumptions(answer: Forecast, card: Card, rate: float | None) -> list[str]:
    """The rates behind trainings whose like never ran, and their cost at others.

    rate: FLOP/s of one GPU as somebody measured it.
    """
    assumed = [job.cost for job in answer.jobs if job.cost.bound]
    if not assumed:
        return []
    bounds, flops = Counter(cost.bound for cost in assumed), sum(cost.flops or 0 for cost in assumed)
    said = ", ".join(f"{number} by {bound}" for bound, number in bounds.most_common())
    lines = [
        f"assumed for {len(assumed)} trainings whose like was never measured: {in_words(card)}; bound {said}",
        f"  so: {_long(sum(cost.seconds for cost in assumed))} for {flops:.3g} FLOPs",
        f"  at the published rate: {_long(flops / published_rate())}, by {published_rate():.1e} FLOP/s of "
        f"each: {PUBLISHED_RUN}",
    ]
    if rate:
        lines.append(f"  at the rate given: {_long(flops / rate)}, by {rate:.1e} FLOP/s of one GPU")
    return lines


def _long(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} GPU hours" if seconds < 2 * DAY else f"{seconds / DAY:,.1f} GPU days"


def fit_of_a_day(answer: Forecast, gpus: int) -> list[str]:
    """Whether a plan ends within a day on so many GPUs; where it takes a few, which trainings to leave out."""
    days = answer.total()["gpu_seconds"] / gpus / DAY
    there = "one GPU" if gpus == 1 else f"{gpus} GPUs"
    if not days:
        return []
    if days <= 1:
        return [f"on {there}: {24 * days:.1f} hours, which fits a day"]
    if days > MOST_DAYS:
        return [f"on {there}: {days:,.0f} days; take a cluster, or fewer runs"]
    out = _most_costly(answer, (days - 1) * gpus * DAY)
    names = [f"{_name(job)} ({job.cost.seconds / 3600:.1f} h)" for job in out]
    more = f" and {len(out) - MOST_NAMED} more" if len(out) > MOST_NAMED else ""
    return [f"on {there}: {days:.1f} days; to fit a day leave out {', '.join(names[:MOST_NAMED])}{more}"]


def _most_costly(answer: Forecast, seconds: float) -> list[PlannedJob]:
    """The fewest trainings that take so many seconds of GPUs together."""
    out: list[PlannedJob] = []
    trainings = [job for job in answer.jobs if job.cost.P is not None]
    for job in sorted(trainings, key=lambda job: -job.cost.seconds):
        if sum(each.cost.seconds for each in out) >= seconds:
            break
        out.append(job)
    return out


def _name(job: PlannedJob) -> str:
    return job.name.partition("/")[2].rpartition("-")[0]
