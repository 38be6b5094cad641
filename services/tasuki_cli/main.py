"""The `tasuki` command. Each command imports what it needs when it runs: `--help` stays quick."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from tasuki.errors import TasukiError

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


@app.command(epilog="Example: tasuki runs --data .tasuki")
def runs(data: Data = DATA, as_json: AsJson = False) -> None:
    """List the runs of a data folder."""
    from tasuki_cli import records

    records.show_runs(data, as_json=as_json)


@app.command(epilog="Example: tasuki ledger cifar10 --verify")
def ledger(
    run: RunName,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the chain and every checkpoint.")
    ] = False,
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Show what happened in a run, or prove that its record is whole."""
    from tasuki_cli import records

    records.verify(run, data, as_json=as_json) if verify else records.show_ledger(
        run, data, as_json=as_json
    )


@app.command(epilog="Example: tasuki export cifar10 -o model.safetensors")
def export(
    run: RunName,
    output: Annotated[Path, typer.Option("-o", "--output", help=".safetensors or .pt")],
    data: Data = DATA,
    as_json: AsJson = False,
) -> None:
    """Copy a run's best checkpoint, or its latest, to a file of yours."""
    from tasuki_cli import records

    records.export(run, output, data, as_json=as_json)


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
