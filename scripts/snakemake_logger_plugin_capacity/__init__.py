"""The engine's logger plugin `capacity`: a live view of a run. `snakemake --logger capacity` asks for it.

The engine imports every plugin before it reads a Snakefile, which chooses the library: nothing of it is imported before
the first job.
"""

import sys
from logging import WARNING, LogRecord
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent


class LogHandler(LogHandlerBase):
    """Prints what the engine prints without a plugin until the first job; from then on warnings, errors and the view.

    With `-p` or `--verbose` all is printed all the time.
    """

    writes_to_stream = True
    writes_to_file = False
    has_filter = True  # the view needs what is not printed
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter

        shown: Any = self.common_settings
        quiet = shown.quiet
        self.view: Any = None
        self.text = ColorizingTextHandler(nocolor=shown.nocolor, stream=sys.stdout if shown.stdout else sys.stderr)
        self.text.setFormatter(DefaultFormatter(quiet, shown.show_failed_logs))
        self.text.addFilter(
            DefaultFilter(quiet, shown.debug_dag, shown.verbose, shown.dryrun, shown.printshellcmds)  # type: ignore[arg-type]
        )

    def emit(self, record: LogRecord) -> None:
        """Take one record of the engine."""
        event = getattr(record, "event", None)
        try:
            if event == LogEvent.JOB_STARTED and self.view is None:
                from capacity.watch.view import View  # the Snakefile is read

                self.view = View.start(color=not self.common_settings.nocolor)
            if self.view:
                self.view.take(event, vars(record))
        except Exception:
            self.handleError(record)  # a traceback on stderr; the run goes on
        if self._is_printed(record):
            stream = sys.stdout if self.common_settings.stdout else sys.stderr
            self.text.setStream(stream)  # the view's, while it is shown
            self.text.handle(record)

    def _is_printed(self, record: LogRecord) -> bool:
        shown = self.common_settings
        if self.view is None or shown.printshellcmds or shown.verbose:
            return True
        return record.levelno >= WARNING and getattr(record, "event", None) != LogEvent.JOB_ERROR

    def close(self) -> None:
        """Take the view away."""
        if self.view:
            self.view.stop()
        super().close()
