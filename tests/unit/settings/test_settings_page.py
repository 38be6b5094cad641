"""`docs/settings.md` lists exactly the keys that the settings files have, with their defaults."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import TypeGuard, get_args

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tasuki.core.order import POLICIES
from tasuki.settings import controller, site
from tasuki.settings.broker import BrokerTable
from tasuki.settings.controller import ControllerSettings
from tasuki.settings.federation import FederationFile
from tasuki.settings.run import RunFile
from tasuki.settings.site import SiteSettings
from tasuki.settings.toml import Keys

PAGE = (Path(__file__).parents[3] / "docs/settings.md").read_text()
SAME_AS_A_SITES = {f"broker.{key}" for key in BrokerTable.model_fields} | {"log"}


def rows(file: str) -> dict[str, list[str]]:
    """The cells after the key, by the key, in the section of a file."""
    section = PAGE.partition(f"\n## {file}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^\| `([a-z_.*]+)` \|(.*)\|$", section, re.MULTILINE)
    return {key: [cell.strip() for cell in cells.split("|")] for key, cells in found}


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every key of a file with its default as TOML, "none" for none and "" if it must be set."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if _is_table(inner):
            yield from keys(inner, f"{prefix}{name}.")
        elif getattr(inner, "__origin__", None) is dict:
            of = get_args(inner)[1]
            yield from keys(of, f"{prefix}{name}.*.") if _is_table(of) else [(f"{name}.*", "none")]
        elif tables := [each for each in get_args(inner) if _is_table(each)]:
            yield prefix + name, default(field)
            yield from keys(tables[0], f"{prefix}{name}.")
        else:
            yield prefix + name, default(field)


def _is_table(kind: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value == []:
        return "none"
    value = value.value if isinstance(value, Enum) else value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"`{json.dumps(str(value) if isinstance(value, Path) else value)}`"


@pytest.mark.parametrize(
    ("file", "model"),
    [
        ("run.toml", RunFile),
        ("site.toml", SiteSettings),
        ("controller.toml", ControllerSettings),
        ("federation.toml", FederationFile),
    ],
)
def test_every_key_has_its_row_and_every_row_its_key(file: str, model: type[BaseModel]) -> None:
    skipped = SAME_AS_A_SITES if model is ControllerSettings else set()
    wanted = {key: value for key, value in keys(model) if key not in skipped}
    assert {key: cells[0] for key, cells in rows(file).items()} == wanted


@pytest.mark.parametrize(
    ("file", "environment"),
    [("site.toml", site.ENVIRONMENT), ("controller.toml", controller.ENVIRONMENT)],
)
def test_every_variable_stands_beside_its_key(file: str, environment: Mapping[str, Keys]) -> None:
    told = {cells[1].strip("`"): key for key, cells in rows(file).items() if cells[1]}
    wanted = {name: ".".join(path) for name, path in environment.items()}
    if file == "controller.toml":
        wanted = {name: key for name, key in wanted.items() if key not in SAME_AS_A_SITES}
    assert told == wanted


def test_every_order_policy_is_named() -> None:
    assert [name for name in POLICIES if f"`{name}`" not in rows("run.toml")["order"][1]] == []
