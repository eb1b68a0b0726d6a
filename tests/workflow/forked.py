"""Programs as forks of a process that has the libraries of others in memory: a second less at each of 500 starts.

Nothing of this project and nothing of the engine is in memory there: a fork finds both where its environment says.
"""

import atexit
import functools
import json
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

# What the engine, its plugins and this project import of others; nothing here may start a thread.
LIBRARIES = [
    *("pandas", "sqlmodel", "sqlalchemy.orm", "smart_open", "requests", "pydantic", "jinja2", "yaml", "pulp", "psutil"),
    *("docutils.core", "docutils.parsers.rst.directives.images", "jsonschema", "tabulate", "humanfriendly", "wrapt"),
    *("immutables", "yte", "throttler", "dpath", "configargparse", "packaging.version", "tenacity", "sqlite3"),
]
FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(LIBRARIES)
UNTHREADED = {"JE_ARROW_MALLOC_CONF": "background_thread:false", "OMP_NUM_THREADS": "1"}


@functools.cache
def plain_path() -> list[str]:
    """Where this Python looks for modules, before the working folder and PYTHONPATH are put in front."""
    print_path = "import json, sys; print(json.dumps(sys.path[1:]))"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return json.loads(subprocess.check_output([sys.executable, "-c", print_path], env=environment))


def run_module(
    module: str, words: tuple[str, ...], folder: Path, environment: dict[str, str], together: bool = False
) -> subprocess.CompletedProcess[str]:
    """As `python -m module words`; together: what it says of errors stands in its output."""
    os.environ.update(UNTHREADED)  # for the process that forks, which starts with the first of these calls
    with tempfile.TemporaryDirectory() as scratch:
        said = [Path(scratch) / name for name in ("output", "errors")]
        kept = [str(said[0])] * 2 if together else [str(path) for path in said]
        path = [str(folder), *environment["PYTHONPATH"].split(os.pathsep), *plain_path()]
        process = FORKING.Process(target=become, args=(module, words, str(folder), environment, path, kept))
        process.start()
        process.join()
        output, errors = (path.read_text() if path.exists() else "" for path in said)
        return subprocess.CompletedProcess([module, *words], process.exitcode or 0, output, errors)


def become(
    module: str, words: tuple[str, ...], folder: str, environment: dict[str, str], path: list[str], said: list[str]
) -> None:
    """In the fork: be what the command line would have started."""
    for descriptor, file in zip((1, 2), said, strict=True):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = path
    sys.argv[:] = [module, *words]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # multiprocessing leaves them out
