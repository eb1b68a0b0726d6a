"""How a training computes where `auto` leaves it open, decided on the machine that trains."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trainings import spec_of, training_settings

from capacity.errors import UserError
from capacity.training.executed import Execution, decide, has_compiler

AUTO = {"attention": "auto", "loss": "auto", "compile": "auto"}


@pytest.fixture
def path_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes PATH a folder that holds the given programs."""

    def put(*programs: str) -> None:
        for program in programs:
            (tmp_path / program).write_text("#!/bin/sh\n")
            (tmp_path / program).chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        has_compiler.cache_clear()

    yield put
    has_compiler.cache_clear()


def decided(hardware: dict[str, Any], context: int = 12, V: int = 40, steps: int = 10, **regime: Any) -> Execution:
    settings = spec_of(hardware=hardware, **regime)
    return decide(training_settings(settings), context, V, steps)


def test_compiling_is_decided_by_a_compiler_and_the_length_of_the_training(path_with: Callable[..., None]):
    path_with()
    assert decided(AUTO, steps=10_000).compile is False
    path_with("g++")
    assert decided(AUTO, steps=10_000).compile is True
    assert decided(AUTO, steps=5).compile is False, "compiling would cost more than it saves"


@pytest.mark.parametrize("compiler", ["g++", "clang++", "c++"])
def test_any_usual_compiler_will_do(path_with: Callable[..., None], compiler: str):
    path_with("python", "ls")
    assert not has_compiler()
    path_with(compiler)
    assert has_compiler()


@pytest.mark.parametrize("asked", [True, False, "reduce-overhead"])
def test_compiling_that_was_asked_for_or_refused_is_left_so(path_with: Callable[..., None], asked: bool | str):
    path_with()
    assert decided(AUTO | {"compile": asked}, steps=10_000).compile == asked


@pytest.mark.parametrize(
    ("accelerator", "context", "attention"), [("cpu", 512, "eager"), ("gpu", 63, "eager"), ("gpu", 64, "fused")]
)
def test_attention_is_fused_on_a_gpu_for_long_contexts(accelerator: str, context: int, attention: str):
    assert decided(AUTO | {"accelerator": accelerator}, context=context).attention == attention


@pytest.mark.parametrize(
    ("compiled", "context", "document_mask", "channels", "attention"),
    [
        (True, 64, False, 64, "short"),
        (False, 64, False, 64, "eager"),
        (True, 65, False, 32, "eager"),
        (True, 64, True, 32, "eager"),
        (True, 64, False, 65, "eager"),
    ],
)
def test_attention_is_of_short_rows_on_a_cpu_wherever_its_kernel_can_be(
    compiled: bool, context: int, document_mask: bool, channels: int, attention: str
):
    settings = spec_of(hardware=AUTO | {"compile": compiled}, document_mask=document_mask)
    settings["model"] = {**settings["model"], "head_dim": channels}
    assert decide(training_settings(settings), context, 40, 10).attention == attention


def test_short_attention_without_a_compiler_is_refused_in_one_line(path_with: Callable[..., None]):
    path_with()
    with pytest.raises(UserError, match=r"attention: short, but there is no C\+\+ compiler on this machine; install"):
        decided({"attention": "short"})


@pytest.mark.parametrize(
    ("accelerator", "V", "loss"), [("cpu", 2**30, "whole"), ("gpu", 40, "whole"), ("gpu", 2**26, "chunked")]
)
def test_the_loss_is_in_chunks_on_a_gpu_for_many_logits(accelerator: str, V: int, loss: str):
    assert decided(AUTO | {"accelerator": accelerator}, V=V).loss == loss
