"""What operators are shown of the controller's answers."""

from __future__ import annotations

import pytest

from tasuki.core.run import Status
from tasuki_cli import operate
from tasuki_controller.documents import SteeredRun


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

    operate.show(answer.model_dump(mode="json"), as_json=False)

    assert "r relaying: 2 turns\ndigest blake3:00\n" == capsys.readouterr().out
