"""The live view of a run: on a terminal a few lines that are redrawn, elsewhere plain lines now and then.

A thread of its own looks at the results once a second and draws. It rests so long after each look that it takes 1 % of
a core at most.
"""

import sys
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path
from textwrap import shorten
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from snakemake_interface_logger_plugins.common import LogEvent

from capacity.jobs.progress import duration
from capacity.jobs.run_file import read_run
from capacity.plan.failures import last_line
from capacity.plan.fixed_paths import RESULTS
from capacity.watch.state import TRAINS, Outlook, RunState, Watched

SHARE = 0.01  # of a core, at most
SECONDS = 1.0  # between looks, at least
LINE_SECONDS, MOST_LINE_SECONDS = 10.0, 300.0  # between plain lines: a fiftieth of the run so far, within these
SHOWN_LINES = 4  # running jobs in one plain line
BAR = 20  # characters, at most
DROPPED = (4, 0, 3)  # columns of a job that a narrow terminal goes without, in this order: speed, rule, loss
LABEL = 1  # the column that loses words where that does not suffice


class View:
    """Shows one run on stderr until it is stopped."""

    def __init__(self, state: RunState, console: Console):
        self.state, self.console = state, console
        self.ids: dict[int, str] = {}  # the engine's number of a job -> the id of its artefact
        self._lock, self._stop = threading.Lock(), threading.Event()
        to_screen = sys.stdout.isatty()  # else what is printed there goes where it is redirected to
        self._live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=to_screen)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._line_due = time.monotonic() + LINE_SECONDS / 4  # the engine has taken a few seconds before

    @classmethod
    def start(cls, color: bool) -> Self:
        """Show the run that wrote its file below results last."""
        view = cls(RunState(RESULTS, read_run(RESULTS)), Console(stderr=True, no_color=not color, highlight=False))
        if view.console.is_terminal:
            view._live.start()
        view._thread.start()
        return view

    def stop(self) -> None:
        """Leave nothing but what was printed, and one line on the whole."""
        if self._stop.is_set():  # the engine closes its loggers twice
            return
        self._stop.set()
        self._thread.join()
        self._live.stop()
        done, jobs = len(self.state.spent), len(self.state.run.jobs)
        if jobs:
            self.console.print(f"{done} of {jobs} jobs done in {duration(time.time() - self.state.began)}")

    def take(self, event: Any, record: dict[str, Any]) -> None:
        """An event of the engine, with its fields."""
        with self._lock:
            if event == LogEvent.JOB_INFO:
                name = next((value for value in record["wildcards"].values() if value in self.state.run.jobs), None)
                if name:
                    self.ids[record["jobid"]] = name
                    self.state.begin(name)
            elif event == LogEvent.JOB_FINISHED and record["job_id"] in self.ids:
                self.state.finish(self.ids[record["job_id"]])
            elif event == LogEvent.JOB_ERROR:
                self._failed(record)

    def _failed(self, record: dict[str, Any]) -> None:
        """Say at once which job failed and what it printed last."""
        name, log = self.ids.get(record["jobid"]), next(iter(record["log"]), None)
        job = record["rule_name"]
        if name:
            self.state.fail(name)
            job = self.state.run.jobs[name].name
        said = f"{last_line(Path(log))}\n  {log}" if log else "it has no log"
        self.console.print(Text(f"failed: {job}: {said}", style="red"), soft_wrap=True)

    def _run(self) -> None:
        rest = 0.0
        while not self._stop.wait(rest):
            started = time.thread_time()
            with self._lock:
                self.state.look()
                self._show()
            rest = max(SECONDS, (time.thread_time() - started) / SHARE)

    def _show(self) -> None:
        if self.console.is_terminal:
            self._live.update(drawn(self.state, *self.console.size), refresh=True)
        elif self.state.run.jobs and time.monotonic() >= self._line_due:
            self.console.print(line(self.state), markup=False, emoji=False, soft_wrap=True)
            passed = time.time() - self.state.began
            self._line_due = time.monotonic() + min(max(LINE_SECONDS, passed / 50), MOST_LINE_SECONDS)


def drawn(state: RunState, width: int, height: int) -> RenderableType:
    """The whole run in one line with a bar where one fits, then a line for each job under way, as many as fit."""
    outlook, now = state.outlook(), time.time()
    whole, jobs = Table.grid(padding=(0, 1)), Table.grid(padding=(0, 2))
    words = [f"{outlook.share:4.0%}", *whole_in_words(outlook, now - state.began)]
    while len(words) > 2 and sum(len(word) + 1 for word in words) > width:
        words.pop()
    room = width - sum(len(word) + 1 for word in words)
    bar = [ProgressBar(total=1.0, completed=outlook.share, width=min(BAR, room))] if room > 1 else []
    first, *rest = map(_cell, words)
    whole.add_row(first, *bar, *rest)
    shown = by_age(state)[: max(height - 4, 1)]
    for row in fitted([job_in_words(watched, now, state.run.has_studies, state.stepped) for watched in shown], width):
        jobs.add_row(*map(_cell, row))
    hidden = len(state.running) - len(shown)
    return Group(whole, jobs, *([f"and {hidden} more"] if hidden else []))


def fitted(rows: list[tuple[str, ...]], width: int) -> list[list[str]]:
    """Rows of `job_in_words` within a width: columns are dropped, then words of the label; no number is cut."""
    columns = list(range(6))
    lengths = [max((len(row[i]) for row in rows), default=0) + 2 for i in columns]
    for column in DROPPED:
        if sum(lengths[i] for i in columns) > width:
            columns.remove(column)
    room = max(width - sum(lengths[i] for i in columns if i != LABEL) - 2, 1)
    return [[shorten(row[i], room, placeholder=" …") if i == LABEL else row[i] for i in columns] for row in rows]


def _cell(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")


def line(state: RunState) -> str:
    """The same in one line of text."""
    outlook, now = state.outlook(), time.time()
    parts = [f"{datetime.now():%H:%M:%S}", f"{outlook.share:.0%}", *whole_in_words(outlook, now - state.began)]
    shown = by_age(state)[:SHOWN_LINES]
    jobs = [
        "  ".join(filter(None, job_in_words(watched, now, state.run.has_studies, state.stepped))) for watched in shown
    ]
    hidden = len(state.running) - len(shown)
    return "  ".join(parts) + "".join(f"\n  {job}" for job in jobs) + (f"\n  and {hidden} more" if hidden else "")


def by_age(state: RunState) -> list[Watched]:
    """Jobs under way: trainings first, the oldest first."""
    return sorted(state.running.values(), key=lambda watched: (watched.position is None, watched.since, watched.id))


def whole_in_words(outlook: Outlook, passed: float) -> tuple[str, ...]:
    """Jobs done, time passed, time to go, and when all will be done."""
    end = datetime.now() + timedelta(seconds=outlook.left)
    day = f"{end:%a %d %b }" if end.date() != datetime.now().date() else ""
    jobs = [f"{outlook.done} of {outlook.jobs} jobs done"]
    jobs += [f"{outlook.failed} failed"] if outlook.failed else []
    jobs += [f"{outlook.waiting} starting"] if outlook.waiting else []
    left = (
        (f"about {duration(outlook.left)} left", f"done at {day}{end:%H:%M:%S}") if outlook.known else ("estimating",)
    )
    return ", ".join(jobs), f"{duration(passed)} elapsed", *left


def job_in_words(watched: Watched, now: float, with_study: bool, stepped: bool) -> tuple[str, ...]:
    """Rule, run, exposures, loss, speed, time to go; of a job that says nothing, how long it has been at work."""
    job, position = watched.job, watched.position
    label = job.label + (f" ({job.study})" if with_study and job.label else "")
    label += f" and {job.others} more" if job.others else ""
    if position is None:
        waits = "no step yet" if stepped else "compiling kernels (once)"
        return job.rule, label, waits if job.rule in TRAINS else "", "", "", duration(now - watched.since)
    done, exposures = position.step / position.steps, position.exposures
    where = f"exposure {exposures * done:.0f} of {exposures}" if exposures else f"{done:.0%}"
    left = watched.left(now)
    rate = f"{position.tokens_per_second / 1e3:,.1f}k tokens/s"
    return job.rule, label, where, f"loss {position.loss:.3f}", rate, f"{duration(left)} left" if left else ""
