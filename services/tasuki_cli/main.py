"""The `tasuki` command. Each command imports what it needs when it runs: `--help` stays quick."""

from __future__ import annotations

import io
import json
import os
import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from tasuki import __version__
from tasuki.errors import SettingsError, TasukiError
from tasuki.observe.outlet import let_go
from tasuki.observe.printable import printable

if TYPE_CHECKING:
    from tasuki_cli.client import ControllerClient
    from tasuki_cli.records import Archive


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

Data = Annotated[Path, typer.Option("--data", help="The local data folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="The run's name.")]
DATA = Path(".tasuki")
OtherData = Annotated[
    Path | None,
    typer.Option("--data", help="The local data folder: .tasuki, unless a controller is named."),
]
Url = Annotated[
    str,
    typer.Option("--controller", metavar="URL", envvar="TASUKI_CONTROLLER", help="Whom to ask."),
]
URL = "http://127.0.0.1:8470"
OtherUrl = Annotated[
    str | None,
    typer.Option(
        "--controller",
        metavar="URL",
        envvar="TASUKI_CONTROLLER",
        help="Ask a running controller, unless --data is given.",
    ),
]
TokenFile = Annotated[
    Path,
    typer.Option("--token-file", envvar="TASUKI_TOKEN_FILE", help="What the controller knows."),
]
TOKEN_FILE = DATA / "token"
Ca = Annotated[
    Path | None,
    typer.Option("--ca", envvar="TASUKI_CA", help="Trust these for an https:// controller."),
]
Proxy = Annotated[
    str | None,
    typer.Option(
        "--proxy",
        metavar="URL",
        envvar="TASUKI_PROXY",
        help="Ask by way of it; http_proxy and the like are not heeded.",
    ),
]
FAULTS = "TASUKI_FAULTS"  # `tasuki.testing.faults`: for tests, never in production


class Role(StrEnum):
    SITE = "site"
    CONTROLLER = "controller"


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


@app.command(epilog="Example: tasuki init my-run --template torch")
def init(
    folder: Annotated[
        Path | None, typer.Argument(metavar="FOLDER", help="Where the files go.")
    ] = None,
    template: Annotated[
        str, typer.Option("--template", help="What to begin with; --list has them all.")
    ] = "torch",
    list_: Annotated[bool, typer.Option("--list", help="List the templates.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a run file and a trainer that train at once, to put your own data into."""
    from tasuki_cli.init import list_templates, run_init

    if list_:
        list_templates(as_json=as_json)
    elif folder is None:
        raise SettingsError("name a folder for the files: tasuki init my-run")
    else:
        run_init(folder, template=template, as_json=as_json)


@app.command(epilog="Example: tasuki simulate examples/cifar10/run.toml --sites 5")
def simulate(
    run_toml: Annotated[Path, typer.Argument(metavar="RUN.toml", help="What to train.")],
    data: Data = DATA,
    sites: Annotated[int | None, typer.Option(min=0, help="So many sites, site-1 ...")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run begun here.")] = False,
    one_process: Annotated[
        bool | None,
        typer.Option("--one-process/--processes", help="For all trainers, or one for each site."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run controller and sites in one process, with no broker: the quickest way to train."""
    from tasuki_cli.simulate_command import run_simulation

    raise typer.Exit(
        run_simulation(
            run_toml,
            data=data,
            sites=sites,
            resume=resume,
            one_process=one_process,
            as_json=as_json,
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

    settings = read_site(config, os.environ)
    raise typer.Exit(run_site(settings, faults=os.environ.get(FAULTS)))


@app.command(epilog="Example: tasuki controller --config controller.toml")
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


@app.command(epilog="Example: tasuki submit run.toml --wait")
def submit(
    run_toml: Annotated[Path, typer.Argument(metavar="RUN.toml", help="What to train.")],
    wait: Annotated[bool, typer.Option("--wait", help="Show the run until it is over.")] = False,
    url: Url = URL,
    token_file: TokenFile = TOKEN_FILE,
    ca: Ca = None,
    proxy: Proxy = None,
    as_json: AsJson = False,
) -> None:
    """Start a run on a running controller."""
    from tasuki_cli import operate

    client = _client(url, token_file, ca, proxy)
    raise typer.Exit(operate.submit(run_toml, client, wait=wait, as_json=as_json))


@app.command(epilog="Example: tasuki watch cifar10")
def watch(
    run: RunName,
    url: Url = URL,
    token_file: TokenFile = TOKEN_FILE,
    ca: Ca = None,
    proxy: Proxy = None,
    as_json: AsJson = False,
) -> None:
    """Show a run until it is over; the exit code says how it ended."""
    from tasuki_cli import operate

    raise typer.Exit(operate.watch(run, _client(url, token_file, ca, proxy), as_json=as_json))


@app.command(epilog="Example: tasuki pause cifar10")
def pause(
    run: RunName,
    url: Url = URL,
    token_file: TokenFile = TOKEN_FILE,
    ca: Ca = None,
    proxy: Proxy = None,
    as_json: AsJson = False,
) -> None:
    """Pause a run when its round ends."""
    _steer(run, "pause", url, token_file, ca, proxy, as_json=as_json)


@app.command(epilog="Example: tasuki resume cifar10")
def resume(
    run: RunName,
    url: Url = URL,
    token_file: TokenFile = TOKEN_FILE,
    ca: Ca = None,
    proxy: Proxy = None,
    as_json: AsJson = False,
) -> None:
    """Go on with a paused run."""
    _steer(run, "resume", url, token_file, ca, proxy, as_json=as_json)


@app.command(epilog="Example: tasuki stop cifar10")
def stop(
    run: RunName,
    url: Url = URL,
    token_file: TokenFile = TOKEN_FILE,
    ca: Ca = None,
    proxy: Proxy = None,
    as_json: AsJson = False,
) -> None:
    """End a run now; its checkpoints stay."""
    _steer(run, "stop", url, token_file, ca, proxy, as_json=as_json)


@app.command(epilog="Example: tasuki add cifar10 site-4")
def add(
    run: RunName,
    site: Annotated[str, typer.Argument(metavar="SITE", help="A site that is there.")],
    url: Url = URL,
    token_file: TokenFile = TOKEN_FILE,
    ca: Ca = None,
    proxy: Proxy = None,
    as_json: AsJson = False,
) -> None:
    """Let one more site take part in a run, from its next round on."""
    from tasuki_cli import operate

    raise typer.Exit(
        operate.add_site(run, site, _client(url, token_file, ca, proxy), as_json=as_json)
    )


@app.command(epilog="Example: tasuki runs --data .tasuki")
def runs(
    data: OtherData = None,
    url: OtherUrl = None,
    token_file: TokenFile = TOKEN_FILE,
    ca: Ca = None,
    proxy: Proxy = None,
    as_json: AsJson = False,
) -> None:
    """List the runs of a data folder, or of a running controller."""
    from tasuki_cli import records

    records.show_runs(_archive(data, url, token_file, ca, proxy), as_json=as_json)


@app.command(epilog="Example: tasuki ledger cifar10 --verify")
def ledger(
    run: RunName,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the chain and every checkpoint.")
    ] = False,
    data: OtherData = None,
    url: OtherUrl = None,
    token_file: TokenFile = TOKEN_FILE,
    ca: Ca = None,
    proxy: Proxy = None,
    as_json: AsJson = False,
) -> None:
    """Show what happened in a run, or prove that its record is whole."""
    from tasuki_cli import records

    show = records.verify if verify else records.show_ledger
    show(run, _archive(data, url, token_file, ca, proxy), as_json=as_json)


@app.command(epilog="Example: tasuki export cifar10 -o model.safetensors")
def export(
    run: RunName,
    output: Annotated[Path, typer.Option("-o", "--output", help=".safetensors or .pt")],
    round: Annotated[
        int | None,
        typer.Option("--round", min=0, help="The end of this round, from 1, if it is kept."),
    ] = None,
    data: OtherData = None,
    url: OtherUrl = None,
    token_file: TokenFile = TOKEN_FILE,
    ca: Ca = None,
    proxy: Proxy = None,
    as_json: AsJson = False,
) -> None:
    """Copy a run's best checkpoint, its latest if none was chosen, or a round's, to a file."""
    from tasuki_cli import records

    archive = _archive(data, url, token_file, ca, proxy)
    records.export(run, output, archive, round=round, as_json=as_json)


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
    ctl: Annotated[
        str | None,
        typer.Option("--ctl", metavar="COMMAND", help="What leads to the broker's own commands."),
    ] = None,
    reissue: Annotated[
        str | None,
        typer.Option("--reissue", metavar="NAME", help="New password and certificate for it."),
    ] = None,
    revoke: Annotated[
        str | None, typer.Option("--revoke", metavar="SITE", help="Shut this site out.")
    ] = None,
    owner: Annotated[
        str | None,
        typer.Option("--owner", metavar="UID[:GID]", help="Whose the kits are; 10001 for root."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make each site's kit and the broker's files; add only, unless told to renew or revoke."""
    from tasuki_cli.provision import Admin, Changes, run_provision

    who = Admin(user=admin, password_file=admin_password_file, url=management, ctl=ctl)
    changes = Changes.from_options(reissue=reissue, revoke=revoke, owner=owner)
    code = run_provision(
        federation_toml, out=out, admin=who if apply else None, changes=changes, as_json=as_json
    )
    raise typer.Exit(code)


@app.command(epilog="Example: tasuki doctor --config site.toml")
def doctor(
    config: Annotated[
        Path, typer.Option("--config", help="The settings of a site or of the controller.")
    ] = Path("site.toml"),
    role: Annotated[
        Role | None, typer.Option("--as", help="Whose settings these are; they say it themselves.")
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="All that was found, also of what is well.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find out what keeps a site or a controller from working, and say what to do about it."""
    from tasuki_cli.doctor import run_doctor

    raise typer.Exit(run_doctor(config, role=role, as_json=as_json, is_verbose=verbose))


for _each in app.registered_commands:
    _each.cls = Command


def _client(url: str, token_file: Path, ca: Path | None, proxy: str | None) -> ControllerClient:
    from tasuki_cli.client import ControllerClient

    return ControllerClient(url, token_file, ca=ca, proxy=proxy)


def _archive(
    data: Path | None, url: str | None, token_file: Path, ca: Path | None, proxy: str | None
) -> Archive:
    from tasuki_cli.records import LocalArchive

    if data is None and url is not None:
        return _client(url, token_file, ca, proxy)
    return LocalArchive(DATA if data is None else data)


def _steer(
    run: str,
    what: str,
    url: str,
    token_file: Path,
    ca: Path | None,
    proxy: str | None,
    *,
    as_json: bool,
) -> None:
    from tasuki_cli import operate

    raise typer.Exit(operate.steer(run, what, _client(url, token_file, ca, proxy), as_json=as_json))


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
