"""What jobs ask for, what a cluster allows, and when a job must stop: planted cases without SLURM."""

import time

import pytest
from test_extraction import LORA, asking, grid_of
from trainings import spec_of, training_settings
from worlds import SMALL_BIOS, settings_of

from capacity.artefacts.spec import Spec
from capacity.errors import UserError
from capacity.jobs.allocation import time_budget
from capacity.jobs.slurm import Cluster, Partition, Request, _partitions, gpu_count, minutes
from capacity.plan import requests
from capacity.tokenizers.spec import WordVocabulary
from capacity.training.spec import TrainingSettings

WORLD = settings_of(SMALL_BIOS | {"N": 1000})
WORD = WordVocabulary(kind="word")
MODEL = {"family": "gpt2", "l": 2, "h": 4, "head_dim": 8}
REGIME = {"exposures": 100, "packing": "windows", "context": 512, "batch": 16}


def training(model: dict = MODEL, accelerator: str = "cpu", **regime: object) -> TrainingSettings:
    return training_settings(spec_of(hardware={"accelerator": accelerator}, **REGIME | regime) | {"model": model})


SPEC, GPU = training(), training(accelerator="gpu")


def cluster(**changes: object) -> Cluster:
    facts = {
        "name": "lab",
        "accounting": False,
        "min_job_age": 300,
        "partitions": {"main": Partition(60, 2, 64000, False)},
        "default": "main",
        "accounts": frozenset(),
        "max_array_size": 1001,
    }
    return Cluster(**{**facts, **changes})  # type: ignore[arg-type]


def test_a_larger_training_asks_for_more() -> None:
    least = requests.training_mb(WORLD, WORD, SPEC), requests.training_minutes(WORLD, WORD, SPEC)
    wide = training(MODEL | {"l": 12, "h": 12, "head_dim": 64})
    assert requests.training_mb(WORLD, WORD, wide) > least[0] + 3400  # 85 M parameters at 40 bytes
    assert requests.training_mb(WORLD, WORD, training(batch=256)) > least[0]
    assert requests.training_mb(WORLD.model_copy(update={"N": 10_000_000}), WORD, SPEC) > least[0] + 3900
    assert requests.training_minutes(WORLD, WORD, wide) > least[1]
    assert requests.training_minutes(WORLD, WORD, training(exposures=100_000)) > least[1]


def test_the_logits_of_a_step_on_a_gpu_need_no_memory_of_the_host() -> None:
    large = training(accelerator="gpu", batch=4096)
    assert requests.training_mb(WORLD, WORD, large) == requests.training_mb(WORLD, WORD, GPU)


def test_memory_grows_with_every_attempt() -> None:
    assert [requests.growing(2001, attempt) for attempt in (1, 2, 3)] == [2001, 3002, 4002]


def test_a_job_stops_before_slurm_ends_it() -> None:
    def budget(left: float) -> float:
        answer = time_budget({"SLURM_JOB_END_TIME": str(int(time.time() + left))})
        assert answer is not None
        return answer

    assert budget(55) == pytest.approx(35, abs=1.5)
    assert budget(2000) == pytest.approx(1900, abs=1.5)
    assert budget(86_400) == pytest.approx(86_100, abs=1.5)


@pytest.mark.parametrize("variables", [{}, {"SLURM_JOB_END_TIME": "UNLIMITED"}])
def test_a_job_without_an_end_has_no_budget(variables: dict[str, str]) -> None:
    assert time_budget(variables) is None


@pytest.mark.parametrize(
    ("gres", "count"),
    [
        ("(null)", 0),
        ("gpu:2", 2),
        ("gpu:a100:4(S:0-1)", 4),
        ("gpu:a100:4(S:0-1),gpu:t4:2(S:0)", 6),
        ("shard:8,gpu:1", 1),
        ("craynetwork:4", 0),
    ],
)
def test_gpus_are_counted_in_every_spelling(gres: str, count: int) -> None:
    assert gpu_count(gres) == count


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("infinite", None), ("30:00", 30), ("8:00:00", 480), ("2-00:00:00", 2880), ("1-12:30:00", 2190)],
)
def test_time_limits_are_read_in_every_spelling(limit: str, expected: int | None) -> None:
    assert minutes(limit) == expected


def test_a_partition_of_unequal_nodes_allows_what_its_best_node_has() -> None:
    lines = [
        "gpu*|1-00:00:00|REQUEUE|64000|gpu:2",
        "gpu*|1-00:00:00|REQUEUE|512000+|gpu:a100:8(S:0-1)",
        "cpu|infinite|CANCEL|1|(null)",
    ]
    default, found = _partitions("\n".join(lines))
    assert default == "gpu"
    assert found == {"gpu": Partition(1440, 8, 512_000, False), "cpu": Partition(None, 0, 1, True)}


@pytest.mark.parametrize(
    ("facts", "first_look", "expected"),
    [
        ({}, 20, "squeue"),
        ({"accounting": True}, 20, "squeue"),
        ({"accounting": True, "min_job_age": 60}, 20, "sacct"),
        ({"accounting": True}, 101, "sacct"),  # the plugin would take sacct whatever it is told
    ],
)
def test_jobs_are_followed_by_a_command_that_sees_their_end(facts: dict, first_look: int, expected: str) -> None:
    assert cluster(**facts).status_command(first_look) == expected


@pytest.mark.parametrize(("age", "first_look"), [(239, 20), (300, 101), (0, 1)])
def test_where_nothing_sees_the_end_of_a_job_the_run_is_refused(age: int, first_look: int) -> None:
    with pytest.raises(UserError, match="the end of a job cannot be seen"):
        cluster(min_job_age=age).status_command(first_look)


def test_arrays_are_off_where_the_plugin_would_lose_their_tasks() -> None:
    assert cluster().no_arrays("squeue", 1000, 1000) == ""
    assert "lets 999 go at once" in cluster().no_arrays("squeue", 1000, 999)
    assert "MaxArraySize is 1001" in cluster().no_arrays("squeue", 1001, 5000)
    assert "sacct" in cluster().no_arrays("sacct", 3, 1000)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"partition": "gpu"}, "'gpu' is not on lab; there are: main"),
        ({"gpus": 3}, "asks for 3 GPUs, a node of partition main has 2"),
        ({"memory_mb": 64001}, "asks for 64,001 MB, a node of partition main has 64,000"),
        ({"minutes": 61}, "asks for 61 minutes, partition main allows 60"),
        ({"account": "nobody"}, "'nobody' is none of yours on lab; there are: lab"),
    ],
)
def test_a_request_beyond_the_cluster_is_refused_and_one_at_its_limits_is_not(change: dict, expected: str) -> None:
    most = {"partition": "", "account": "Lab", "gpus": 2, "memory_mb": 64000, "minutes": 60}
    here = cluster(accounts=frozenset({"lab"}))
    here.check([Request("train_checkpoint x", **most)])  # type: ignore[arg-type]
    with pytest.raises(UserError, match=expected):
        here.check([Request("train_checkpoint x", **{**most, **change})])  # type: ignore[arg-type]


def test_of_several_partitions_all_must_exist_and_one_must_have_room() -> None:
    rooms = {"main": Partition(60, 2, 64000, False), "large": Partition(None, 8, 512_000, False)}
    here = cluster(partitions=rooms | {"spot": Partition(None, 8, 512_000, True)})
    ask = {"account": "", "gpus": 4, "memory_mb": 100_000, "minutes": 100}

    def check(partition: str) -> None:
        here.check([Request("train_checkpoint x", partition=partition, **ask)])  # type: ignore[arg-type]

    check("main,large")
    with pytest.raises(UserError, match="'lage' is not on lab"):
        check("large,lage")
    with pytest.raises(UserError, match="spot cancels"):
        check("large,spot")
    with pytest.raises(UserError, match="asks for 4 GPUs"):
        check("main")


def test_a_gpu_scores_and_asks_in_a_gpus_time() -> None:
    for minutes_of in (requests.scoring_minutes, requests.question_minutes):
        core, gpu = (minutes_of(WORLD, WORD, spec, 10**9) - requests.STARTUP_MINUTES for spec in (SPEC, GPU))
        assert core > 100 * gpu > 0


def test_fine_tuning_on_a_gpu_asks_for_the_time_that_its_steps_wait() -> None:
    asked = requests.question_minutes(WORLD, WORD, GPU, 300_000 * 4, 300_000) - requests.STARTUP_MINUTES
    assert asked == 3 * 300_000 * 0.01 / 60


def test_a_table_asks_for_what_its_largest_world_and_all_its_rows_take():
    def asked(*people: int) -> requests.Needs:
        rows = [{"N": N} for N in people]
        return requests.needs(Spec("tables", "t", {"rows": rows, "resamples": 1000}, {}, "", {}), lambda _: None)

    assert asked(750, 750) == requests.Needs(memory_mb=pytest.approx(4000, rel=0.01), minutes=60)
    large = asked(*[20_000_000] * 10)
    assert large.memory_mb > 20_000  # 19 GB were measured for so many people
    assert large.minutes > 10 * 20 * 0.0118 * 1000 / 60  # 11.8 ms a resample of a million, measured


def test_a_job_that_is_too_long_for_a_partition_is_told_how_many_attempts_it_takes():
    request = Request("train_checkpoint gpt2", "main", "", gpus=0, memory_mb=1000, minutes=1210)
    with pytest.raises(UserError, match=r"of which it takes up to 21: `retries: 21` there"):
        cluster().check([request])
    seconds = {"main": Partition(minutes("0:30"), 2, 64000, False)}
    with pytest.raises(UserError, match="partition main allows 0"):
        cluster(partitions=seconds).check([request])


def test_a_fine_tuning_asks_for_the_memory_of_its_own_steps():
    def needed_mb(batch: int) -> float:
        grid = grid_of(asking({**LORA, "batch": batch}))
        specs = {spec.id: spec for spec in grid.specs.values()}
        finetunes = [spec for spec in specs.values() if spec.stage == "finetunes"]
        return max(requests.needs(spec, specs.__getitem__).memory_mb for spec in finetunes)

    assert needed_mb(50_000) > needed_mb(50) + 500
