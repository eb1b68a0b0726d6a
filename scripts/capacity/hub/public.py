"""Manifests and settings without what they tell of the machine, and of folders outside the checkout."""

import json
from pathlib import Path, PurePosixPath
from typing import Any

PROVENANCE = "provenance.json"  # an artefact's manifest, in a folder for the hub
OWN = "records"  # the kind of a table of the user's own
PATHS = ("file", "folder", "template_folder", "model")  # settings that are a path


def copy_public(source: Path, target: Path) -> None:
    """Copy a manifest or grammar.json: no machine's name, and of a path outside the checkout its last part alone."""
    content = json.loads(source.read_text(encoding="utf-8"))
    content["settings"] = public(content["settings"])
    content.get("hardware", {}).pop("host", None)
    for variable in ("SLURMD_NODENAME", "SLURM_JOB_ID"):
        content.get("environment", {}).get("variables", {}).pop(variable, None)
    target.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def public(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a spec, with such paths."""
    shown = settings | {key: _last_part(settings[key]) for key in PATHS if key in settings}
    if isinstance(shown.get("files"), dict):
        shown["files"] = {_last_part(path): digest for path, digest in shown["files"].items()}
    if isinstance(shown.get("value_lists"), dict):
        shown["value_lists"] = {pool: _last_part(path) for pool, path in shown["value_lists"].items()}
    if isinstance(shown.get("rewriter"), dict):
        shown["rewriter"] = public(shown["rewriter"])
    return shown


def _last_part(path: Any) -> Any:
    if not isinstance(path, str):
        return path
    is_outside = path.startswith(("/", "~")) or ".." in PurePosixPath(path).parts
    return Path(path).name if is_outside else path
