"""What a data folder says of weights that it does not have."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from support.runs import FIRST, Relay
from support.several import finish_round, several
from tasuki.errors import UnknownRun
from tasuki.ledger.sqlite import SqliteLedger
from tasuki.wire.messages import encode
from tasuki_controller.data_folder import DataFolder


def folder_of(place: Path, relay: Relay) -> DataFolder:
    """One that keeps what the run began with, and nothing else."""
    with closing(SqliteLedger(place / "ledger.sqlite")) as ledger:
        for event in [relay.plan, FIRST, *relay.history]:
            ledger.append("r", encode(event), at=0.0)
    folder = DataFolder(place)
    kept = folder.checkpoints("r").weights_path(0)
    kept.parent.mkdir(parents=True)
    kept.with_suffix(".json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (1, r"were not made one after it, as \[lanes\] every_n_rounds = 2 says"),
        (2, r"\[checkpoint\] keep and every_n_rounds"),
        (3, "that round is not over"),
        (9, "it has no such round"),
    ],
)
def test_why_a_round_has_no_weights_is_said_as_it_is(
    tmp_path: Path, number: int, says: str
) -> None:
    """Bug: `[checkpoint]` was blamed for rounds that end without a merge, or had not ended."""
    relay = Relay(several(rounds=4, every_n_rounds=2))
    finish_round(relay)
    finish_round(relay)
    folder = folder_of(tmp_path, relay)
    with pytest.raises(
        UnknownRun, match=f"keeps no weights of round {number}, only of 0: .*{says}"
    ):
        folder.checkpoint_of("r", number)
