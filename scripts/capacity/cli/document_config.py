"""Write docs/config.md and docs/config.schema.json from the models that check config.yaml."""

import inspect
import json
import types
import typing
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from capacity.cli.arguments import plain_parser
from capacity.config.claim import Claim, Claims, Selection
from capacity.config.experiment import Config
from capacity.config.validation import MOST
from capacity.environment import REPOSITORY

DOCS = REPOSITORY / "docs"
HEAD = f"""# Configuration

Made by `make docs` from the models that check `config.yaml`; a test holds the two together. Unknown keys, wrong types
and impossible values end the run before any job starts, with a line for each that names file, key, value and what is
allowed.

Later files and options win: `config.yaml`, then each `--configfile`, then `--config key=value`. Mappings merge, lists
and values are replaced. Files are YAML 1.2: `1e-3` is a number, `074` is 74, `1:00`, `yes` and `2026-01-01` are text. A
key may stand once in a mapping; merge keys (`<<`) are not read. No count is above {MOST:,}.
"""

CLAIMS_HEAD = """# A file of claims

What `claims.yaml`, or another file that the key `claims` names, may say. How a verdict follows is in
[table.md](table.md#the-other-tables).
"""


def schema_text() -> str:
    """The JSON schema that editors read."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"


def markdown() -> str:
    """One table a section, in the order of the flow."""
    parts = [HEAD, _section("Top level", Config)]
    seen: set[type] = {Config}
    for model in _models_below(Config, seen):
        parts.append(_section(model.__name__, model))
    parts.append(CLAIMS_HEAD)
    for model in (Claims, Claim, Selection):
        parts.append(_section(model.__name__, model))
    return "\n".join(parts)


def _models_below(model: type[BaseModel], seen: set[type]) -> list[type[BaseModel]]:
    """Every section that a model's fields use, depth first, each once."""
    found = []
    for field in model.model_fields.values():
        for used in _models_in(field.annotation):
            if used not in seen:
                seen.add(used)
                found += [used, *_models_below(used, seen)]
    return found


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _models_in(part)]


def _section(title: str, model: type[BaseModel]) -> str:
    lines = [
        f"## {title}\n",
        f"{inspect.cleandoc(model.__doc__ or '')}\n",
        "| key | type | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else f"`{_plain(field.default)}`"
        lines.append(f"| `{name}` | {_type(field.annotation, field)} | {default} | {field.description or ''} |")
    return "\n".join(lines) + "\n"


def _plain(value: Any) -> str:
    return "its own defaults" if isinstance(value, BaseModel) else json.dumps(value)


def _type(annotation: Any, field: FieldInfo) -> str:
    """A type in words, limits included."""
    return _limited(_words(annotation), field.metadata)


def _limited(words: str, limits: Iterable[Any]) -> str:
    flat = [part for limit in limits for part in (limit.metadata if isinstance(limit, FieldInfo) else [limit])]
    shown = ", ".join(f"{sign} {bound}" for limit in flat for sign, bound in _bounds(limit) if bound != MOST)
    return f"{words} ({shown})" if shown else words


def _bounds(limit: Any) -> list[tuple[str, Any]]:
    """A limit as `> 0` rather than `Gt(gt=0)`."""
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    return [(sign, getattr(limit, name)) for name, sign in signs.items() if getattr(limit, name, None) is not None]


def _words(annotation: Any) -> str:
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _limited(_words(args[0]), args[1:])
    if origin is typing.Literal:
        return " or ".join(f"`{json.dumps(arg)}`" for arg in args)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_words(arg) for arg in args)
    if origin is list:
        return f"list of {_words(args[0])}"
    if origin is dict:
        return f"mapping of name to {_words(args[1])}"
    if annotation is type(None):
        return "null"
    return {"int": "integer", "float": "number", "str": "text", "bool": "true or false", "Any": "any value"}.get(
        annotation.__name__, f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    )


def main() -> None:
    """Write both files, or say that they are current."""
    parser = plain_parser(__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 where the files differ, write nothing")
    args = parser.parse_args()
    DOCS.mkdir(exist_ok=True)
    stale = []
    for name, text in (("config.md", markdown()), ("config.schema.json", schema_text())):
        path = DOCS / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not args.check:
                path.write_text(text, encoding="utf-8")
    print(f"written: {', '.join(stale)}" if stale and not args.check else f"stale: {stale}" if stale else "current")
    raise SystemExit(1 if stale and args.check else 0)
