"""YAML files as plain values, by the core schema of YAML 1.2: numbers mean what they seem to, and a key stands once.

`074` is 74, `1:00` and `2024-01-01` are text, `yes` is text, `1e-3` is a number. What only YAML 1.1 has (dates,
binary, sets, merge keys) is refused, and so are control characters.
"""

import os
import re
from pathlib import Path
from typing import Any, ClassVar
from unicodedata import category

import yaml

from capacity.errors import UserError

MOST_BYTES = 10_000_000  # of a file
MOST_VALUES = 300_000  # keys and values, those that stand behind an alias at each place where it is used
DEEPEST = 100  # mappings and lists within each other
CONTROL = {"Cc", "Cs", "Zl", "Zp"}  # categories of characters: control, surrogates, line and paragraph separators

CORE = "tag:yaml.org,2002:"
SCALARS = {  # in the order in which a plain text is tried
    f"{CORE}null": (re.compile(r"~|null|Null|NULL|"), "~nN"),
    f"{CORE}bool": (re.compile(r"true|True|TRUE|false|False|FALSE"), "tTfF"),
    f"{CORE}int": (re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"), "-+0123456789"),
    f"{CORE}float": (
        re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
        "-+.0123456789",
    ),
}
INTEGER_BASES = {"0o": 8, "0x": 16}


class _Composer(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Resolves which plain texts are null, true or false, and numbers in YAML 1.2."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


for _name, (_pattern, _first) in SCALARS.items():
    _whole = re.compile(f"(?:{_pattern.pattern})\\Z")
    _Composer.add_implicit_resolver(_name, _whole, list(_first) + ([""] if _name.endswith("null") else []))


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises UserError naming file and line."""
    if not os.path.lexists(path):
        raise UserError(f"{path}: no such file")
    if not os.path.isfile(path):
        raise UserError(f"{path}: no regular file; give a YAML file")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"{path}: more than {MOST_BYTES:,} bytes; no configuration is that large")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    try:
        content = parse_yaml(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{place}: not valid YAML: {_reason(error)}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {_reason(error)}") from None
    if content is None:
        raise UserError(f"{path}: empty; a configuration is a mapping of sections")
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds {type(content).__name__}, a configuration is a mapping of sections")
    return content


def _reason(error: yaml.YAMLError) -> str:
    return " ".join(str(getattr(error, "problem", None) or error).split())


def parse_yaml(text: str) -> Any:
    """The value in a YAML text. Raises yaml.YAMLError."""
    try:
        node = yaml.compose(text, Loader=_Composer)
    except (RecursionError, UnicodeError) as error:
        raise yaml.YAMLError(str(error)) from None
    return None if node is None else _Reader().value(node, ())


class _Reader:
    """Turns nodes into values and counts them."""

    def __init__(self) -> None:
        self._left = MOST_VALUES

    def value(self, node: yaml.Node, above: tuple[yaml.Node, ...]) -> Any:
        """The plain value of a node. above: those that hold it."""
        self._left -= 1
        if self._left < 0:
            raise _refused(node, f"more than {MOST_VALUES:,} values, aliases counted at each use; write less")
        if node in above:
            raise _refused(node, "an alias that stands for what holds it; write the value out")
        if len(above) >= DEEPEST:
            raise _refused(node, f"nested more than {DEEPEST} deep")
        if isinstance(node, yaml.MappingNode) and node.tag == f"{CORE}map":
            return self._mapping(node, (*above, node))
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{CORE}seq":
            return [self.value(part, (*above, node)) for part in node.value]
        if isinstance(node, yaml.ScalarNode):
            if "?" in node.value and not node.style and any(each.flow_style for each in above):
                raise _refused(node, f"{_short(node.value)} between braces or brackets; put quotes around it")
            return _scalar(node)
        raise _refused(node, f"the tag {_tag(node)} is not read; use plain values")

    def _mapping(self, node: yaml.MappingNode, above: tuple[yaml.Node, ...]) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _refused(key_node, "a key that is a list or a mapping; use text")
            key = self.value(key_node, above)
            if key == "<<" and not key_node.style:
                raise _refused(key_node, "merge keys (<<) are not read; write the keys out")
            if key in values:
                raise _refused(key_node, f"the key {_short(key)} stands twice in one mapping; remove one")
            values[key] = self.value(value_node, above)
        return values


def _scalar(node: yaml.ScalarNode) -> Any:
    text = node.value
    if node.tag == f"{CORE}str":
        control = next((letter for letter in text if category(letter) in CONTROL and letter not in "\n\t"), None)
        if control:
            raise _refused(node, f"text with the control character {control!a}; remove it")
        return text
    if node.tag not in SCALARS or not SCALARS[node.tag][0].fullmatch(text):
        raise _refused(node, f"{_short(text)} with the tag {_tag(node)} is not read; use a plain value")
    if node.tag.endswith("null"):
        return None
    if node.tag.endswith("bool"):
        return text.lower() == "true"
    if node.tag.endswith("int"):
        if len(text) > 1000:
            raise _refused(node, f"a number of {len(text)} digits")
        return int(text[2:], INTEGER_BASES[text[:2]]) if text[:2] in INTEGER_BASES else int(text)
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _tag(node: yaml.Node) -> str:
    return _short(node.tag.replace(CORE, "!!"))[1:-1]


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) < 100 else f"{shown[:97]}..."


def _refused(node: yaml.Node, reason: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, reason, node.start_mark)
