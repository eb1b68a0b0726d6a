"""The pinned environment: complete, in step with the conda form, and without releases that are known to be malware."""

import re
from importlib import metadata
from pathlib import Path

ENVS = Path(__file__).resolve().parents[1] / "envs"
CONDA_NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib"}
TOOLS = {
    "pytest",
    "pytest-xdist",
    "hypothesis",
    "allpairspy",
    "ruff",
    "snakefmt",
    "mypy",
    "tensorboard",
    "accelerate",
}  # not needed to run the workflow


def lines(name: str) -> list[str]:
    """Lines of a file without comments and blanks."""
    return [line for raw in (ENVS / name).read_text().splitlines() if (line := raw.split("#")[0].strip())]


def pins() -> dict[str, str]:
    """Every pinned package."""
    return {name.lower(): version for name, version in (line.split("==") for line in lines("requirements.txt"))}


def direct() -> set[str]:
    """Packages that the short list asks for."""
    return {re.split(r"[ =!<>]", line)[0] for line in lines("direct.txt")}


def test_every_direct_package_is_pinned():
    assert direct() <= pins().keys()


def test_every_package_that_a_pinned_one_needs_is_pinned():
    canonical = {name.replace("_", "-") for name in pins()}
    for name in pins():
        for need in metadata.requires(name) or []:
            if "extra ==" not in need and not re.search(r"(sys_platform|platform_system|python_version|os_name)", need):
                wanted = re.split(r"[ ;\[<>=!~(]", need)[0].lower().replace("_", "-").replace(".", "-")
                if wanted in ("cuda-bindings", "triton", "setuptools") or wanted.startswith("nvidia-"):
                    continue  # brought by the CUDA build of torch, which pins them itself
                assert wanted in {entry.replace(".", "-") for entry in canonical}, f"{name} needs {wanted}"


def test_the_conda_form_has_the_same_versions():
    packages = [line[2:] for line in lines("capacity.yaml") if re.match("- .*=", line)]
    entries = [re.split("(?==)| ", package, maxsplit=1) for package in packages]
    conda = {CONDA_NAMES.get(name, name): version.strip("= ") for name, version in entries}
    assert conda.pop("python").startswith(">")
    assert conda == {name: pins()[name] for name in direct() - TOOLS}


def test_malware_releases_of_lightning_are_excluded():
    line = next(line for line in lines("direct.txt") if line.startswith("lightning "))
    assert "!=2.6.2" in line
    assert "!=2.6.3" in line
    assert {pins()[name] for name in ("lightning", "pytorch-lightning")}.isdisjoint({"2.6.2", "2.6.3"})
