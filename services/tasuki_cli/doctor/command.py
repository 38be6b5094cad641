"""Looks at everything in order and tells the operator."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tasuki.core.model import CONTROLLER
from tasuki.observe.printable import printable
from tasuki.settings.controller import ControllerSettings, read_controller
from tasuki.settings.site import SiteSettings, read_site
from tasuki.settings.toml import top_level
from tasuki_cli.doctor import broker, machine, nodes, trainers
from tasuki_cli.doctor.report import Check, Report, Status, examine, in_order
from tasuki_cli.records import print_json

_COLOURS = {
    Status.OK: "green",
    Status.WARN: "yellow",
    Status.FAIL: "bold red",
    Status.SKIPPED: "dim",
}


def run_doctor(config: Path, *, as_json: bool, role: str | None = None) -> int:
    """Examine what these settings describe; returns the exit code of the first failure.

    Args:
        role: "site" or "controller"; without it the settings tell.

    Raises:
        SettingsError: the settings themselves are wrong.
    """
    # pika tells of every message that comes back, and of these we want just that.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    report = _examine(_read(config, role=role or _role(config)))
    if as_json:
        print_json(report.to_map())
    else:
        _show(report, config)
    return report.exit_code


def _role(config: Path) -> str:
    """A site's settings have its name; a controller's have none."""
    is_site = "name" in top_level(config) or "TASUKI_SITE_NAME" in os.environ
    return "site" if is_site else CONTROLLER


def _read(config: Path, *, role: str) -> SiteSettings | ControllerSettings:
    if role == CONTROLLER:
        return read_controller(config, os.environ)
    return read_site(config, os.environ)


def _examine(settings: SiteSettings | ControllerSettings) -> Report:
    who = settings.name if isinstance(settings, SiteSettings) else CONTROLLER
    with nodes.way(settings.broker, who=who) as way:
        asked = broker.steps(way.probe, who=who, folder=settings.folder)
        checks = (*way.checks, *in_order(asked, after=way.checks))
    beside = machine.steps(settings.folder)
    if isinstance(settings, SiteSettings):
        beside += [*machine.data(settings.data.path), *trainers.steps(settings)]
    return Report(checks=(*checks, *(examine(step) for step in beside)))


def _show(report: Report, config: Path) -> None:
    table = Table("", "check", box=None)
    for heading in "found", "what to do":
        table.add_column(heading, overflow="fold")  # of a long path no part is left out
    for check in report.checks:
        # What was found may hold words of a trainer's or a broker's: text, not markup.
        mark = Text(check.status.value, style=_COLOURS[check.status])
        table.add_row(mark, check.name, Text(printable(check.found)), Text(check.advice))
    console = Console()
    console.print(table)
    console.print(_verdict(report.checks, config))


def _verdict(checks: tuple[Check, ...], config: Path) -> Text:
    failed = [check.name for check in checks if check.status is Status.FAIL]
    if failed:
        return Text(f"{config}: not ready; start with {failed[0]}", style="bold red")
    return Text(f"{config}: ready", style="green")
