"""GPUs of this machine are found without torch, and a run that needs more than there are ends before its first job."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from checkout import Checkout
from invented_gpus import TWO, invent

from capacity.artefacts.identity import SCRIPTS
from capacity.audit import machine
from capacity.jobs.gpus import HIDING, Gpu, installed_gpus, lack_of_gpus, visible_gpus


def give_gpus(monkeypatch: pytest.MonkeyPatch, folder: Path, gpus: list[dict] | None) -> None:
    """Let this process find a driver that lists these GPUs."""
    monkeypatch.syspath_prepend(str(invent(folder, gpus)))
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    monkeypatch.delenv(HIDING, raising=False)


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose driver lists two GPUs."""
    give_gpus(monkeypatch, tmp_path / "driver", [{"uuid": uuid} for uuid in TWO])
    yield
    sys.modules.pop("pynvml", None)


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (None, TWO),
        ("", []),
        ("-1", []),
        ("0", TWO[:1]),
        ("1, 0", TWO[::-1]),
        ("0,7,1", TWO[:1]),
        ("GPU-bb", TWO[1:]),
        ("GPU-cc", []),
        ("MIG-1234", ["MIG-1234"]),
    ],
)
def test_the_gpus_that_a_job_sees_are_those_that_the_variable_leaves(two_gpus: None, value: str | None, seen: list):
    assert [gpu.name for gpu in visible_gpus({} if value is None else {HIDING: value})] == seen


def test_a_gpu_has_a_model_and_memory(two_gpus: None) -> None:
    assert installed_gpus() == [Gpu(uuid, "NVIDIA A100-SXM4-40GB", 40_000) for uuid in TWO]


def test_an_audit_tells_the_models_and_the_driver(two_gpus: None) -> None:
    machine._gpus.cache_clear()
    assert machine._gpus() == "NVIDIA A100-SXM4-40GB; NVIDIA A100-SXM4-40GB; driver 550.54.15"
    machine._gpus.cache_clear()


def test_a_gpu_that_is_cut_is_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [{"uuid": "MIG-1", "memory": 10**10}, {"uuid": "MIG-2", "memory": 10**10}]
    whole, uncut = {"uuid": "GPU-cut", "parts": parts}, {"uuid": "GPU-uncut", "parts": []}
    give_gpus(monkeypatch, tmp_path, [whole, uncut])
    assert [(gpu.name, gpu.memory_mb) for gpu in installed_gpus()] == [
        ("MIG-1", 10_000),
        ("MIG-2", 10_000),
        ("GPU-uncut", 40_000),
    ]
    sys.modules.pop("pynvml")


@pytest.mark.parametrize(
    ("files", "found"),
    [([], []), (["nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"], ["0", "1"]), (["kfd"], ["0"])],
    ids=["none", "NVIDIA", "AMD"],
)
def test_without_the_driver_device_files_tell(
    files: list[str], found: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in files:
        (tmp_path / name).touch()
    give_gpus(monkeypatch, tmp_path / "driver", None)
    assert [gpu.name for gpu in installed_gpus(tmp_path)] == found
    sys.modules.pop("pynvml")


def test_what_is_lacking_is_one_line_with_what_there_is_and_what_to_use(
    two_gpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lack_of_gpus(0, "x", []) == lack_of_gpus(2, "x", []) == ""
    assert lack_of_gpus(3, "scale a", ["b", "c"]) == (
        "scale a needs 3 GPUs, this machine shows 2; use scale b or c, or a cluster with --profile slurm"
    )
    monkeypatch.setenv(HIDING, "-1")
    assert lack_of_gpus(1, "scale a", []) == (
        "scale a needs a GPU, this machine shows none (CUDA_VISIBLE_DEVICES=-1 hides 2); "
        "use a scale with accelerator: cpu, or a cluster with --profile slurm"
    )


def test_the_finder_needs_no_torch() -> None:
    code = "import sys; from capacity.jobs.gpus import visible_gpus; visible_gpus(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS).returncode == 0


@pytest.fixture
def on_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """The tiny configuration at a scale of GPUs, where none is seen."""
    monkeypatch.setenv(HIDING, "")
    checkout = Checkout.new(tmp_path / "checkout")
    config = yaml.safe_load((checkout.path / "config.yaml").read_text())
    config["scales"]["box"] = {"accelerator": "gpu", "precision": "bf16", "compile": True}
    (checkout.path / "config.yaml").write_text(yaml.safe_dump(config | {"scale": "box"}))
    return checkout


def test_a_gpu_scale_without_a_gpu_is_refused_before_any_job_in_one_line(on_gpus: Checkout) -> None:
    answer = on_gpus.engine("--quiet", "rules")
    assert answer.returncode == 1
    (line,) = [line for line in answer.stdout.splitlines() if "GPU" in line]
    assert line.startswith("error: scale box (accelerator: gpu): ")
    assert "needs a GPU, this machine shows none" in line
    assert "use scale laptop, or a cluster with --profile slurm" in line
    assert "Traceback" not in answer.stdout
    assert not (on_gpus.path / "results" / "datasets").exists()


def test_a_gpu_scale_without_a_gpu_can_be_planned_which_says_so_in_one_line(on_gpus: Checkout) -> None:
    answer = on_gpus.capacity("plan")
    assert answer.returncode == 0, answer.stderr
    (line,) = [line for line in answer.stdout.splitlines() if "needs a GPU" in line]
    assert line.startswith("scale box needs a GPU, this machine shows none")
    assert on_gpus.engine("--dry-run").returncode == 0
    on_gpus.edit("config.yaml", lambda text: text.replace("scale: box", "scale: laptop"))
    on_cpu = on_gpus.capacity("plan").stdout
    assert "core minutes" in on_cpu
    assert "GPU" not in on_cpu


def test_jobs_of_a_cluster_need_no_gpu_here(on_gpus: Checkout) -> None:
    """Whatever SLURM then says."""
    answer = on_gpus.engine("--executor", "slurm", "--jobs", "1")
    assert "needs a GPU" not in answer.stdout
    assert "SLURM" in answer.stdout
