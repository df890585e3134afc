"""Settings as YAML: read with every key once; what is wrong with a file, or with a value, is said in plain words."""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from msgspec import Meta

from mlops_project.errors import ConfigError, explain_os, suggest

MERGE = "tag:yaml.org,2002:merge"  # the key `<<`
SHOWN = 200  # characters of a wrong value
KINDS = {
    "float": "a number",
    "int": "a whole number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list such as [a, b]",
    "object": "settings (`key: value`)",
}
# Part of what PyYAML says → what to do; the first that fits.
YAML_CURES = (
    (r"character '\\t'", "there is a tab, and YAML is indented with blanks; put two blanks in its place"),
    (r"character '(.)' that cannot start", r"a text that begins with \1 belongs in quotes"),
    (r"alias|scanning an anchor", "a text that begins with * or & belongs in quotes"),
    (r"mapping values are not allowed", "a text with a colon belongs in quotes; settings of a section begin below each other"),
    (r"scanning a quoted scalar", "this quotation mark has no second one; write it"),
    (r"parsing a flow (?:mapping|sequence)", "this bracket is not closed, or a comma is missing; write it"),
    (r"expected <block end>|could not find expected ':'", "settings of a section begin below each other, as `key: value`"),
    (r"constructor for the tag '([^']*)'", r"the tag \1 asks for an object, and settings are plain values; leave it out"),
    (r"expected a single document", "a second document begins; leave out its line `---`, or make two files"),
    (r"unhashable key", "a key is a text; put it in quotes"),
)  # fmt: skip


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the settings of a file; an empty one has none.

    Raises
    ------
    ConfigError
        If the file cannot be read, or holds no settings: where, and what to do.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: no such file; write one with `mlops init data.csv --target COLUMN -o {path.name}`"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {explain_os(error)}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: cannot be read: it is not text in UTF-8; save it so{_say_table(path)}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML{_explain_yaml(error)}{_say_table(path)}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: not valid YAML: lists or settings are nested too deeply; take levels away") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        found = "a list" if isinstance(values, list) else "a single value"
        raise ConfigError(f"{path}: expected settings (`key: value`), found {found}{_say_table(path)}")
    return values


def _say_table(path: Path) -> str:
    """Return what to do with a table where settings belong; nothing for a file that is called YAML."""
    if path.suffix.lower() in ("", ".yaml", ".yml"):
        return ""
    return f". If it is your table: `mlops init {path.name} --target COLUMN` writes settings for it"


class _UniqueKeyLoader(yaml.SafeLoader):
    """A SafeLoader that rejects a key given twice; plain YAML keeps the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: list[Any] = []
        for key_node, _ in node.value:
            if key_node.tag == MERGE:
                continue
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                problem = f"the key {key!r} stands here twice; leave one out"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.append(key)
        return super().construct_mapping(node, deep)


def _explain_yaml(error: yaml.YAMLError) -> str:
    """Return where a text is no YAML, and what to do."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return f": {' '.join(str(error).split())}; delete this character"
    said = " ".join(filter(None, (error.context, error.problem)))
    found = ((re.search(part, said), cure) for part, cure in YAML_CURES)
    cure = next((match.expand(cure) for match, cure in found if match), said)
    begins = error.context_mark if error.context and re.search("quoted|flow", error.context) else None
    mark = begins or error.problem_mark
    return f" (line {mark.line + 1}, column {mark.column + 1}): {cure}" if mark is not None else f": {cure}"


def explain_value(value: Any, error: str, wanted: Any) -> str:
    """Say what was seen, what was expected and what may have been meant.

    Parameters
    ----------
    value
        Of a setting, as YAML has it.
    error
        What msgspec says of it.
    wanted
        The setting's type.
    """
    message, _, path = error.partition(" - at `$")
    for step in re.findall(r"\[(\d+)\]|\[\.\.\.\]", path):  # the element of a list or mapping that is wrong
        value = value[int(step)] if step else value
    choices = [str(choice) for choice in _list_choices(wanted)]
    expected = _find_expectation(wanted) or (f"one of {', '.join(choices)}" if choices else _describe(message, wanted, path))
    if value is None:
        return f"nothing stands there, expected {expected}; leave the line out for the default"
    shown = repr(value)
    shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}…"
    return f"{shown} is wrong, expected {expected}{_hint(value, expected, choices)}"


def _hint(value: Any, expected: str, choices: list[str]) -> str:
    """Return what may have been meant by a wrong value."""
    if isinstance(value, (bool, int, float, date)):
        text = isinstance(value, date) or re.match("an? (text|name|address)", expected)
        return f"; put it in quotes: '{value}'" if text else ""
    if not isinstance(value, str):
        return ""
    if expected.startswith("a list"):
        return f"; write [{value}]"
    percent, comma = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", value), re.fullmatch(r"(\d+),(\d+)", value)
    if expected.startswith("a number") and (percent or comma):
        return f"; write {float(percent[1]) / 100:g}" if percent else f"; write {value.replace(',', '.')}"
    return suggest(value, choices)


def _describe(message: str, wanted: Any, path: str) -> str:
    """Return what msgspec expected, without the names that types have in programs."""
    found = re.match(r"Expected `([^`]+)`(.*?)(?:, got `\w+`)?$", message)
    if found is None:
        return message.removeprefix("Expected ")
    kinds = [KINDS.get(kind, kind) for kind in found[1].split(" | ") if kind != "null"]
    bounds = "" if path else _describe_bounds(dict(_list_bounds(wanted)))
    return f"{' or '.join(kinds)}{bounds or found[2]}"


def _describe_bounds(bounds: dict[str, float]) -> str:
    if "ge" in bounds and "le" in bounds:
        return f" from {bounds['ge']:.12g} to {bounds['le']:.12g}"
    words = {"gt": "above", "ge": "of at least", "lt": "below", "le": "of at most"}
    said = " and ".join(f"{words[name]} {bounds[name]:.12g}" for name in words if name in bounds)
    return f" {said}" if said else ""


def _list_bounds(wanted: Any) -> Iterator[tuple[str, float]]:
    """Yield the bounds of a number's type, which may be one of several."""
    for meta in getattr(wanted, "__metadata__", ()):
        if isinstance(meta, Meta):
            yield from ((name, bound) for name in ("gt", "ge", "lt", "le") if (bound := getattr(meta, name)) is not None)
    inner = (wanted.__origin__,) if get_origin(wanted) is Annotated else get_args(wanted)
    if get_origin(wanted) not in (dict, list, tuple, Literal):
        for part in inner:
            yield from _list_bounds(part)


def _find_expectation(wanted: Any) -> str | None:
    """Return a field's own words for what it takes, if it has some."""
    extras = [meta.extra for meta in getattr(wanted, "__metadata__", ()) if isinstance(meta, Meta)]
    return next((extra["expected"] for extra in extras if extra and "expected" in extra), None)


def _list_choices(wanted: Any) -> tuple[Any, ...]:
    """Return the values that a ``Literal``, or a mapping to one, allows; none for other types."""
    kind = wanted.__origin__ if get_origin(wanted) is Annotated else wanted
    arguments = get_args(kind)
    if get_origin(kind) is Literal:
        return arguments
    return _list_choices(arguments[0] if arguments[-1] is ... else arguments[-1]) if arguments else ()
