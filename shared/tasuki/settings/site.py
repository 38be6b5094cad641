"""site.toml: who a site is, where its broker is and which trainers it has. Owned by the site."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from tasuki.core.model import CONTROLLER, check_name
from tasuki.settings import broker
from tasuki.settings.broker import BrokerTable, HttpTable
from tasuki.settings.security import SecurityTable
from tasuki.settings.toml import Keys, Settings, SettingsPath, from_environment, read

ENVIRONMENT: dict[str, Keys] = {
    **broker.ENVIRONMENT,
    "TASUKI_SITE_NAME": ("name",),
    "TASUKI_SITE_FOLDER": ("folder",),
    "TASUKI_SITE_DEVICE": ("device",),
    "TASUKI_DATA_PATH": ("data", "path"),
}


class TrainerTable(Settings):
    """`run` is a script (train.py --epochs 2) or a function (train:train), seen from `folder`.

    `evaluate`: the function that scores weights; unset: `evaluate` beside the one that trains.
    `farewell_s`: how long a script may work on after its last turn.
    """

    run: str
    folder: SettingsPath = Field(default=Path(), validate_default=True)
    evaluate: str | None = None
    farewell_s: float = Field(default=600.0, ge=0)


class DataTable(Settings):
    """Where the site's own data is; handed to its trainers and never read by anyone else."""

    path: SettingsPath | None = None


class SiteSettings(Settings):
    """One site.

    `folder`: journal and weights on their way. `device`: cpu, cuda or mps; the best one if unset.
    `concurrency`: turns of different runs that train at a time; they share the device.
    `processes`: trainers' processes that stay between turns, one for each run; unset: as many as
    fit into memory at 2 GiB each, from 2 to 16.
    """

    name: str
    broker: BrokerTable
    trainers: dict[str, TrainerTable] = Field(default_factory=dict)
    data: DataTable = DataTable()
    security: SecurityTable = SecurityTable()
    folder: SettingsPath = Field(default=Path(".tasuki-site"), validate_default=True)
    device: str | None = None
    concurrency: int = Field(default=1, ge=1)
    processes: int | None = Field(default=None, ge=1)
    http: HttpTable = HttpTable()
    log: Literal["console", "json"] = "console"

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        check_name(name, what="site")
        if name == CONTROLLER:
            raise ValueError(f"no site can be called {CONTROLLER!r}")
        return name

    @model_validator(mode="after")
    def _user_is_the_site(self) -> SiteSettings:
        if self.broker.user != self.name:
            raise ValueError(
                f"site {self.name!r} has to be the user of its broker url, not "
                f"{self.broker.user!r}: that is how others know whom a message is from"
            )
        return self


def read_site(path: Path, environment: Mapping[str, str]) -> SiteSettings:
    """The settings of a site's file, with what the environment overrides.

    Raises:
        SettingsError: naming every key that is wrong.
    """
    return read(path, SiteSettings, overrides=from_environment(environment, ENVIRONMENT))
