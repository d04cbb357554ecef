"""Tables of settings, as TOML files and `--set KEY=VALUE` give them, and the checked dataclasses they become."""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from mprnet.errors import ConfigError


def apply_change(settings: dict[str, Any], change: str) -> None:
    """Write one change into a table, making the tables it names.

    Args:
        settings: the table, which is changed.
        change: `key=value`, the key with dots (`optimization.steps=100`), the value as in TOML; a value that is
            not TOML is a string.

    Raises:
        ConfigError: `change` has another form, or its key leads through something that is no table.

    Example:
        >>> settings = {"sigma": [0, 55]}
        >>> apply_change(settings, "camera.quality=[50, 90]")
        >>> settings
        {'sigma': [0, 55], 'camera': {'quality': [50, 90]}}
    """
    key, equals, text = change.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"got {change!r}; expected key=value, for example optimization.steps=1000")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, last = key.strip().split(".")
    for parent in parents:
        settings = settings.setdefault(parent, {})
        if not isinstance(settings, dict):
            raise ConfigError(f"{key!r} cannot be set: {parent!r} is not a table")
    settings[last] = value


def flattened(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of a table and of the tables in it by their keys, with dots.

    Args:
        settings: the table.
        prefix: what every key begins with.

    Example:
        >>> flattened({"sigma": [0, 55], "camera": {"quality": [50, 90]}})
        {'sigma': [0, 55], 'camera.quality': [50, 90]}
    """
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= flattened(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def build(kind: Any, settings: Mapping[str, Any], where: str) -> Any:
    """Make a dataclass from a table, checking names and types, and that of the dataclasses it holds.

    Args:
        kind: the dataclass; its fields may be numbers, strings, flags, literals, tuples and dataclasses.
        settings: value by field; a tuple as a list, a dataclass as a table.
        where: what the table is, for messages.

    Raises:
        ConfigError: an entry is unknown, missing, or of the wrong type; the message names it.
    """
    fields = {each.name: each for each in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    unknown = sorted(settings.keys() - fields.keys())
    if unknown:
        raise ConfigError(f"{where} has no entry {unknown[0]!r}; expected some of {', '.join(fields)}")
    for name, each in fields.items():
        required = each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
        if required and name not in settings:
            raise ConfigError(f"{where} lacks the entry {name!r}")
    return kind(**{name: _convert(hints[name], value, f"{where}.{name}") for name, value in settings.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return build(hint, value, where)
    if origin is tuple and isinstance(value, list):
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(kinds) == len(value):
            return tuple(_convert(kind, each, where) for kind, each in zip(kinds, value, strict=True))
    elif origin is Literal:
        if value in arguments:
            return value
    elif origin is types.UnionType:
        if type(value) in arguments:
            return value
    elif hint is float and type(value) in (int, float):
        return float(value)
    elif type(value) is (origin or hint):
        return value
    # A tuple is a list in TOML: [float, float].
    expected = str(hint).removeprefix("tuple") if origin else getattr(hint, "__name__", hint)
    raise ConfigError(f"{where} is {value!r}; expected {expected}")
