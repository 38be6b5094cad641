"""Looks at everything in order and tells the operator."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tasuki.core.model import CONTROLLER
from tasuki.observe.printable import headline, printable
from tasuki.settings.controller import ControllerSettings, read_controller
from tasuki.settings.site import SiteSettings, read_site
from tasuki.settings.toml import top_level
from tasuki.wire.strict_json import json_text
from tasuki_cli.doctor import broker, machine, nodes, trainers, trust
from tasuki_cli.doctor.report import Check, Report, Status, examine, in_order

_URGENCY = [Status.FAIL, Status.WARN, Status.OK, Status.SKIPPED]
_COLOURS = {
    Status.OK: "green",
    Status.WARN: "yellow",
    Status.FAIL: "bold red",
    Status.SKIPPED: "dim",
}


def run_doctor(
    config: Path, *, as_json: bool, role: str | None = None, is_verbose: bool = False
) -> int:
    """Examine what these settings describe; returns the exit code of the first failure.

    Args:
        role: "site" or "controller"; without it the settings tell.
        is_verbose: all that was found, also of what is well.

    Raises:
        SettingsError: the settings themselves are wrong.
    """
    # pika tells of every message that comes back, and of these we want just that.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    report = _examine(_read(config, role=role or _role(config)))
    if as_json:
        typer.echo(json_text(report.to_map()))
    else:
        show(report, config, is_verbose=is_verbose)
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
    trusted = in_order(trust.steps(settings.security, who=who, folder=settings.folder))
    return Report(checks=(*checks, *trusted, *(examine(step) for step in beside)))


def show(report: Report, config: Path, *, is_verbose: bool) -> None:
    """What needs somebody comes first and whole; what is well has a line each."""
    table = Table(box=None, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")  # of a long path no part is left out
    for check in sorted(report.checks, key=lambda check: _URGENCY.index(check.status)):
        is_whole = is_verbose or check.status in {Status.FAIL, Status.WARN}
        mark = Text(check.status.value, style=_COLOURS[check.status])
        table.add_row(mark, Text(check.name), _whole(check) if is_whole else _brief(check))
    console = Console()
    console.print(table)
    console.print(_verdict(report.checks, config))


def _whole(check: Check) -> Text:
    """What was found may hold words of a trainer's or a broker's: text, not markup."""
    advice = f"\n-> {check.advice}" if check.advice else ""
    return Text(printable(check.found + advice))


def _brief(check: Check) -> Text:
    said = printable(headline(check.brief or check.found))
    return Text(said, no_wrap=True, overflow="ellipsis")


def _verdict(checks: tuple[Check, ...], config: Path) -> Text:
    failed = [check.name for check in checks if check.status is Status.FAIL]
    if failed:
        return Text(f"{config}: not ready; start with {failed[0]}", style="bold red")
    return Text(f"{config}: ready", style="green")
