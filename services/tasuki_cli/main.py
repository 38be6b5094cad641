"""The `tasuki` command. Each command imports what it needs when it runs: `--help` stays quick.

What they do is in `local_commands`, `service_commands` and `run_commands`.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from tasuki import __version__
from tasuki.errors import SettingsError, TasukiError
from tasuki.observe.outlet import let_go
from tasuki.observe.printable import printable
from tasuki_cli import local_commands, run_commands, service_commands


class Commands(TyperGroup):
    """All of them. Flags are shown as flags: `--json`, not `--json <bool>`."""

    def get_params(self, ctx: Any) -> list[Any]:  # Any: typer brings a click of its own, or not
        return _plain(super().get_params(ctx))


class Command(TyperCommand):
    """One of them, likewise."""

    def get_params(self, ctx: Any) -> list[Any]:  # Any: typer brings a click of its own, or not
        return _plain(super().get_params(ctx))


def _plain(params: list[Any]) -> list[Any]:  # Any: likewise
    for param in params:
        if isinstance(param, TyperOption) and param.is_flag:
            param.metavar = ""
    return params


app = typer.Typer(
    name="tasuki",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Cyclic weight transfer: sites train one model together, one at a time.",
    epilog=(
        "Example: tasuki simulate examples/cifar10/run.toml\n\n"
        "Exit codes: 0 done, 2 wrong settings, 70 run failed; docs/operations.md has them all."
    ),
)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"tasuki {__version__}")
        raise typer.Exit


@app.callback()
def tasuki(
    _version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Show it and exit."),
    ] = False,
) -> None:
    """What stands before a command."""


COMMANDS: tuple[tuple[Callable[..., None], str], ...] = (
    (local_commands.init, "tasuki init my-run --template torch"),
    (local_commands.simulate, "tasuki simulate examples/cifar10/run.toml --sites 5"),
    (service_commands.site, "tasuki site --config site.toml"),
    (service_commands.controller, "tasuki controller --config controller.toml"),
    (run_commands.submit, "tasuki submit run.toml --wait"),
    (run_commands.watch, "tasuki watch cifar10"),
    (run_commands.pause, "tasuki pause cifar10"),
    (run_commands.resume, "tasuki resume cifar10"),
    (run_commands.stop, "tasuki stop cifar10"),
    (run_commands.add, "tasuki add cifar10 site-4"),
    (run_commands.extend, "tasuki extend cifar10 --rounds 20"),
    (run_commands.remove, "tasuki remove cifar10 --data .tasuki"),
    (run_commands.runs, "tasuki runs --data .tasuki"),
    (run_commands.ledger, "tasuki ledger cifar10 --verify"),
    (run_commands.turns, "tasuki turns cifar10 --csv -o turns.csv"),
    (run_commands.scores, "tasuki scores cifar10 --metric accuracy"),
    (run_commands.evaluate, "tasuki evaluate cifar10 --weights best --split test"),
    (run_commands.report, "tasuki report cifar10 -o report.html --csv numbers"),
    (run_commands.export, "tasuki export cifar10 -o model.safetensors"),
    (local_commands.provision, "tasuki provision federation.toml --out kits"),
    (local_commands.enroll, "tasuki enroll site-1 --federation clinics --out kit"),
    (local_commands.roster, "tasuki roster show --config site.toml"),
    (local_commands.doctor, "tasuki doctor --config site.toml"),
)
for _command, _example in COMMANDS:
    app.command(cls=Command, epilog=f"Example: {_example}")(_command)


def main() -> None:
    """Run the command; an error of ours is one message and its own exit code."""
    _show_whatever_can_be_shown()
    try:
        _refuse_foreign_systems(sys.platform)
        app()
    except TasukiError as exc:
        if "--json" in sys.argv:
            print(json.dumps({"error": type(exc).__name__, "message": str(exc)}))  # noqa: T201
        _complain(printable(f"{type(exc).__name__}: {exc}"), fg=typer.colors.RED)
        sys.exit(exc.exit_code)
    except KeyboardInterrupt:
        is_simulation = sys.argv[1:2] == ["simulate"]
        what = "go on with --resume" if is_simulation else "a run on a controller goes on"
        _complain(f"interrupted; {what}")
        sys.exit(130)
    finally:
        for stream in (sys.stdout, sys.stderr):
            let_go(stream)


def _refuse_foreign_systems(platform: str) -> None:
    """Processes that are ended with all that they started are had where POSIX is."""
    if platform in {"win32", "cygwin"}:
        raise SettingsError(
            "Tasuki does not run on Windows itself: use WSL2 or a container, which is Linux, for a "
            "site too; docs/deploy.md has more"
        )


def _complain(text: str, *, fg: str | None = None) -> None:
    """On stderr; if nobody can read that, the exit code says it alone."""
    with suppress(OSError):
        typer.secho(text, fg=fg, err=True)


def _show_whatever_can_be_shown() -> None:
    """A terminal that lacks a letter gets it spelled out."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
