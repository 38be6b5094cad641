"""`tasuki add`: a site that a run was not submitted with takes part from the next round on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from support.federation import Federation
from tasuki.errors import RunError, UnknownSite

Write = Callable[..., Path]


def two_sites(path: Path, *, order: str) -> Path:
    """The same run for two of the three sites."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("order")]
    head = ['sites = ["site-1", "site-2"]', f"order = {order}"]
    path.write_text("\n".join([*head, *lines]) + "\n")
    return path


def test_an_added_site_takes_part_from_the_next_round_on(
    federation: Federation, write: Write, tmp_path: Path
) -> None:
    path = write(rounds=3, params='hold = { site-2 = "go" }')
    run = federation.begin(two_sites(path, order='"fixed"'))
    federation.await_turns(run.name, 1)
    added = federation.ask("add", run.name, "site-3")
    again = federation.ask("add", run.name, "site-3")
    (tmp_path / "go").touch()
    run.finished()

    rounds: dict[int, set[str]] = {number: set() for number in range(3)}
    for row in federation.ledger(run.name):
        if row["event"] == "TurnFinished":
            rounds[row["turn"]["round"]].add(row["turn"]["site"])
    joined = next(number for number, sites in rounds.items() if "site-3" in sites)
    assert added.code == 0
    assert (RunError.exit_code, True) == (again.code, "takes part already" in again.err)
    assert 1 == joined
    for number, sites in rounds.items():
        assert ("site-3" in sites) == (number >= joined)


def test_a_run_whose_order_is_a_list_and_a_site_that_nobody_heard_of_are_refused(
    federation: Federation, write: Write
) -> None:
    run = federation.begin(two_sites(write(rounds=10, pause_s=0.3), order='["site-2", "site-1"]'))
    federation.await_turns(run.name, 1)
    listed = federation.ask("add", run.name, "site-3")
    unheard = federation.ask("add", run.name, "site-9")
    assert (RunError.exit_code, True) == (listed.code, "list of sites" in listed.err)
    assert (UnknownSite.exit_code, True) == (unheard.code, "not been heard of" in unheard.err)
    run.finished()
