"""Frozen dataclasses as the plain data that JSON holds, and back, with every key and type checked."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from gatentk.errors import RunError


class Absent(Enum):
    """The value of a field that is left out of the plain data: `field: T | Absent = ABSENT`."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT


def to_json(value: Any) -> Any:
    """Dictionaries of the fields, in their order, for dataclasses; lists for sequences; text for keys of mappings."""
    if is_dataclass(value) and not isinstance(value, type):
        items = ((field.name, getattr(value, field.name)) for field in fields(value))
        return {name: to_json(content) for name, content in items if content is not ABSENT}
    if isinstance(value, Mapping):
        return {str(key): to_json(content) for key, content in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(content) for content in value]
    return value


def from_json(kind: Any, value: Any, place: str) -> Any:
    """What `to_json` made the value from.

    Args:
        kind: its type: dataclasses, named tuples (of what `_asdict` gives), `list`, `Sequence`, `tuple`, `dict` and
            `Mapping` of types, unions, `Any`, the types of JSON, and text that has a type of its own. An integer stays
            one where a float is expected.
        value: plain data.
        place: of the value, to begin error messages with.

    Raises:
        RunError: a key is missing or unknown, or a value is of another type; the message says where.
    """
    origin = get_origin(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        return _one_of(kind, value, place)
    if is_dataclass(kind):
        optional = [field.name for field in fields(kind) if field.default is ABSENT]
        return _from_fields(kind, value, place, [field.name for field in fields(kind)], optional)
    if isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return _from_fields(kind, value, place, kind._fields, ())
    if origin in (list, Sequence):
        (content,) = get_args(kind)
        return [from_json(content, one, f"{place}[{i}]") for i, one in enumerate(_expect(value, list, place))]
    if origin is tuple:
        return _tuple(get_args(kind), value, place)
    if origin in (dict, Mapping):
        key_kind, content = get_args(kind)
        items = _expect(value, dict, place).items()
        return {_key(key_kind, key, place): from_json(content, one, f"{place}.{key}") for key, one in items}
    if isinstance(kind, type) and issubclass(kind, str):
        return kind(_expect(value, str, place))
    return _expect(value, (float, int) if kind is float else kind, place)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _from_fields(kind: Any, value: Any, place: str, names: Sequence[str], optional: Sequence[str]) -> Any:
    _expect(value, dict, place)
    missing = [name for name in names if name not in value and name not in optional]
    unknown = [name for name in value if name not in names]
    for word, wrong in (("missing", missing), ("unknown", unknown)):
        if wrong:
            raise RunError(f"{place}: {word} {', '.join(map(repr, wrong))}")
    hints = _hints(kind)
    return kind(**{name: from_json(hints[name], content, f"{place}.{name}") for name, content in value.items()})


def _one_of(kind: Any, value: Any, place: str) -> Any:
    """The first type of a union that fits; the error of the last if none does."""
    if value is None and type(None) in get_args(kind):
        return None
    candidates = [one for one in get_args(kind) if one not in (type(None), Absent)]
    for one in candidates[:-1]:
        try:
            return from_json(one, value, place)
        except RunError:
            continue
    return from_json(candidates[-1], value, place)


def _tuple(kinds: tuple[Any, ...], value: Any, place: str) -> tuple[Any, ...]:
    _expect(value, list, place)
    if kinds[1:] == (...,):
        kinds = kinds[:1] * len(value)
    if len(kinds) != len(value):
        raise RunError(f"{place}: expected {len(kinds)} values, got {len(value)}")
    pairs = enumerate(zip(kinds, value, strict=True))
    return tuple(from_json(one, content, f"{place}[{i}]") for i, (one, content) in pairs)


def _key(kind: Any, key: str, place: str) -> Any:
    try:
        return kind(key)
    except ValueError:
        raise RunError(f"{place}: expected keys of type {kind.__name__}, got {key!r}") from None


def _expect(value: Any, kind: Any, place: str) -> Any:
    """The value, if it is of the type; a truth value is no number."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if type(value) not in kinds:
        raise RunError(f"{place}: expected {kinds[0].__name__}, got {value!r:.60}")
    return value
