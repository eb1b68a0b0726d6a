"""A job that is done by a fork of the run's server ends as it would have ended alone, and dies with its work."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import wait

from capacity.jobs import fork_server
from capacity.jobs.startup import ACCEPTED, FORK_SERVER

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the engine starts a fork server on Linux only")

SCRIPTS = Path(fork_server.__file__).parents[2]
SCRIPT = """
import sys
sys.path.append({scripts!r})
from capacity.jobs.startup import hand_over
hand_over()
{body}
"""
TELLING = """
import json, os
print("an error line", file=sys.stderr)
threads = len(os.listdir("/proc/self/task"))
told = dict(argv=sys.argv, folder=os.getcwd(), mark=os.environ.get("MARK"), path=sys.path[0], name=__name__)
print(json.dumps(told | dict(process=os.getpid(), torch="torch" in sys.modules, threads=threads)))
raise SystemExit(3)
"""
WAITING = """
import os, signal, time
from pathlib import Path
def stop(number, frame):
    print("stopped by", number, flush=True)
    raise SystemExit(75)
signal.signal(signal.SIGTERM, stop)
Path(sys.argv[1]).write_text(str(os.getpid()))
time.sleep(60)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, subprocess.Popen]]:
    """A server's socket and process."""
    path, process = fork_server.start_server()
    wait(lambda: Path(path).exists())
    yield path, process
    process.stdin.close()
    assert process.wait(20) is not None


def start(folder: Path, body: str, path: str | None, *words: str, python: str = sys.executable) -> subprocess.Popen:
    """A job, with a server's socket or without."""
    script = folder / "script.py"
    script.write_text(SCRIPT.format(scripts=str(SCRIPTS), body=body))
    variables = {**os.environ, "MARK": "seen"} | ({FORK_SERVER: path} if path else {})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([python, "script.py", *words], cwd=folder, env=variables, **pipes)


def start_waiting(folder: Path, path: str) -> tuple[subprocess.Popen, int]:
    """A job whose work waits to be stopped, and the process that does its work."""
    job = start(folder, WAITING, path, str(folder / "process"))
    wait(lambda: (folder / "process").exists() and (folder / "process").read_text() != "")
    return job, int((folder / "process").read_text())


def is_gone(process: int) -> bool:
    """Whether a process has ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def told(job: subprocess.Popen) -> tuple[dict, str, int]:
    """What a telling job printed, on both channels, and its exit code."""
    output, errors = job.communicate(timeout=60)
    return json.loads(output), errors, job.returncode


def test_a_fork_is_told_what_the_job_was_told(server, tmp_path: Path):
    path, _ = server
    forked = told(job := start(tmp_path, TELLING, path, "--some", "words"))
    alone = told(start(tmp_path, TELLING, None, "--some", "words"))
    assert forked[0].pop("process") != job.pid
    assert (forked[0].pop("torch"), alone[0].pop("torch")) == (True, False)
    assert forked[0]["threads"] == 1, "a process with threads must not fork"
    del alone[0]["process"]
    assert forked == alone


@pytest.mark.parametrize("path", ["/nowhere/socket", None])
def test_without_a_server_a_job_works_alone(path: str | None, tmp_path: Path):
    answer, _, code = told(job := start(tmp_path, TELLING, path))
    assert (answer["process"], code) == (job.pid, 3)


def test_another_python_works_alone(server, tmp_path: Path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "other"], check=True)
    job = start(tmp_path, TELLING, server[0], python=str(tmp_path / "other" / "bin" / "python"))
    answer, _, code = told(job)
    assert (answer["process"], answer["torch"], code) == (job.pid, False, 3)


def test_a_signal_reaches_the_work(server, tmp_path: Path):
    job, work = start_waiting(tmp_path, server[0])
    job.send_signal(signal.SIGTERM)
    output, _ = job.communicate(timeout=20)
    assert (output, job.returncode) == (f"stopped by {signal.SIGTERM.value}\n", 75)
    assert work != job.pid
    assert is_gone(work)


def test_work_does_not_outlive_its_job(server, tmp_path: Path):
    job, work = start_waiting(tmp_path, server[0])
    job.kill()
    wait(lambda: is_gone(work))


def asked(path: str, script: Path) -> socket.socket:
    """A request for a script, as `hand_over` makes it; whoever closes it is a job that was killed."""
    request = {"prefix": sys.prefix, "argv": [str(script)], "folder": str(script.parent)}
    request["environment"] = {**os.environ, FORK_SERVER: path}
    job = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    job.connect(path)
    with open(os.devnull, "w") as nowhere:
        socket.send_fds(job, [json.dumps(request).encode()], [nowhere.fileno()] * 2)
    return job


def test_a_job_that_is_killed_before_it_is_accepted_costs_the_others_nothing(server, tmp_path: Path):
    (tmp_path / "idle.py").write_text("import time\ntime.sleep(60)\n")
    job, _ = start_waiting(tmp_path, server[0])
    for _ in range(20):
        asked(server[0], tmp_path / "idle.py").close()
    job.send_signal(signal.SIGTERM)
    assert (job.communicate(timeout=20)[0], job.returncode) == (f"stopped by {signal.SIGTERM.value}\n", 75)
    answer, _, code = told(job := start(tmp_path, TELLING, server[0]))
    assert (answer["process"] != job.pid, code) == (True, 3)


def test_a_job_that_is_killed_before_it_reads_that_it_is_accepted_takes_its_work_with_it(server, tmp_path: Path):
    (tmp_path / "idle.py").write_text("import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(60)\n")
    job = asked(server[0], tmp_path / "idle.py")
    wait(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
    job.close()
    wait(lambda: is_gone(int((tmp_path / "pid").read_text())))
    assert server[1].poll() is None


def test_a_job_fails_where_its_server_ends_before_it_reads_a_signal(tmp_path: Path):
    path = str(tmp_path / "socket")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen()
    job = start(tmp_path, WAITING, path, str(tmp_path / "process"))
    asking = listener.accept()[0]
    _, output, _, _ = socket.recv_fds(asking, fork_server.MESSAGE, 2)
    asking.send(ACCEPTED)
    time.sleep(0.2)  # until it hands signals on
    job.send_signal(signal.SIGTERM)
    wait(lambda: bool(select.select([asking], [], [], 0)[0]))
    for each in (asking, listener):
        each.close()
    for descriptor in output:
        os.close(descriptor)
    _, errors = job.communicate(timeout=20)
    assert (errors.count("\n"), job.returncode) == (1, 1)
    assert errors.startswith("error: the run's fork server was killed")


def test_a_folder_for_temporary_files_may_have_a_long_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    place = tmp_path / ("long" * 30)
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    path, process = fork_server.start_server()
    process.stdin.close()
    assert process.wait(20) == 0
    assert not Path(path).exists()


def test_a_job_ends_by_the_signal_that_ended_its_work(server, tmp_path: Path):
    job, work = start_waiting(tmp_path, server[0])
    os.kill(work, signal.SIGKILL)
    assert job.wait(20) == -signal.SIGKILL


def test_a_job_fails_where_its_server_is_killed(tmp_path: Path):
    path, process = fork_server.start_server()
    wait(lambda: Path(path).exists())
    job, work = start_waiting(tmp_path, path)
    process.kill()
    job.wait(20)
    os.kill(work, signal.SIGKILL)
    _, errors = job.communicate(timeout=20)
    assert (errors.count("\n"), job.returncode) == (1, 1)
    assert errors.startswith("error: the run's fork server was killed")


def test_the_server_ends_after_its_engine_and_the_last_work(tmp_path: Path):
    path, process = fork_server.start_server()
    wait(lambda: Path(path).exists())
    job, _ = start_waiting(tmp_path, path)
    process.stdin.close()
    time.sleep(0.3)
    assert process.poll() is None, "work is left"
    job.send_signal(signal.SIGTERM)
    assert (job.wait(20), process.wait(20)) == (75, 0)
    assert not Path(path).parent.exists()
