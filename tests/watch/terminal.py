"""A command on a pseudo-terminal, and what is on its screen as time passes.

`python tests/watch/terminal.py docs/live-view.txt make table ...` records one: the screen every five seconds.
"""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
import time
from pathlib import Path

ROWS, COLUMNS = 30, 120
RECORDED = 5.0  # seconds between two screens of a recording
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")

Frames = list[tuple[float, str]]  # seconds since the start, text that was written then, without control sequences


def on_a_terminal(
    command: list[str], folder: Path, environment: dict[str, str], columns: int = COLUMNS
) -> tuple[int, Frames]:
    """Run a command to its end; its exit code and what it wrote."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        size = {"COLUMNS": str(columns), "LINES": str(ROWS)}  # a caller may have been told others
        os.execvpe(command[0], command, environment | size | {"TERM": "xterm"})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    started, frames = time.monotonic(), []
    while True:
        try:
            written = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
        if not written:
            break
        frames.append((time.monotonic() - started, CONTROL.sub("", written.decode(errors="replace"))))
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), frames


def recording(command: list[str], frames: Frames) -> str:
    """What was written, with the time; of lines that are redrawn those of every fifth second."""
    parts, last = [f"$ {' '.join(command)}"], -RECORDED
    for seconds, text in frames:
        lines = [line.rstrip() for line in text.splitlines() if line.strip()]
        drawn = any(" jobs done" in line and " elapsed" in line for line in lines)
        if drawn and seconds - last < RECORDED:
            lines = [line for line in lines if " jobs done in " in line]  # the end, which takes the live lines away
        elif drawn:
            parts, last = [*parts, f"\n[{seconds:.1f} s]"], seconds
        parts += lines
    return "\n".join(part for part in parts if part) + "\n"


if __name__ == "__main__":
    output, *words = sys.argv[1:]
    code, seen = on_a_terminal(words, Path.cwd(), dict(os.environ))
    Path(output).write_text(recording(words, seen))
    sys.exit(code)
