"""A model of one's own that reads what no identity covers is refused, and one that does not is not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BODY = """
import torch
from torch import nn
{top}

class Net(nn.Module):
    def __init__(self, vocab_size, width):
        super().__init__()
        self.embedding, self.head = nn.Embedding(vocab_size, width), nn.Linear(width, vocab_size)

    def forward(self, tokens):
        return self.head(self.embedding(tokens))


def make(vocab_size, context):
    {inside}
    return Net(vocab_size, width)
"""
CASES = {
    "a file": ("from pathlib import Path", "width = int((Path(__file__).parent / 'size.txt').read_text())", "size.txt"),
    "a file by its descriptor": (
        "import os\nfrom pathlib import Path",
        "width = int(os.read(os.open(Path(__file__).parent / 'size.txt', os.O_RDONLY), 9))",
        "size.txt",
    ),
    "a module by its name": ("import importlib", "width = importlib.import_module('nets.other').WIDTH", "other.py"),
    "an import statement": ("from nets.other import WIDTH", "width = WIDTH", ""),
    "an import statement inside": ("", "from nets import other\n    width = other.WIDTH", ""),
    "nothing": ("", "width = 4", ""),
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout with a folder of the user's own."""
    for name in ("scripts", "Snakefile", "config.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "size.txt").write_text("4\n")
    (tmp_path / "nets" / "other.py").write_text("WIDTH = 4\n")
    return tmp_path


@pytest.mark.parametrize("case", CASES)
def test_what_no_identity_covers_is_refused(project: Path, case: str):
    top, inside, read = CASES[case]
    (project / "nets" / "mine.py").write_text(BODY.format(top=top, inside=inside))
    check = "\n".join(
        [
            "import sys; from pathlib import Path; import capacity.environment",
            f"capacity.environment.REPOSITORY = Path({str(project)!r})",
            "from capacity.models import external_checks, spec",
            "from capacity.errors import UserError",
            "model = spec.FactoryModel(python='nets.mine:make', settings={})",
            "try: external_checks.check(model); print('right')",
            "except UserError as error: print(error)",
        ]
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    for _ in range(2):
        answer = subprocess.run(
            [sys.executable, "-c", check], cwd=project, env=environment, capture_output=True, text=True
        )
        assert answer.returncode == 0, json.dumps(answer.stderr)
        first, *_ = answer.stdout.splitlines()
        assert first.startswith(f"python: nets.mine:make: reads nets/{read}, which is no part" if read else "right")
