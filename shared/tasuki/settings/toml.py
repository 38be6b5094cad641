"""Read a TOML file into a settings model; whatever is wrong is said at once, with its line."""

from __future__ import annotations

import codecs
import re
import tomllib
from collections.abc import Container, Mapping
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, ClassVar, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, ValidationInfo
from pydantic_core import ErrorDetails

from tasuki.errors import SettingsError
from tasuki.spelling import did_you_mean

BOM = "\ufeff"
"""What some editors begin a file with; it is no part of what was written."""

M = TypeVar("M", bound=BaseModel)


class Settings(BaseModel):
    """A table of a settings file: frozen, and no key is ignored.

    `instead_of`: keys by other names that somebody may take for theirs.
    """

    instead_of: ClassVar[Mapping[str, str]] = {}

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        str_strip_whitespace=True,
        allow_inf_nan=False,  # JSON has neither, and no duration or limit is one
    )


def _seen_from_its_file(path: Path, info: ValidationInfo) -> Path:
    folder: Path = (info.context or {}).get("folder", Path())
    return folder / path.expanduser()


SettingsPath = Annotated[Path, AfterValidator(_seen_from_its_file)]
"""A path in a settings file: a relative one is seen from the folder of that file."""

Keys = tuple[str, ...]
"""Where a value stands in a settings file: its tables and its own name."""


def read(path: Path, model: type[M], *, overrides: Mapping[Keys, str] | None = None) -> M:
    """The settings in a file.

    Args:
        overrides: values that win over those in the file.

    Raises:
        SettingsError: it is missing, is not TOML, or has keys or values that are wrong.
    """
    folder = path.resolve().parent
    return parse(_text(path), model, name=str(path), folder=folder, overrides=overrides)


def top_level(path: Path) -> frozenset[str]:
    """The keys at the top of a settings file: they say what kind of file it is.

    Raises:
        SettingsError: it is missing or is not TOML.
    """
    return frozenset(_loaded(_text(path), name=str(path)))


def parse(
    text: str,
    model: type[M],
    *,
    name: str,
    folder: Path | None = None,
    overrides: Mapping[Keys, str] | None = None,
) -> M:
    """The settings in a text.

    Args:
        name: what messages call it.
        folder: where relative paths are seen from.

    Raises:
        SettingsError: it is not TOML, or has keys or values that are wrong.
    """
    content, overrides = _loaded(text, name=name), overrides or {}
    for keys, value in overrides.items():
        _put(content, keys, value)
    return _checked(content, model, name, folder, text, set(overrides))


def checked(
    content: Mapping[str, object], model: type[M], *, name: str, folder: Path | None = None
) -> M:
    """The settings in values as a file would have them; as `parse`, without lines.

    Raises:
        SettingsError: there are keys or values that are wrong.
    """
    return _checked(content, model, name, folder, "", set())


def _checked(
    content: Mapping[str, object],
    model: type[M],
    name: str,
    folder: Path | None,
    text: str,
    overridden: Container[Keys],
) -> M:
    try:
        return model.model_validate(content, context={"folder": folder or Path()})
    except ValidationError as exc:
        problems = [_problem(error, text, model, overridden) for error in exc.errors()]
        raise SettingsError("\n".join([f"{name}:", *problems])) from exc


def read_text(path: Path) -> str:
    """A text file as its author sees it.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not UTF-8.
    """
    content = path.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError("it is in UTF-16; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise ValueError(f"not text in UTF-8 ({exc.reason} at byte {exc.start})") from exc


def from_environment(environment: Mapping[str, str], known: Mapping[str, Keys]) -> dict[Keys, str]:
    """What the environment sets of these variables."""
    return {keys: environment[name] for name, keys in known.items() if name in environment}


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except FileNotFoundError:
        raise SettingsError(f"there is no file {path}") from None
    except (OSError, ValueError) as exc:
        raise SettingsError(f"{path} cannot be read: {exc}") from exc


def _loaded(text: str, *, name: str) -> dict[str, Any]:  # Any: TOML
    try:
        return tomllib.loads(text.removeprefix(BOM))
    except RecursionError as exc:
        raise SettingsError(f"{name} is nested too deeply") from exc
    except ValueError as exc:  # not TOML, or a number of thousands of digits
        raise SettingsError(f"{name} is not TOML: {exc}{_shown_line(text, str(exc))}") from exc


def _put(content: dict[str, Any], keys: Keys, value: str) -> None:  # Any: TOML
    *tables, last = keys
    for table in tables:
        inner = content.setdefault(table, {})
        if not isinstance(inner, dict):
            return  # the model says what is wrong with it
        content = inner
    content[last] = value


def _shown_line(text: str, message: str) -> str:
    found = re.search(r"at line (\d+)", message)
    lines = text.splitlines()
    if found is None or int(found[1]) > len(lines):
        return ""
    return f"\n  {found[1]} | {lines[int(found[1]) - 1]}"


def _problem(
    error: ErrorDetails, text: str, model: type[BaseModel], overridden: Container[Keys]
) -> str:
    keys = [str(part) for part in error["loc"] if not isinstance(part, int)]
    where = ".".join(keys)
    is_overridden = tuple(keys) in overridden
    line = "from the environment: " if is_overridden else _line_of(keys, text)
    if error["type"] == "extra_forbidden":
        table = _table(model, keys[:-1])
        known, meant = list(table.model_fields), _instead_of(table).get(keys[-1], keys[-1])
        hint = did_you_mean(meant, known, otherwise=f"known here: {', '.join(known)}")
        return f"  {line}unknown key {where!r}; {hint}"
    if error["type"] == "model_type" and keys:
        return (
            f"  {line}{where} is a table: {_as_table(where, _table(model, keys), error['input'])}"
        )
    if error["type"] == "missing":
        return f"  key {where!r} is missing"
    said = error["msg"].removeprefix("Value error, ")
    # What is said of several keys together names them itself.
    return f"  {line}{where}: {said}" if where else f"  {said}"


def _as_table(where: str, table: type[BaseModel], given: object) -> str:
    """How what was given would be written in a table of its own."""
    meant = _instead_of(table).get(where.rpartition(".")[2])
    if isinstance(given, int) and meant is not None:
        return f"write {meant} = {given} under [{where}]"
    return f"write [{where}], and under it {', '.join(table.model_fields)} as you need them"


def _instead_of(table: type[BaseModel]) -> Mapping[str, str]:
    return table.instead_of if issubclass(table, Settings) else {}


def _table(model: type[BaseModel], keys: list[str]) -> type[BaseModel]:
    """The model of a nested table; the outer one where the keys lead nowhere."""
    kind: object = model
    for key in keys:
        kind = _without_none(kind)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = kind.model_fields.get(key)
            kind = None if field is None else field.annotation
        else:  # a table of tables by name: the key is the user's, what it holds is known
            kind = (get_args(kind) or (None,))[-1]
    kind = _without_none(kind)
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else model


def _without_none(kind: object) -> object:
    """A table that may be absent is that table."""
    tables = [each for each in get_args(kind) if each is not NoneType]
    return tables[0] if NoneType in get_args(kind) and len(tables) == 1 else kind


def _line_of(keys: list[str], text: str) -> str:
    """Where the last of these keys is set, as `line 12: `; empty if that cannot be told."""
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if header := re.fullmatch(r"\[\s*([^\]]+?)\s*\].*", stripped):
            table = header[1]
            if ".".join(keys) == table:
                return f"line {number}: "
        key = re.match(r"([A-Za-z0-9_.-]+|\"[^\"]+\")\s*=", stripped)
        if key and keys and key[1].strip('"') == keys[-1] and table == ".".join(keys[:-1]):
            return f"line {number}: "
    return ""
