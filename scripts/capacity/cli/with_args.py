"""Run a command with the words of the environment's ARGS after it, split and unquoted as a shell does, and no more.

    ARGS="--config 'study=[mine]'" python scripts/capacity/cli/with_args.py snakemake --cores all

`make` calls it, so that nothing that a person gives becomes the text of a command.
"""

import os
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
    os.execvp(command[0], [*command, *words])


if __name__ == "__main__":
    main()
