"""From files and overrides to a checked configuration; every mistake is one line."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from capacity.config.experiment import Config
from capacity.config.study import VARIED_PATTERN
from capacity.config.validation import NAME_PATTERN, shown
from capacity.config.yaml_files import parse_yaml, read_yaml
from capacity.errors import UserError

CHANGE = "regimes='{long: {lr: 2e-2}}'"
MOST_MISTAKES = 20  # that are shown at once

PATTERNS = {  # of texts, in words
    f"^{NAME_PATTERN}$": "a name has letters of ASCII, digits, - and _, and begins with a letter or a digit",
    VARIED_PATTERN: "name a key below dataset, tokenizer, model or regime; of quantizers name several in `quantizers`",
}

Source = tuple[str, dict[str, Any]]  # what a part of the configuration is called in messages, and what it says


def merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """The base with a change laid over it; mappings merge, everything else is replaced."""
    merged = dict(base)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def load_config(files: list[Path], overrides: dict[str, Any] | None = None, unwritten: Source | None = None) -> Config:
    """The configuration in the files, later ones over earlier ones, then the overrides, whose texts are YAML.

    unwritten: a last file that does not exist yet, its name and its content. Raises UserError with a line for each
    mistake, which names the file that made it.
    """
    return _checked(Config, [*_sources(files, overrides), *([unwritten] if unwritten else [])])


def load_asked(files: list[Path], overrides: dict[str, Any] | None) -> Config:
    """The same, of which the studies that it names can be built. Raises UserError where one would mix two scales."""
    sources = _sources(files, overrides)
    config: Config = _checked(Config, sources)
    _check_stated(config, sources)
    return config


def _sources(files: list[Path], overrides: dict[str, Any] | None) -> list[Source]:
    changes = _typed_keys(overrides or {})
    if isinstance(changes.get("study"), str):  # --config study=name
        changes["study"] = changes["study"].split(",")
    return [*((str(file), read_yaml(file)) for file in files), ("--config", changes)]


def _check_stated(config: Config, sources: list[Source]) -> None:
    """Refuse what would mix two scales: a study that neither a scale's file nor one laid over it states.

    Its datasets, models and regimes would be the first file's in part, its recipes the scale's. Raises UserError.
    """
    over = [content for _, content in sources[1:]]
    if not any("scale" in content and content.get("studies") for content in over):
        return
    stated = dict.fromkeys(name for content in over for name in content.get("studies") or ())
    for name in config.study:
        if name in config.studies and name not in stated:
            raise UserError(
                f"study: {name!r} is not stated at scale {config.scale}, whose recipes it would mix with the sizes of "
                f"{sources[0][0]}; state it in a file of your own, or take one of {', '.join(stated)}"
            )


def parse_overrides(words: Iterable[str], option: str = "--config", example: str = CHANGE) -> dict[str, Any]:
    """The values of `--config KEY=VALUE ...`, by key. Raises UserError for what the engine does not take either."""
    overrides = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.isidentifier():
            raise UserError(f"{option} {word}: not KEY=VALUE; a key is one word, what is below it a mapping: {example}")
        overrides[key] = value
    return _typed_keys(overrides, option)


def _typed_keys(overrides: dict[str, Any], option: str = "--config") -> dict[str, Any]:
    """Values with their types; what selects studies stays text unless it is a list: one may be named 2024 or null."""
    typed: dict[str, Any] = _typed(overrides, option)
    named = overrides.get("study")
    if isinstance(named, str) and not isinstance(typed["study"], str | list):
        typed["study"] = named
    return typed


def _typed(value: Any, option: str = "--config") -> Any:
    """Values of --config with their YAML types: the engine hands on what stands inside braces as text."""
    if isinstance(value, dict):
        return {key: _typed(part, option) for key, part in value.items()}
    if isinstance(value, list):
        return [_typed(part, option) for part in value]
    try:
        return parse_yaml(value) if isinstance(value, str) and value else value
    except yaml.YAMLError:
        raise UserError(f"{option}: {shown(value)} is not a YAML value") from None


def check(model: Any, raw: dict[str, Any], source: str) -> Any:
    """A checked section. Raises UserError with a line for each mistake: source, key, value, what is allowed."""
    return _checked(model, [(source, raw)])


def _checked(model: Any, sources: list[Source]) -> Any:
    raw: dict[str, Any] = {}
    for _, content in sources:
        raw = merge(raw, content)
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise UserError(*_lines(error, raw, sources)) from None


def _lines(error: ValidationError, raw: dict[str, Any], sources: list[Source]) -> list[str]:
    """The mistakes, a line a key; what a value may be instead is said in one of them."""
    starts: dict[str, list[str]] = {}  # of lines: their messages
    for each in error.errors(include_url=False):
        loc, message = each["loc"], each["msg"]
        path = _path(loc[:-1] if each["type"] == "unknown" else loc, raw)
        source = max(reversed(sources), key=lambda it: len(_path(loc, it[1])))[0]
        key = ".".join(map(str, [*path, loc[-1]] if each["type"] == "missing" else path))
        start = f"{source}: {key}: " if key else f"{source}: "
        if each["type"] in ("problem", "unknown"):
            starts[start + message] = []
            continue
        if each["type"] != "missing":
            given = "a mapping" if isinstance(each["input"], dict) else shown(each["input"])
            start += f"{given} is not allowed: "
        message = PATTERNS.get(each.get("ctx", {}).get("pattern", ""), message[0].lower() + message[1:])
        starts.setdefault(start, []).append(message)
    lines = [start + ", or ".join(dict.fromkeys(messages)) for start, messages in starts.items()]
    rest = [f"and {len(lines) - MOST_MISTAKES:,} more mistakes"] if len(lines) > MOST_MISTAKES else []
    return [*lines[:MOST_MISTAKES], *rest]


def _path(loc: Iterable[int | str], raw: Any) -> list[int | str]:
    """The keys of a place in the configuration, without what only the checks call it (the kind of a dataset)."""
    path: list[int | str] = []
    for part in loc:
        at = isinstance(raw, list) and isinstance(part, int) and 0 <= part < len(raw)
        if at or (isinstance(raw, dict) and part in raw):
            raw = raw[part]
            path.append(part)
    return path
