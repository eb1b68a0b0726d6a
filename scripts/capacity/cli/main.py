"""`capacity <verb> ...`: what people type. Each verb is a module of this folder, imported only when it is asked for."""

import difflib
import importlib
import os
import sys
from pathlib import Path

from capacity.environment import python_path
from capacity.errors import UserError, fail

# Verb -> the module here that does it, what it is for.
VERBS = {
    "plan": ("show_plan", "what would run, why, and what it would cost"),
    "runs": ("list_runs", "one row a run: state, R, seconds, when"),
    "curves": ("draw_curves", "loss and learning rate over exposures of a study's runs"),
    "table": ("show_table", "the capacity table in the terminal"),
    "preview": ("preview_dataset", "a dataset's texts with what is scored, its bits, tokens and sizes"),
    "size": ("size_models", "parameters that so many bits of facts need"),
    "law": ("fit_law", "fit R(exposures, P, R_max, scheme) to the reference tables"),
    "measure": ("measure_model", "how much a model remembers beside a GPT-2 of the same size: a card"),
    "mix": ("mix_data", "how often a fact must be told among so much junk: a card"),
    "compare": ("compare_tables", "a table against the reference: cells with intervals, verdicts"),
    "lineage": ("show_lineage", "where a cell of the table comes from"),
    "audit": ("audit_results", "can this table be trusted?"),
    "release": ("make_release", "one archive to be audited elsewhere"),
    "export": ("export_variant", "a quantised variant with packed weights, for inference tools"),
    "hub": ("write_hub_folder", "a variant or a dataset as a folder for the Hugging Face hub, with its card"),
    "push": ("push_folder", "upload such a folder, or say what would be uploaded"),
    "task": ("write_eval_task", "a task folder for lm-evaluation-harness"),
    "prune": ("prune_results", "artefacts that no study reaches: list or remove them"),
    "reference": ("collect_reference", "claims, Figure 1 and the README's table from the committed tables"),
    "docs": ("document_config", "docs/config.md and the editor schema, from the configuration's models"),
    "check-models": ("check_models", "build models that are not of the paper; used by a run before its first job"),
}
LIBRARY = Path(__file__).resolve().parents[2]


def main() -> None:
    """Run one verb with the library of the checkout that the user stands in; a UserError is reported in one line."""
    use_checkout(Path.cwd())
    verb, words = (sys.argv[1] if sys.argv[1:] else "--help"), sys.argv[2:]
    if verb in ("-h", "--help"):
        print(usage())
        return
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"did you mean {near[0]}?" if near else "`capacity --help` lists them"
        print(f"error: capacity: no verb {verb!r}; {hint}", file=sys.stderr)
        raise SystemExit(2)
    sys.argv = [f"capacity {verb}", *words]
    try:
        importlib.import_module(f"capacity.cli.{VERBS[verb][0]}").main()
    except UserError as error:
        fail(error)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:  # whoever read this has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        fail(UserError(f"{error.filename or verb}: {error.strerror or error}; nothing more was done"))


def usage() -> str:
    """All verbs, a line each."""
    lines = [f"  {verb:<13} {purpose}" for verb, (_, purpose) in VERBS.items()]
    return "\n".join(["usage: capacity <verb> [options]", "", *lines, "", "`capacity <verb> --help` says more."])


def use_checkout(folder: Path) -> None:
    """Start again with the library of the checkout around a folder, where that is another one than this.

    One environment serves several checkouts, and results belong to the code beside them.
    """
    for place in (folder, *folder.parents):
        library = place / "scripts"
        if (place / "Snakefile").is_file() and (library / "capacity" / "cli" / "main.py").is_file():
            if library.resolve() != LIBRARY:
                variables = {**os.environ, "PYTHONPATH": python_path(library)}
                os.execve(sys.executable, [sys.executable, "-m", "capacity.cli", *sys.argv[1:]], variables)
            return
