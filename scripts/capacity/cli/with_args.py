"""Run a command with the words of the environment's ARGS after it, split and unquoted as a shell does, and no more.

    ARGS="--config 'study=[mine]'" python scripts/capacity/cli/with_args.py snakemake --cores all

`make` calls it, so that nothing that a person gives becomes the text of a command.
"""

import itertools
import os
import re
import shlex
import sys

# Of these a command heeds the last, so that ARGS would silently undo what STUDY, SCALE or CONFIG asked for.
ONCE = {"-C": "--config", "--config": "--config", "--configfile": "--configfile", "--configfiles": "--configfile"}


def refuse(text: str) -> None:
    """One line, exit code 1."""
    print(f"error: {text}", file=sys.stderr)
    raise SystemExit(1)


def options(words: list[str]) -> set[str]:
    """Which of the options that count once are among some words."""
    return {ONCE[word.partition("=")[0]] for word in words if word.partition("=")[0] in ONCE}


def values_of(words: list[str], *names: str) -> list[str]:
    """What follows an option, up to the next one, or stands behind its `=`."""
    found: list[str] = []
    for place, word in enumerate(words):
        name, given, value = word.partition("=")
        if name in names:
            after = itertools.takewhile(lambda word: not word.startswith("-"), words[place + 1 :])
            found += [value] if given else after
    return found


def check_engine(words: list[str]) -> None:
    """Refuse what the engine would answer with a traceback."""
    for file in values_of(words, "--configfile", "--configfiles"):
        if not os.path.isfile(file):
            refuse(f"{file}: no such file; SCALE is the name of one in scales/, CONFIG the path of one")
    for entry in values_of(words, "--config", "-C"):
        if not re.match(r"[A-Za-z_][\w-]*\w=", entry):
            refuse(f"--config: {entry!r} is no KEY=VALUE of a top-level key, such as study=base-law")


def main() -> None:
    """Become the command."""
    command, text = sys.argv[1:], os.environ.pop("ARGS", "")
    try:
        words = shlex.split(text)
    except ValueError as error:
        refuse(f"ARGS: {text!r}: {str(error).lower()}; give words as to a shell")
    for option in sorted(options(command) & options(words)):
        given = {"--config": "STUDY", "--configfile": "SCALE or CONFIG"}[option]
        refuse(f"ARGS: {option} stands beside {given}, which says {option} too; say all of it in ARGS")
    if command[0] == "snakemake":
        check_engine([*command, *words])
    os.execvp(command[0], [*command, *words])


if __name__ == "__main__":
    main()
