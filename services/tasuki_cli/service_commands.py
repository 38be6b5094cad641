"""Commands that serve until SIGTERM: each imports what it needs when it runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

FAULTS = "TASUKI_FAULTS"  # `tasuki.testing.faults`: for tests, never in production


def site(
    config: Annotated[Path, typer.Option("--config", help="The site's settings.")] = Path(
        "site.toml"
    ),
) -> None:
    """Serve one site until SIGTERM, which lets it finish its turn; a second one does not."""
    from tasuki.settings.site import read_site
    from tasuki_site.process import run_site

    settings = read_site(config, os.environ)
    raise typer.Exit(run_site(settings, faults=os.environ.get(FAULTS)))


def controller(
    config: Annotated[Path, typer.Option("--config", help="The controller's settings.")] = Path(
        "controller.toml"
    ),
) -> None:
    """Serve the controller until SIGTERM; runs go on when it is started again."""
    from tasuki.settings.controller import read_controller
    from tasuki_controller.process import run_controller

    settings = read_controller(config, os.environ)
    raise typer.Exit(run_controller(settings, faults=os.environ.get(FAULTS)))
