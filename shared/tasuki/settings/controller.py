"""controller.toml: where the controller's broker, its data and its operators' door are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from tasuki.broker.topology import Sizes
from tasuki.core.model import CONTROLLER, check_name
from tasuki.settings import broker
from tasuki.settings.broker import BrokerTable, HttpTable, of_all
from tasuki.settings.security import SecurityTable
from tasuki.settings.toml import Keys, Settings, SettingsPath, from_environment, read

PORT = 8470
ENVIRONMENT: dict[str, Keys] = {
    **broker.ENVIRONMENT,
    "TASUKI_CONTROLLER_FOLDER": ("folder",),
    "TASUKI_HTTP_TOKEN_FILE": ("http", "token_file"),
    "TASUKI_HTTP_CERT": ("http", "cert"),
    "TASUKI_HTTP_KEY": ("http", "key"),
}


class ControllerHttpTable(HttpTable):
    """The operators' door. `token_file`: what they must know; made in `folder` if unset.

    `cert` and `key`: speak TLS with these; without them the token travels in clear text.
    """

    port: int | None = Field(default=PORT, ge=0, le=65535)
    token_file: SettingsPath | None = None
    cert: SettingsPath | None = None
    key: SettingsPath | None = None

    @model_validator(mode="after")
    def _certificate_is_whole(self) -> ControllerHttpTable:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key belong together: give both or none")
        return self

    def secrets_of_all(self) -> list[Path]:
        """Those that everyone on this machine may read."""
        return of_all(self.token_file, self.key)


class ControllerSettings(Settings):
    """The controller.

    `sites`: who takes part in a run that names no sites itself; unset, all that were heard of.
    `folder`: ledger and checkpoints. `patience_s`: how long weights that should be coming may
    stand still before they count as lost. `stream_bytes`: what each weights stream keeps, as it
    was provisioned; a run's weights have to fit in three times.
    """

    broker: BrokerTable
    security: SecurityTable = SecurityTable()
    folder: SettingsPath = Field(default=Path(".tasuki"), validate_default=True)
    sites: list[str] | None = None
    patience_s: float = Field(default=10.0, gt=0)
    stream_bytes: int = Field(default=Sizes().stream_bytes, gt=0)
    http: ControllerHttpTable = ControllerHttpTable()
    log: Literal["console", "json"] = "console"

    @field_validator("sites")
    @classmethod
    def _plain_names(cls, sites: list[str] | None) -> list[str] | None:
        for site in sites or []:
            check_name(site, what="site")
        return sites

    @model_validator(mode="after")
    def _user_is_the_controller(self) -> ControllerSettings:
        if self.broker.user != CONTROLLER:
            raise ValueError(
                f"the controller has to be user {CONTROLLER!r} of its broker url, not "
                f"{self.broker.user!r}: that is how sites know whom a message is from"
            )
        return self


def read_controller(path: Path, environment: Mapping[str, str]) -> ControllerSettings:
    """The settings of a controller's file, with what the environment overrides.

    Raises:
        SettingsError: naming every key that is wrong.
    """
    return read(path, ControllerSettings, overrides=from_environment(environment, ENVIRONMENT))
