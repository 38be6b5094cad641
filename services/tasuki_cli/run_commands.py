"""Commands about runs: each imports what it needs when it runs."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from inspect import Signature, signature
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
    from tasuki_report import Source


Command = Callable[..., None]
_LATER = {"ControllerClient": object, "Archive": object, "Source": object}
"""Types that a command imports when it runs; its first argument is none of its options."""


class Mode(StrEnum):
    MAX = "max"
    MIN = "min"


def _client(
    url: Url = URL, token_file: TokenFile = TOKEN_FILE, ca: Ca = None, proxy: Proxy = None
) -> ControllerClient:
    from tasuki_cli.client import ControllerClient

    return ControllerClient(url, token_file, ca=ca, proxy=proxy)


def _archive(
    data: OtherData = None,
    url: OtherUrl = None,
    token_file: TokenFile = TOKEN_FILE,
    ca: Ca = None,
    proxy: Proxy = None,
) -> Archive:
    from tasuki_cli.records import LocalArchive

    if data is None and url is not None:
        return _client(url, token_file, ca, proxy)
    return LocalArchive(DATA if data is None else data)


def _asking(whom: Callable[..., object]) -> Callable[[Callable[..., int | None]], Command]:
    """Gives a command the options of `whom` before its last one, and what that makes of them."""
    options = signature(whom, eval_str=True, locals=_LATER).parameters

    def with_options(command: Callable[..., int | None]) -> Command:
        _, *own, last = signature(command, eval_str=True, locals=_LATER).parameters.values()

        def asked(**given: object) -> None:
            asks = whom(**{name: given.pop(name) for name in options})
            raise typer.Exit(command(asks, **given) or 0)

        asked.__name__, asked.__doc__ = command.__name__, command.__doc__
        asked.__signature__ = Signature([*own, *options.values(), last])  # type: ignore[attr-defined]
        return asked

    return with_options


@_asking(_client)
def submit(
    client: ControllerClient,
    run_toml: Annotated[Path, typer.Argument(metavar="RUN.toml", help="What to train.")],
    wait: Annotated[bool, typer.Option("--wait", help="Show the run until it is over.")] = False,
    as_json: AsJson = False,
) -> int:
    """Start a run on a running controller."""
    from tasuki_cli import operate

    return operate.submit(run_toml, client, wait=wait, as_json=as_json)


@_asking(_client)
def watch(client: ControllerClient, run: RunName, as_json: AsJson = False) -> int:
    """Show a run until it is over; the exit code says how it ended."""
    from tasuki_cli import operate

    return operate.watch(run, client, as_json=as_json)


def _steering(what: str, meaning: str) -> Command:
    """The command that asks a controller for this."""

    def command(client: ControllerClient, run: RunName, as_json: AsJson = False) -> int:
        from tasuki_cli import operate

        return operate.steer(run, what, client, as_json=as_json)

    command.__name__, command.__doc__ = what, meaning
    return _asking(_client)(command)


pause = _steering("pause", "Pause a run when its round ends.")
resume = _steering("resume", "Go on with a paused run.")
stop = _steering("stop", "End a run now; its checkpoints stay.")


@_asking(_client)
def add(
    client: ControllerClient,
    run: RunName,
    site: Annotated[str, typer.Argument(metavar="SITE", help="A site that is there.")],
    as_json: AsJson = False,
) -> int:
    """Let one more site take part in a run, from its next round on."""
    from tasuki_cli import operate

    return operate.add_site(run, site, client, as_json=as_json)


@_asking(_client)
def extend(
    client: ControllerClient,
    run: RunName,
    rounds: Annotated[
        int,
        typer.Option("--rounds", min=1, max=MOST_ROUNDS, help="So many in all, not so many more."),
    ],
    as_json: AsJson = False,
) -> int:
    """Let a run have more rounds, be it that it has finished."""
    from tasuki_cli import operate

    return operate.extend(run, rounds, client, as_json=as_json)


@_asking(_archive)
def remove(
    archive: Archive,
    run: RunName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End it first, if it is not over.")] = False,
    as_json: AsJson = False,
) -> int:
    """Remove the weights of a run that is over; its ledger stays, and its name is taken."""
    from tasuki_cli import records

    return records.remove_run(run, archive, yes=yes, stop=stop, as_json=as_json)


@_asking(_archive)
def runs(
    archive: Archive,
    all_: Annotated[bool, typer.Option("--all", help="Those too that were removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the runs of a data folder, or of a running controller."""
    from tasuki_cli import records

    records.show_runs(archive, even_removed=all_, as_json=as_json)


def ledger(
    run: RunName,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the chain and every checkpoint.")
    ] = False,
    roster: Annotated[
        Path | None,
        typer.Option(
            "--roster",
            metavar="FILE",
            help="With --verify: prove who said what, by the keys of this roster.",
        ),
    ] = None,
    authority: Annotated[
        Path | None,
        typer.Option(
            "--authority",
            metavar="FILE",
            help="Whose certificate signed the roster; else the ca.pem beside it.",
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="FILE", help="Write its rows and signatures to a file."),
    ] = None,
    from_: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Read the rows that --export wrote."),
    ] = None,
    data: OtherData = None,
    url: OtherUrl = None,
    token_file: TokenFile = TOKEN_FILE,
    ca: Ca = None,
    proxy: Proxy = None,
    as_json: AsJson = False,
) -> None:
    """Show what happened in a run, or prove that its record is whole and who said what in it."""
    from tasuki_cli import ledgers, records

    ledgers.check_asked(
        verify=verify,
        roster=roster,
        authority=authority,
        export=export,
        has_two=from_ is not None and (data or export) is not None,
    )
    kept = ledgers.LedgerFile(from_) if from_ else _archive(data, url, token_file, ca, proxy)
    if export is not None:
        ledgers.export(run, export, kept, as_json=as_json)
    elif roster is not None:
        ledgers.prove(run, kept, ledgers.read_roster(roster, authority), as_json=as_json)
    elif verify:
        ledgers.verify(run, kept, as_json=as_json)
    else:
        records.show_ledger(run, kept, as_json=as_json)


@_asking(_archive)
def turns(
    archive: Archive,
    run: RunName,
    csv: Annotated[
        bool, typer.Option("--csv", help="All of them with every metric, as CSV.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write the CSV to this file."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show every turn of a run with what its site reported, whatever checkpoints are kept."""
    from tasuki_cli import turns as turns_shown

    turns_shown.show(run, archive, as_csv=csv, output=output, as_json=as_json)


@_asking(_archive)
def scores(
    archive: Archive,
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
    as_json: AsJson = False,
) -> None:
    """Show what each site says of the weights that it receives: mean, worst, spread, forgetting."""
    from tasuki_cli import scores as scores_shown

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


@_asking(_archive)
def report(
    source: Source,
    run: RunName,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="The page, .html.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FOLDER", help="The numbers, as CSV files.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a run's report: one page that needs no server and no network, or its numbers."""
    from tasuki_cli import report as reported

    reported.report(run, source, output=output, folder=csv, as_json=as_json)


@_asking(_archive)
def export(
    archive: Archive,
    run: RunName,
    output: Annotated[Path, typer.Option("-o", "--output", help=".safetensors or .pt")],
    round: Annotated[
        int | None,
        typer.Option("--round", min=0, help="The end of this round, from 1, if it is kept."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy a run's best checkpoint, its latest if none was chosen, or a round's, to a file."""
    from tasuki_cli import records

    records.export(run, output, archive, round=round, as_json=as_json)
