"""What operators are shown of the controller's answers."""

from __future__ import annotations

import pytest

from tasuki.core.run import Status
from tasuki.errors import GateRejected, SitesLeftOut
from tasuki_cli import operate
from tasuki_controller.documents import Standing, SteeredRun

FINISHED = Standing(
    run="r",
    status=Status.FINISHED,
    reason="every round is done",
    rounds=2,
    turns=4,
    skipped=2,
    skips=[],
    left_out=[],
    unchanged=0,
    digest="blake3:00",
    metrics={},
    wall_s=1.0,
    holder=None,
    phase="",
    still_s=0.0,
    error=None,
    best=None,
    history=[],
)


def test_the_answer_to_a_wish_is_shown_though_it_does_not_say_all_of_a_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer = SteeredRun(
        run="r",
        status=Status.RELAYING,
        rounds="1/3",
        turns=2,
        skipped=0,
        digest="blake3:00",
        reason="",
        phase="",
        still_s=0.0,
        outcome="",
    )

    operate.show(answer, as_json=False)

    assert "r relaying: 2 turns\ndigest blake3:00\n" == capsys.readouterr().out


def test_a_run_that_all_its_sites_trained_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    operate.show(FINISHED, as_json=False)
    assert 0 == operate.exit_code(FINISHED)
    assert "r finished: 4 turns, 2 skipped\ndigest blake3:00\n" == capsys.readouterr().out


def test_a_run_that_left_a_site_out_says_so_and_does_not_end_with_0(
    capsys: pytest.CaptureFixture[str],
) -> None:
    reason = "every round is done, and no turn of c was accepted in any"
    standing = FINISHED.model_copy(update={"left_out": ["c"], "reason": reason})
    operate.show(standing, as_json=False)
    assert SitesLeftOut.exit_code == operate.exit_code(standing)
    assert f"reason: {reason}\n" in capsys.readouterr().out


def test_of_a_run_that_failed_the_error_comes_first() -> None:
    how = {"status": Status.FAILED, "left_out": ["c"], "error": "GateRejected"}
    failed = FINISHED.model_copy(update=how)
    assert GateRejected.exit_code == operate.exit_code(failed)
