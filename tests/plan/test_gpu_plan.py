"""A plan for GPUs says what its costs assume, what they would be at measured rates, and what fits a day."""

import re
from pathlib import Path

import pytest
from test_gpu_sharing import workstation

from capacity.cli import show_plan
from capacity.jobs.gpus import Gpu
from capacity.plan import roofline
from capacity.plan.estimates import PUBLISHED_DAYS, PUBLISHED_GPUS, published_rate
from capacity.plan.forecast import Basis, Cost, Forecast, PlannedJob, forecast
from capacity.plan.gpu_plan import assumptions, fit_of_a_day
from capacity.plan.roofline import A100, CARDS, card_of
from capacity.plan.survey import hold_against

HOUR = 3600.0


def planned(*hours: float) -> Forecast:
    """Trainings on a GPU of so many hours, at 1e13 FLOP/s."""
    costs = [
        Cost(HOUR * h, device="GPU", basis=Basis.ASSUMED, P=10**6, rate=1e13, flops=1e13 * HOUR * h, bound="memory")
        for h in hours
    ]
    return Forecast([PlannedJob("train", f"checkpoints/run{i}-abc", "", cost) for i, cost in enumerate(costs)])


def test_what_is_assumed_is_said_beside_the_published_rate_and_a_given_one() -> None:
    first, so, published, given = assumptions(planned(48, 72), A100, 2e13)
    assert first.startswith("assumed for 2 trainings whose like was never measured: 30% of the 312 TFLOP/s of an A100")
    assert first.endswith("bound 2 by memory")
    assert so == "  so: 5.0 GPU days for 4.32e+18 FLOPs"
    assert f"at the published rate: {5e13 / published_rate():.1f} GPU days" in published
    assert f"{PUBLISHED_DAYS} days on {PUBLISHED_GPUS}" in published
    assert given == "  at the rate given: 2.5 GPU days, by 2.0e+13 FLOP/s of one GPU"


def test_measured_trainings_assume_nothing() -> None:
    measured = Cost(HOUR, device="GPU", basis=Basis.RATE, P=1, rate=1e13, flops=1.0)
    assert assumptions(Forecast([PlannedJob("train", "checkpoints/a-b", "", measured)]), A100, None) == []


@pytest.mark.parametrize(
    ("hours", "gpus", "said"),
    [
        ([], 1, None),
        ([12, 11], 1, "on one GPU: 23.0 hours, which fits a day"),
        ([3, 20, 10], 1, "on one GPU: 1.4 days; to fit a day leave out run1 (20.0 h)"),
        ([3, 20, 10], 2, "on 2 GPUs: 16.5 hours, which fits a day"),
        ([30, 20, 10], 1, "on one GPU: 2.5 days; to fit a day leave out run0 (30.0 h), run1 (20.0 h)"),
        ([2400], 1, "on one GPU: 100 days; take a cluster, or fewer runs"),
    ],
)
def test_a_plan_fits_a_day_or_says_what_to_leave_out(hours: list[float], gpus: int, said: str | None) -> None:
    assert fit_of_a_day(planned(*hours), gpus) == ([said] if said else [])


@pytest.mark.parametrize(
    ("model", "card"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("", None),
    ],
)
def test_a_gpu_is_known_by_the_model_that_the_driver_says(model: str, card: str | None) -> None:
    found = card_of([Gpu("GPU-a", model), Gpu("GPU-b", "NVIDIA B200")])
    assert (found.name if found else None) == card
    assert card_of([]) is None


def test_the_workstation_s_base_law_fits_a_day_and_a_faster_gpu_makes_it_shorter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, seconds = hold_against(workstation(), tmp_path), []
    for card in (A100, next(card for card in CARDS if card.name == "H100")):
        monkeypatch.setattr(roofline, "assumed_card", lambda card=card: card)
        answer = forecast(plan, tmp_path)
        assert "which fits a day" in fit_of_a_day(answer, 1)[0]
        seconds.append(answer.total()["gpu_seconds"])
    assert seconds[0] > 1.5 * seconds[1]
    assert re.search(r"an assumed rate: \S+ to \S+ FLOP/s of one GPU", "\n".join(show_plan.costs_by_size(answer)))
