"""What a run of tests says while it goes on, every half a minute, and how long each file took, where that is asked."""

import time
from collections import defaultdict

import durations
import pytest

EVERY = 30.0  # seconds


class Progress:
    """Hears of every test, in whichever process it ran."""

    def __init__(self, config: pytest.Config):
        self.config = config
        self.began = self.said = time.monotonic()
        self.tests: dict[str, durations.Test] = defaultdict(durations.Test)
        self.expected = durations.read()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A part of a test has ended."""
        test = self.tests[report.nodeid]
        test.whole += report.duration
        test.call += report.duration if report.when == "call" else 0.0
        test.engine = "engine" in report.keywords
        now = time.monotonic()
        if report.when == "teardown" and now - self.said >= EVERY:
            self.said = now
            reporter = self.config.pluginmanager.get_plugin("terminalreporter")
            failed = sum(len(reporter.stats.get(each, [])) for each in ("failed", "error"))
            reporter.ensure_newline()
            reporter.write_line(self.line(now - self.began, report.nodeid.partition("::")[0], failed))

    def line(self, passed: float, file: str, failed: int) -> str:
        """Time passed, tests done, failed, the file that was heard of last."""
        words = [f"{passed / 60:.1f} min", f"{len(self.tests)} tests done", f"{failed} failed", f"last {file}"]
        return "  ".join(words)

    def pytest_sessionfinish(self) -> None:
        """Write durations where that is asked."""
        if self.config.getoption("renew_durations") and self.tests:
            durations.write(durations.measured(self.tests, self.expected))
