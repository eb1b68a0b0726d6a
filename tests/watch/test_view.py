"""The view on a terminal, fed with events of the engine: failures, what is printed beside it, its end."""

import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from terminal import on_a_terminal

from capacity.watch.view import View

PROGRAM = """
import time
from snakemake_interface_logger_plugins.common import LogEvent
from capacity.watch import view as views

views.SECONDS, views.SHARE = 0.2, 1.0
view = views.View.start(color=False)
view.take(LogEvent.JOB_INFO, {"jobid": 7, "wildcards": {"checkpoint": "gpt2-1"}})
time.sleep(1.2)
view.take(LogEvent.JOB_ERROR, {"jobid": 7, "rule_name": "train_checkpoint", "log": ["the.log"]})
time.sleep(0.5)
print("a table of the finished rows")
time.sleep(1.2)
view.stop()
view.stop()
"""
RUN = """{"loggers": [], "jobs": {"gpt2-1": {"rule": "train_checkpoint", "label": "small atomic long s1",
 "study": "base", "others": 0, "seconds": 10.0, "tries": []}}}"""


@pytest.mark.parametrize("columns", [120, 80, 70])
def test_a_failure_is_said_at_once_and_what_is_printed_stays_above_the_view(tmp_path: Path, columns: int) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "run.json").write_text(RUN)
    (tmp_path / "the.log").write_text("step 1 of 9\nerror: lr: 0.5; the loss is nan by step 2; lower lr\n")
    code, frames = on_a_terminal([sys.executable, "-c", PROGRAM], tmp_path, dict(os.environ), columns)
    assert code == 0, frames
    text = "".join(text for _, text in frames)
    failed = (
        "failed: train_checkpoint of small atomic long s1 (study base): lr: 0.5; the loss is nan by step 2; lower lr"
    )
    places = [text.index(part) for part in ("1 starting", failed, "the.log", "a table")]
    assert places == sorted(places), text
    assert "0 of 1 jobs done, 1 failed" in text
    assert text.rstrip().splitlines()[-1].startswith("0 of 1 jobs done in "), "once"
    assert "estimating" in text[text.index("a table") :], "the view is drawn again below"


def test_a_line_for_a_file_has_names_as_they_are_whatever_they_hold() -> None:
    """A name may look like the markup of the library that prints it, or like an emoji's."""
    label, printed = "tiny dataset.file=data[/old]/a:smile:[raw].csv s1", io.StringIO()
    view = View(SimpleNamespace(run=SimpleNamespace(jobs={"a": 1}), began=0.0), Console(file=printed, width=60))
    view._line_due = 0.0
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr("capacity.watch.view.line", lambda state: label)
        view._show()
    assert printed.getvalue() == f"{label}\n"
