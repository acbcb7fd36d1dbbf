"""Recipes: one TOML file becomes one frozen dataclass; an unknown key is an error."""

import tomllib
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from srdeploy.errors import RecipeError

T = TypeVar("T")


def load_recipe(path: Path, kind: type[T]) -> T:
    """Read the TOML file at `path` into the frozen dataclass `kind`; tables become nested dataclasses.

    Supported field types: str, int, float, bool, Literal, Optional, tuple[X, ...] and nested dataclasses.
    Raises RecipeError, naming file and key: no such file, bad TOML, an unknown or missing key, a wrong type.
    """
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except FileNotFoundError:
        raise RecipeError(
            f"no recipe at {path}; type the path of a .toml file, such as those in train/, export/ or benchmarks/"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path} is not a readable TOML recipe: {' '.join(str(error).split())}") from None
    return recipe_from_table(table, kind, str(path))


def recipe_from_table(table: Mapping[str, Any], kind: type[T], where: str) -> T:
    """Build the dataclass `kind` from a parsed TOML table; `where` names it in messages."""
    hints = get_type_hints(kind)
    known = {f.name: f for f in fields(cast(Any, kind)) if f.metadata.get("in_recipe", True)}
    for key in table:
        if key not in known:
            raise RecipeError(f"{where}: unknown key '{key}'; known here: {', '.join(known)}")
    values = {}
    for name, f in known.items():
        if name in table:
            values[name] = _value(table[name], hints[name], f"{where}: {name}")
        elif f.default is MISSING and f.default_factory is MISSING:
            raise RecipeError(f"{where}: key '{name}' is missing")
    try:
        return kind(**values)
    except ValueError as error:
        raise RecipeError(f"{where}: {error}") from None


def _value(value: Any, hint: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise RecipeError(f"{where} must be a table")
        return recipe_from_table(value, hint, where)
    if origin in (types.UnionType, Union):
        return _value(value, next(a for a in arguments if a is not type(None)), where)
    if origin is Literal:
        if value not in arguments:
            raise RecipeError(f"{where} is {value!r}; choose one of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise RecipeError(f"{where} must be a list, not {value!r}")
        return tuple(_value(item, arguments[0], where) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        raise RecipeError(f"{where} must be of type {hint.__name__}, not {value!r}")
    return value
