"""Strategies for configurations that are nearly right: the shipped one with something changed, in value or in text."""

import copy
import datetime
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from capacity.config.experiment import Config
from capacity.config.load import read_yaml

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = read_yaml(ROOT / "config.yaml")
SCHEMA = Config.model_json_schema()
SECTIONS = ("datasets", "tokenizers", "models", "regimes", "quantizers")
CHANGES = ("schema", "schema", "schema", "replace", "replace", "remove", "add", "add", "swap")
CONTROL = "\x00\x01\x1b\x7f\x85\u202e\u2028\ud800\ufeff"
LINES = (
    "<<: *x", "<<: {a: 1}", "a: &x [*x]", "? [1, 2]\n: 3", "? {a: 1}\n: 3", "\tkey: 1", "--- second", "...",
    "%YAML 1.1",
    "%TAG ! tag:x,2000:", "x: !!python/object/apply:os.system [ls]", "x: !!binary aGk=", "x: !!set {a, b}",
    "x: !!timestamp 2020-01-01", "x: !!int a", "x: !!float b", "x: !!omap [a: 1]", "x: !own 1", "x: 'open", "[1, 2",
    "{a: 1, a: 2}", "scale: laptop", "study: [base-law]", "= : 1", "~: 1", "1: 2", "true: 3", ".nan: 4",
    "x: " + "[" * 1500,
    "x: " + "- " * 200 + "1", "x: " + "9" * 5000, "a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
    "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]",
)  # fmt: skip
WORDS = (
    "074", "0o17", "0x1F", "1:00", "1_000", "1e3", "1e400", "-1e-400", ".inf", "-.inf", ".nan", "~", "null", "yes",
    "no",
    "on", "off", "2020-01-01", "!!binary aGk=", "!!set {a}", "!!str 1", "&a 1", "*a", "<<", "'", '"', "\\", "{", "}",
    "[", "]", ",", ": ", "- ", "#", "|", ">", "%", "@", "`", "\t", "\r", "\0", "\ufeff", 
    "18446744073709551616", "10" * 40,
)  # fmt: skip


def junk() -> st.SearchStrategy[Any]:
    """Values that no key asks for, and some that many do."""
    numbers = st.one_of(
        st.integers(-3, 3000),
        st.sampled_from([2**31, 2**32, 2**53, 2**63, 2**64, 10**9, 10**12, 10**18, 10**40, 10**400, -(2**63)]),
        st.floats(allow_nan=True, allow_infinity=True),
    )
    names = st.sampled_from(sorted({name for section in SECTIONS for name in SHIPPED[section]}))
    paths = st.sampled_from(
        [
            "/dev/zero",
            "/dev/null",
            "/",
            ".",
            "..",
            "~nobody/x",
            "no/such",
            "tests",
            "README.md",
            "x" * 300,
            "/proc/self/mem",
        ]
    )
    odd = st.text(st.sampled_from(CONTROL + "ab:{"), max_size=5)
    texts = st.one_of(st.text(max_size=20), odd, names, paths, st.just("x" * 5000))
    others = st.one_of(
        st.none(),
        st.booleans(),
        st.dates(),
        st.datetimes(),
        st.binary(max_size=9),
        st.sets(st.integers(0, 9), max_size=3),
    )
    scalars = st.one_of(numbers, texts, others)
    keys = scalars.filter(lambda key: not isinstance(key, set))
    small = st.recursive(
        scalars,
        lambda part: st.lists(part, max_size=4) | st.dictionaries(keys, part, max_size=4),
        max_leaves=8,
    )
    huge = st.sampled_from(
        [list(range(3000)), [1] * 3000, [None] * 50_000, _deep(30), _deep(300), {f"k{i}": i for i in range(3000)}]
    )
    return st.one_of(scalars, small, huge)


def _deep(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def valued(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a JSON schema of the configuration's models allows, at its limits and within."""
    if "$ref" in schema:
        return st.deferred(lambda: valued(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]))
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return st.one_of(*(valued(choice) for choice in schema[key]))
    if "const" in schema or "enum" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    kind = schema.get("type")
    if kind == "integer":
        low = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
        high = schema.get("maximum", schema.get("exclusiveMaximum", 10**12) - 1)
        return st.one_of(
            st.integers(low, min(high, low + 8)), st.sampled_from([low, high, (low + high) // 2, min(64, high)])
        )
    if kind == "number":
        low = schema.get("minimum", schema.get("exclusiveMinimum", 0.0))
        high = schema.get("maximum", schema.get("exclusiveMaximum", 1e300))
        return st.floats(low, high) | st.sampled_from([low, high, 1e-300, 0.5])
    if kind == "string":
        return st.from_regex(schema["pattern"], fullmatch=True) if "pattern" in schema else st.text(max_size=9)
    if kind == "boolean":
        return st.booleans()
    if kind == "null":
        return st.none()
    if kind == "array":
        return st.lists(
            valued(schema.get("items", {})),
            min_size=schema.get("minItems", 0),
            max_size=min(4, schema.get("maxItems", 4)),
        )
    if kind == "object":
        return _mapping(schema)
    return junk()


def _mapping(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    if "properties" not in schema:
        return st.dictionaries(st.text(max_size=5), valued(_entry(schema)), max_size=3)
    return _section(schema)


@st.composite
def _section(draw: st.DrawFn, schema: dict[str, Any]) -> dict[str, Any]:
    """What a section needs, and up to four keys more: many at once seldom fit together."""
    needed = schema.get("required", [])
    others = sorted(set(schema["properties"]) - set(needed))
    more = draw(st.lists(st.sampled_from(others), max_size=4, unique=True)) if others else []
    return {key: draw(valued(schema["properties"][key])) for key in [*needed, *more]}


def slim(study: str) -> dict[str, Any]:
    """The shipped configuration with one study and what it names."""
    small = {key: value for key, value in SHIPPED.items() if key not in (*SECTIONS, "studies", "study")}
    text = yaml.safe_dump(SHIPPED["studies"][study]) + yaml.safe_dump(small)
    for section in SECTIONS:
        named = {name: value for name, value in SHIPPED[section].items() if name in text or name == "none"}
        small[section] = named or dict(list(SHIPPED[section].items())[:1])
    return copy.deepcopy({**small, "study": [study], "studies": {study: SHIPPED["studies"][study]}})


def places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values within a value."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [above, *(place for key, part in parts for place in places(part, (*above, key)))]


@st.composite
def remade(draw: st.DrawFn) -> dict[str, Any]:
    """A slim configuration in which one entry of a section is made anew, as its schema allows."""
    raw = slim(draw(st.sampled_from(sorted(SHIPPED["studies"]))))
    section = draw(st.sampled_from([*SECTIONS, "extractions"]))
    name = draw(st.sampled_from(sorted(raw[section])))
    made = draw(valued(_entry(SCHEMA["properties"][section])))
    # Half of the time over what stands there: most of a section then fits together.
    raw[section][name] = {**raw[section][name], **made} if draw(st.booleans()) else made
    if section == "extractions":
        raw["studies"][raw["study"][0]]["extraction"] = name
    return raw


@st.composite
def changed(draw: st.DrawFn) -> dict[str, Any]:
    """A slim configuration with one to three values replaced, removed, added or swapped."""
    raw = slim(draw(st.sampled_from(sorted(SHIPPED["studies"]))))
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        *above, key = draw(st.sampled_from(places(raw)[1:]))
        holder = raw
        for part in above:
            holder = holder[part]
        schema = _schema_at((*above, key))
        match draw(st.sampled_from(CHANGES)):
            case "replace":
                holder[key] = draw(junk())
            case "schema":
                holder[key] = draw(valued(schema))
            case "remove":
                del holder[key]
            case "add" if isinstance(holder, dict):
                fields = _schema_at(tuple(above)).get("properties", {})
                if fields and draw(st.booleans()):
                    name = draw(st.sampled_from(sorted(fields)))
                    holder[name] = draw(valued(fields[name]))
                else:
                    holder[draw(st.text(max_size=8) | st.integers() | st.booleans() | st.none())] = draw(junk())
            case "add":
                holder.append(draw(junk()))
            case "swap":
                *above, other = draw(st.sampled_from(places(raw)[1:]))
                place = raw
                for part in above:
                    place = place[part]
                holder[key], place[other] = copy.deepcopy(place[other]), copy.deepcopy(holder[key])
    return raw


def _schema_at(path: tuple[Any, ...]) -> dict[str, Any]:
    """The schema of a place; that of anything where the path leaves the schema."""
    schema = SCHEMA
    for part in path:
        options = [schema]
        for each in options:  # grows
            options += [*each.get("anyOf", []), *each.get("oneOf", [])]
            if "$ref" in each:
                options.append(SCHEMA["$defs"][each["$ref"].rpartition("/")[2]])
        found = [each["properties"][part] for each in options if part in each.get("properties", {})]
        found += [_entry(each) for each in options if _entry(each)]
        found += [each["items"] for each in options if "items" in each and isinstance(part, int)]
        if not found:
            return {}
        schema = found[0]
    return _object(schema)


def _entry(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a mapping's values, whatever its keys are."""
    entry = next(iter(schema.get("patternProperties", {}).values()), schema.get("additionalProperties"))
    return entry if isinstance(entry, dict) else {}


def _object(schema: dict[str, Any]) -> dict[str, Any]:
    return SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def written(raw: dict[str, Any]) -> bytes:
    """A configuration as a file holds it: dates, bytes and sets with the tags of YAML 1.1."""
    return yaml.dump(raw, Dumper=_Dumper, sort_keys=False).encode("utf-8", "surrogatepass")


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return isinstance(data, int | float | str | bool | None | bytes | datetime.date | tuple)


@st.composite
def edited(draw: st.DrawFn) -> bytes:
    """The text of a slim configuration with something typed into it, taken out of it, or doubled."""
    text = written(slim(draw(st.sampled_from(sorted(SHIPPED["studies"]))))).decode()
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        at = draw(st.integers(0, len(text)))
        end = min(len(text), at + draw(st.integers(1, 30)))
        line = text.rfind("\n", 0, at) + 1
        match draw(st.sampled_from(["value", "value", "value", "word", "line", "cut", "double", "control"])):
            case "word":
                text = text[:at] + draw(st.sampled_from(WORDS)) + text[at:]
            case "line":
                text = text[:line] + draw(st.sampled_from(LINES)) + "\n" + text[line:]
            case "cut":
                text = text[:at] + text[end:]
            case "double":
                text = text[:end] + text[at:end] + text[end:]
            case "value":
                colon = text.find(": ", at)
                stop = text.find("\n", colon)
                text = text if colon < 0 else text[: colon + 2] + draw(st.sampled_from(WORDS)) + text[stop:]
            case "control":
                text = text[:at] + draw(st.sampled_from(CONTROL)) + text[at:]
    return text.encode("utf-8", "surrogatepass")
