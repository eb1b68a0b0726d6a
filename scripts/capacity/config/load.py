"""From files and overrides to a checked configuration; every mistake is one line."""

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from capacity.config.models import Config
from capacity.errors import UserError


class _StrictLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML in which a key stands once and `1e-3` is a number."""


def _mapping(loader: _StrictLoader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} stands twice in one mapping; remove one", key_node.start_mark
            )
        seen.add(key)
    return loader.construct_mapping(node, deep=deep)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, lambda it, node: _mapping(it, node, True))
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises UserError naming file and line."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    except (yaml.YAMLError, TypeError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise UserError(f"{path}{place}: not valid YAML: {reason}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds {type(content).__name__}, a configuration is a mapping of sections")
    return content


def merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """The base with a change laid over it; mappings merge, everything else is replaced."""
    merged = dict(base)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def load_config(files: list[Path], overrides: dict[str, Any] | None = None) -> Config:
    """The configuration in the files, later ones over earlier ones, then the overrides. Raises UserError."""
    raw: dict[str, Any] = {}
    for file in files:
        raw = merge(raw, read_yaml(file))
    raw = merge(raw, _typed(overrides or {}))
    if isinstance(raw.get("study"), str):  # --config study=name
        raw["study"] = raw["study"].split(",")
    return check(Config, raw, str(files[0]) if files else "config")


def _typed(value: Any) -> Any:
    """Values of --config with their YAML types: the engine hands on what stands inside braces as text."""
    if isinstance(value, dict):
        return {key: _typed(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_typed(part) for part in value]
    try:
        return yaml.load(value, Loader=_StrictLoader) if isinstance(value, str) and value else value
    except yaml.YAMLError:
        raise UserError(f"--config: {value!r} is not a YAML value") from None


def check(model: Any, raw: dict[str, Any], source: str) -> Any:
    """A checked section. Raises UserError with one line: source, key, value, what is allowed."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise UserError(f"{source}: {_first_line(error)}") from None


def _first_line(error: ValidationError) -> str:
    """The first mistake, with its key, value and what is allowed, and how many more there are."""
    errors = error.errors(include_url=False)
    first, more = errors[0], len(errors) - 1
    tags = {"bioD", "bioS", "bioR", "records", "random", "word", "bpe", "pretrained", "rate", "rates"}
    keys = [str(part) for i, part in enumerate(first["loc"]) if not (part in tags and i > 1)]
    key = ".".join(keys) or "top level"
    message = first["msg"] if first["type"] == "problem" else first["msg"][0].lower() + first["msg"][1:]
    value = first["input"]
    shown = "" if first["type"] in ("problem", "missing") or isinstance(value, dict) else f"{value!r} is not allowed: "
    return f"{key}: {shown}{message}" + (f" (and {more} more)" if more else "")
