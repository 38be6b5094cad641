"""`tasuki.connect`: runs of a controller, and of a folder, from Python."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tasuki
from support.federation import Federation
from support.plain import plain_loop
from support.simulation import simulate, write_run
from tasuki import errors
from tasuki.core.model import CONTROLLER
from tasuki.weights.digest import verify_digest
from tasuki_python import Federation as Connected
from tasuki_python import Run

ROUND = ["site-2", "site-1", "site-3"]
Write = Callable[..., Path]


def rows(table: Any) -> list[dict[str, Any]]:  # Any: pandas, as people have it, or without
    found: list[dict[str, Any]] = table.to_dict("records")  # Any: as above
    return found


@pytest.fixture
def connected(federation: Federation) -> Iterator[Connected]:
    token = federation.folder / "data-controller/token"
    with tasuki.connect(federation[CONTROLLER].url, token_file=token) as connected:
        yield connected


def test_a_run_is_submitted_shown_and_read(
    connected: Connected, write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(rounds=2)

    async def in_a_loop() -> Run:
        return connected.submit(path)

    run = asyncio.run(in_a_loop())
    assert (run.name, run.status, run.reason) == (path.parent.name, "finished", run.reason)
    assert plain_loop([ROUND] * 2) == run.digest
    assert "site-2 round 1 of 2 done" in capsys.readouterr().out
    assert [*ROUND, *ROUND] == [turn["site"] for turn in rows(run.turns)]
    for which, rounds in ((1, 1), ("latest", 2), ("best", 2), ("", 2)):
        exported = run.export(tmp_path / "w.safetensors", which)
        assert plain_loop([ROUND] * rounds) == verify_digest(exported)
    assert 6 == run.weights("best", framework="numpy")["n"]
    assert run.name in [row["run"] for row in rows(connected.runs)]
    assert ["turn"] * 6 == [each.what for each in run if each.what == "turn"]
    assert ["status"] == [each.what for each in connected.run(run.name)]


def test_a_run_that_is_over_is_scored_where_it_was_trained(
    connected: Connected, write: Write, tmp_path: Path
) -> None:
    run = connected.submit(write(rounds=2))
    scored = [(f"site-{each}", 3.0, 8) for each in (1, 2, 3)]
    for weights in (1, "round-1", run.export(tmp_path / "first.safetensors", 1)):
        found = [row for row in rows(run.evaluate(weights)) if row["metric"] == "accuracy"]
        assert scored == [(row["site"], row["value"], row["samples"]) for row in found]
    assert {1, 2, 3} == {row["number"] for row in rows(run.scores) if row["by"] == "evaluation"}
    page = run.report(tmp_path / "report.html").read_text()
    assert plain_loop([ROUND] * 2) in page


def test_a_run_is_stopped_and_a_wish_that_means_nothing_is_an_error(
    connected: Connected, write: Write
) -> None:
    run = connected.submit(write(rounds=200, pause_s=0.2), wait=False)
    next(each for each in run if each.what == "turn")
    run.stop()
    assert "stopped" == run.wait(show=False).status
    with pytest.raises(errors.RunError, match="is stopped: nothing to pause"):
        run.pause()


def test_what_a_run_failed_with_is_raised(connected: Connected, write: Write) -> None:
    path = write(rounds=1)
    path.write_text(path.read_text().replace('trainer = "walk"\n', 'trainer = "none"\n', 1))
    with pytest.raises(errors.TrainerNotFound, match="failed: site-2"):
        connected.submit(path)


def test_what_is_not_there_is_said(connected: Connected, tmp_path: Path) -> None:
    with pytest.raises(errors.UnknownRun, match="there is no run 'other' here"):
        connected.run("other")
    with pytest.raises(errors.SettingsError, match="code never travels"):
        connected.submit(lambda turn: turn)  # type: ignore[arg-type]
    with pytest.raises(errors.SettingsError, match="there is no file"):
        connected.submit(tmp_path / "run.toml")


def test_a_folder_of_the_command_line_is_read_too(tmp_path: Path) -> None:
    simulate(write_run(tmp_path, order='["site-2", "site-1", "site-3"]', rounds=2))
    run = tasuki.connect(data=tmp_path / "data").run("walk")
    assert ("finished", plain_loop([ROUND] * 2)) == (run.wait().status, run.digest)
    assert repr(run) == "<run walk: finished, 6 turns in 2 rounds; best is round 2 with accuracy 5>"
    assert [6.0] * 3 == [
        row["value"] for row in rows(run.evaluate()) if row["metric"] == "accuracy"
    ]
    with pytest.raises(errors.RunError, match="nobody works on walk: there is nothing to stop"):
        run.stop()
    with pytest.raises(errors.UnknownRun, match="keeps no weights of round 7"):
        run.weights(7)
