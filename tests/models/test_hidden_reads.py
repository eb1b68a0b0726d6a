"""A model of one's own that reads what no identity covers is refused, and one that does not is not."""

import json
import os
import subprocess
import sys
from pathlib import Path

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


# What a main process does before any job, from a project of the test's own, in a fork of one that has torch in memory.
CHECKING = """
import json, os, sys
from pathlib import Path
import capacity.models.external_checks
for name in [name for name in sys.modules if name.startswith("capacity")]:
    del sys.modules[name]  # so that each project reads it anew; what it imports stays

for project in map(Path, sys.argv[1:]):
    for _ in range(2):  # the second time Python has the bytecode
        read, write = os.pipe()
        if not os.fork():
            import capacity.environment
            capacity.environment.REPOSITORY = project
            from capacity.errors import UserError
            from capacity.models import external_checks, spec
            os.chdir(project)
            sys.path.insert(0, str(project))
            try:
                external_checks.check(spec.FactoryModel(python="nets.mine:make", settings={}))
                said = "right"
            except UserError as error:
                said = str(error)
            os.write(write, said.encode())
            os._exit(0)
        os.close(write)
        print(json.dumps([project.name, open(read).read()]))
        os.wait()
"""


def project(folder: Path, case: str) -> Path:
    """A checkout with a folder of the user's own."""
    top, inside, _ = CASES[case]
    (folder / "nets").mkdir(parents=True)
    (folder / "nets" / "size.txt").write_text("4\n")
    (folder / "nets" / "other.py").write_text("WIDTH = 4\n")
    (folder / "nets" / "mine.py").write_text(BODY.format(top=top, inside=inside))
    return folder


def test_what_no_identity_covers_is_refused(tmp_path: Path):
    projects = [project(tmp_path / case, case) for case in CASES]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
    answer = subprocess.run(
        [sys.executable, "-c", CHECKING, *projects], env=environment, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    said = [json.loads(line) for line in answer.stdout.splitlines()]
    assert [case for case, _ in said] == [case for case in CASES for _ in range(2)]
    for case, line in said:
        read = CASES[case][2]
        expected = f"python: nets.mine:make: reads nets/{read}, which is no part" if read else "right"
        assert line.startswith(expected), case
