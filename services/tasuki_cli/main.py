"""The `tasuki` command. Each command imports what it needs when it runs: `--help` stays quick."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tasuki.errors import TasukiError

if TYPE_CHECKING:
    from tasuki_cli.client import ControllerClient
    from tasuki_cli.records import Archive

app = typer.Typer(
    name="tasuki",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Cyclic weight transfer: sites train one model together, one at a time.",
    epilog="Exit codes: 0 done, 2 wrong settings, 70 run failed; docs/operations.md has them all.",
)

Data = Annotated[Path, typer.Option("--data", help="The local data folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="The run's name.")]
DATA = Path(".tasuki")
Url = Annotated[
    str,
    typer.Option("--controller", metavar="URL", envvar="TASUKI_CONTROLLER", help="Whom to ask."),
]
URL = "http://127.0.0.1:8470"
OtherUrl = Annotated[
    str | None,
    typer.Option("--controller", metavar="URL", help="Ask a running controller instead."),
]
TokenFile = Annotated[
    Path,
    typer.Option("--token-file", envvar="TASUKI_TOKEN_FILE", help="What the controller knows."),
]
TOKEN_FILE = DATA / "token"


@app.command(epilog="Example: tasuki simulate examples/cifar10/run.toml --sites 5")
def simulate(
    run_toml: Annotated[Path, typer.Argument(metavar="RUN.toml", help="What to train.")],
    data: Data = DATA,
    sites: Annotated[int | None, typer.Option(min=0, help="So many sites, site-1 ...")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run begun here.")] = False,
    in_process: Annotated[
        bool | None,
        typer.Option("--in-process/--processes", help="Trainers here, or one process a site."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run controller and sites in one process, with no broker: the quickest way to train."""
    from tasuki_cli.simulate_command import run_simulation

    raise typer.Exit(
        run_simulation(
            run_toml, data=data, sites=sites, resume=resume, in_process=in_process, as_json=as_json
        )
    )


@app.command(epilog="Example: tasuki site --config site.toml")
def site(
    config: Annotated[Path, typer.Option("--config", help="The site's settings.")] = Path(
        "site.toml"
    ),
) -> None:
    """Serve one site until SIGTERM, which lets it finish its turn; a second one does not."""
    from tasuki.settings.site import read_site
    from tasuki_site.process import run_site

    raise typer.Exit(run_site(read_site(config, os.environ)))


@app.command(epilog="Example: tasuki controller --config controller.toml")
def controller(
    config: Annotated[Path, typer.Option("--config", help="The controller's settings.")] = Path(
        "controller.toml"
    ),
) -> None:
    """Serve the controller until SIGTERM; runs go on when it is started again."""
    from tasuki.settings.controller import read_controller
    from tasuki_controller.process import run_controller

    raise typer.Exit(run_controller(read_controller(config, os.environ)))


@app.command(epilog="Example: tasuki submit run.toml --wait")
def submit(
    run_toml: Annotated[Path, typer.Argument(metavar="RUN.toml", help="What to train.")],
    wait: Annotated[bool, typer.Option("--wait", help="Show the run until it is over.")] = False,
    url: Url = URL,
    token_file: TokenFile = TOKEN_FILE,
    as_json: AsJson = False,
) -> None:
    """Start a run on a running controller."""
    from tasuki_cli import operate

    client = _client(url, token_file)
    raise typer.Exit(operate.submit(run_toml, client, wait=wait, as_json=as_json))


@app.command(epilog="Example: tasuki watch cifar10")
def watch(
    run: RunName, url: Url = URL, token_file: TokenFile = TOKEN_FILE, as_json: AsJson = False
) -> None:
    """Show a run until it is over; the exit code says how it ended."""
    from tasuki_cli import operate

    raise typer.Exit(operate.watch(run, _client(url, token_file), as_json=as_json))


@app.command(epilog="Example: tasuki pause cifar10")
def pause(
    run: RunName, url: Url = URL, token_file: TokenFile = TOKEN_FILE, as_json: AsJson = False
) -> None:
    """Pause a run when its round ends."""
    _steer(run, "pause", url, token_file, as_json=as_json)


@app.command(epilog="Example: tasuki resume cifar10")
def resume(
    run: RunName, url: Url = URL, token_file: TokenFile = TOKEN_FILE, as_json: AsJson = False
) -> None:
    """Go on with a paused run."""
    _steer(run, "resume", url, token_file, as_json=as_json)


@app.command(epilog="Example: tasuki stop cifar10")
def stop(
    run: RunName, url: Url = URL, token_file: TokenFile = TOKEN_FILE, as_json: AsJson = False
) -> None:
    """End a run now; its checkpoints stay."""
    _steer(run, "stop", url, token_file, as_json=as_json)


@app.command(epilog="Example: tasuki runs --data .tasuki")
def runs(
    data: Data = DATA,
    url: OtherUrl = None,
    token_file: TokenFile = TOKEN_FILE,
    as_json: AsJson = False,
) -> None:
    """List the runs of a data folder, or of a running controller."""
    from tasuki_cli import records

    records.show_runs(_archive(data, url, token_file), as_json=as_json)


@app.command(epilog="Example: tasuki ledger cifar10 --verify")
def ledger(
    run: RunName,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the chain and every checkpoint.")
    ] = False,
    data: Data = DATA,
    url: OtherUrl = None,
    token_file: TokenFile = TOKEN_FILE,
    as_json: AsJson = False,
) -> None:
    """Show what happened in a run, or prove that its record is whole."""
    from tasuki_cli import records

    show = records.verify if verify else records.show_ledger
    show(run, _archive(data, url, token_file), as_json=as_json)


@app.command(epilog="Example: tasuki export cifar10 -o model.safetensors")
def export(
    run: RunName,
    output: Annotated[Path, typer.Option("-o", "--output", help=".safetensors or .pt")],
    data: Data = DATA,
    url: OtherUrl = None,
    token_file: TokenFile = TOKEN_FILE,
    as_json: AsJson = False,
) -> None:
    """Copy a run's best checkpoint, or its latest, to a file of yours."""
    from tasuki_cli import records

    records.export(run, output, _archive(data, url, token_file), as_json=as_json)


@app.command(epilog="Example: tasuki provision federation.toml --out kits")
def provision(
    federation_toml: Annotated[
        Path, typer.Argument(metavar="FEDERATION.toml", help="Its sites and its broker.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Where the kits go; kept if there.")] = Path(
        "kits"
    ),
    apply: Annotated[
        bool, typer.Option("--apply", help="Create it all on the running broker too.")
    ] = False,
    admin: Annotated[str, typer.Option("--admin", help="The broker's administrator.")] = "admin",
    admin_password_file: Annotated[
        Path | None, typer.Option("--admin-password-file", help="The administrator's password.")
    ] = None,
    management: Annotated[
        str | None, typer.Option("--management", metavar="URL", help="Other than in the file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make credentials and settings for every site, and the broker's definitions; add only."""
    from tasuki_cli.provision import Admin, run_provision

    who = Admin(user=admin, password_file=admin_password_file, url=management) if apply else None
    raise typer.Exit(run_provision(federation_toml, out=out, admin=who, as_json=as_json))


def _client(url: str, token_file: Path) -> ControllerClient:
    from tasuki_cli.client import ControllerClient

    return ControllerClient(url, token_file)


def _archive(data: Path, url: str | None, token_file: Path) -> Archive:
    from tasuki_cli.records import LocalArchive

    return LocalArchive(data) if url is None else _client(url, token_file)


def _steer(run: str, what: str, url: str, token_file: Path, *, as_json: bool) -> None:
    from tasuki_cli import operate

    raise typer.Exit(operate.steer(run, what, _client(url, token_file), as_json=as_json))


def main() -> None:
    """Run the command; an error of ours is one message and its own exit code."""
    try:
        app()
    except TasukiError as exc:
        if "--json" in sys.argv:
            print(json.dumps({"error": type(exc).__name__, "message": str(exc)}))  # noqa: T201
        typer.secho(f"{type(exc).__name__}: {exc}", fg=typer.colors.RED, err=True)
        sys.exit(exc.exit_code)
    except KeyboardInterrupt:
        typer.secho("interrupted; go on with --resume", err=True)
        sys.exit(130)


if __name__ == "__main__":
    main()
