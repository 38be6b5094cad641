"""Commands about runs: each imports what it needs when it runs."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tasuki_cli.options import (
    DATA,
    MOST_ROUNDS,
    TOKEN_FILE,
    URL,
    AsJson,
    Ca,
    OtherData,
    OtherUrl,
    Proxy,
    RunName,
    TokenFile,
    Url,
)

if TYPE_CHECKING:
    from tasuki_cli.client import ControllerClient
    from tasuki_cli.records import Archive


class Mode(StrEnum):
    MAX = "max"
    MIN = "min"


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


def _steering(what: str, meaning: str) -> Callable[..., None]:
    """The command that asks a controller for this."""

    def command(
        run: RunName,
        url: Url = URL,
        token_file: TokenFile = TOKEN_FILE,
        ca: Ca = None,
        proxy: Proxy = None,
        as_json: AsJson = False,
    ) -> None:
        from tasuki_cli import operate

        client = _client(url, token_file, ca, proxy)
        raise typer.Exit(operate.steer(run, what, client, as_json=as_json))

    command.__name__, command.__doc__ = what, meaning
    return command


pause = _steering("pause", "Pause a run when its round ends.")
resume = _steering("resume", "Go on with a paused run.")
stop = _steering("stop", "End a run now; its checkpoints stay.")


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


def extend(
    run: RunName,
    rounds: Annotated[
        int,
        typer.Option("--rounds", min=1, max=MOST_ROUNDS, help="So many in all, not so many more."),
    ],
    url: Url = URL,
    token_file: TokenFile = TOKEN_FILE,
    ca: Ca = None,
    proxy: Proxy = None,
    as_json: AsJson = False,
) -> None:
    """Let a run have more rounds, be it that it has finished."""
    from tasuki_cli import operate

    client = _client(url, token_file, ca, proxy)
    raise typer.Exit(operate.extend(run, rounds, client, as_json=as_json))


def remove(
    run: RunName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End it first, if it is not over.")] = False,
    data: OtherData = None,
    url: OtherUrl = None,
    token_file: TokenFile = TOKEN_FILE,
    ca: Ca = None,
    proxy: Proxy = None,
    as_json: AsJson = False,
) -> None:
    """Remove the weights of a run that is over; its ledger stays, and its name is taken."""
    from tasuki_cli import records

    archive = _archive(data, url, token_file, ca, proxy)
    raise typer.Exit(records.remove_run(run, archive, yes=yes, stop=stop, as_json=as_json))


def runs(
    all_: Annotated[bool, typer.Option("--all", help="Those too that were removed.")] = False,
    data: OtherData = None,
    url: OtherUrl = None,
    token_file: TokenFile = TOKEN_FILE,
    ca: Ca = None,
    proxy: Proxy = None,
    as_json: AsJson = False,
) -> None:
    """List the runs of a data folder, or of a running controller."""
    from tasuki_cli import records

    archive = _archive(data, url, token_file, ca, proxy)
    records.show_runs(archive, even_removed=all_, as_json=as_json)


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


def turns(
    run: RunName,
    csv: Annotated[
        bool, typer.Option("--csv", help="All of them with every metric, as CSV.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write the CSV to this file."),
    ] = None,
    data: OtherData = None,
    url: OtherUrl = None,
    token_file: TokenFile = TOKEN_FILE,
    ca: Ca = None,
    proxy: Proxy = None,
    as_json: AsJson = False,
) -> None:
    """Show every turn of a run with what its site reported, whatever checkpoints are kept."""
    from tasuki_cli import turns as turns_shown

    archive = _archive(data, url, token_file, ca, proxy)
    turns_shown.show(run, archive, as_csv=csv, output=output, as_json=as_json)


def scores(
    run: RunName,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric", help="By this one; else the one that chooses the best checkpoint."
        ),
    ] = None,
    mode: Annotated[
        Mode | None, typer.Option("--mode", help="Whether more of it is better, or less.")
    ] = None,
    data: OtherData = None,
    url: OtherUrl = None,
    token_file: TokenFile = TOKEN_FILE,
    ca: Ca = None,
    proxy: Proxy = None,
    as_json: AsJson = False,
) -> None:
    """Show what each site says of the weights that it receives: mean, worst, spread, forgetting."""
    from tasuki_cli import scores as scores_shown

    archive = _archive(data, url, token_file, ca, proxy)
    scores_shown.show(run, archive, metric=metric, mode=mode, as_json=as_json)


def evaluate(
    run: RunName,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="best|latest|round-7|FILE",
            help="Which; else the best, the latest if none was chosen.",
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="The data to score on; else as the run says.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Until all sites have scored.")
    ] = True,
    run_file: Annotated[
        Path | None,
        typer.Option("--run-file", metavar="RUN.toml", help="Of a simulation, if it was moved."),
    ] = None,
    data: OtherData = None,
    url: OtherUrl = None,
    token_file: TokenFile = TOKEN_FILE,
    ca: Ca = None,
    proxy: Proxy = None,
    as_json: AsJson = False,
) -> None:
    """Let all sites score the same weights of a run, be it that it is over."""
    from tasuki_cli import evaluate as evaluating
    from tasuki_controller.data_folder import DataFolder

    if data is None and url is not None:
        client = _client(url, token_file, ca, proxy)
        code = evaluating.evaluate(
            run, client, weights=weights, split=split, wait=wait, as_json=as_json
        )
    else:
        code = evaluating.evaluate_locally(
            run,
            DataFolder(DATA if data is None else data),
            weights=weights,
            split=split,
            run_toml=run_file,
            as_json=as_json,
        )
    raise typer.Exit(code)


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
