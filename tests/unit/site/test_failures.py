"""What is told of a trainer that raised: first what it says, then where, and nothing of ours."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from support.in_process import InProcessTrainer
from support.requests import a_request
from tasuki.core.report import MOST_DETAIL, shortened
from tasuki.errors import DiskFull, TrainerRaised
from tasuki_site.trainer.failure import failure_of
from tasuki_site.trainer.source import Source


def raised(work: Callable[[], object]) -> tuple[str, str]:
    try:
        work()
    except Exception as exc:  # noqa: BLE001 - as the services do
        return failure_of(exc)
    raise AssertionError("it did not raise")


def fail(message: str = "on fire") -> None:
    raise RuntimeError(message)


def test_the_first_line_says_what_it_was() -> None:
    kind, detail = raised(fail)
    assert TrainerRaised.__name__ == kind
    assert "RuntimeError: on fire" == detail.splitlines()[0]
    assert "in fail" in detail


def test_frames_of_ours_before_the_site_s_code_are_left_out(tmp_path: Path) -> None:
    """Bug: the first frame that an operator saw was one of Tasuki's own."""
    (tmp_path / "burning.py").write_text("def train(turn):\n    raise RuntimeError('on fire')\n")
    trainer = InProcessTrainer(Source(run="burning:train", folder=tmp_path))

    async def train() -> None:
        await trainer.train(a_request(tmp_path), lambda _: None)

    with pytest.raises(TrainerRaised) as told:
        asyncio.run(train())
    assert "burning.py" in str(told.value)
    assert "tasuki_site" not in str(told.value)


def test_a_text_is_never_longer_than_a_report_and_keeps_its_beginning_and_its_end() -> None:
    _, detail = raised(lambda: fail("x" * 5000))
    assert MOST_DETAIL >= len(detail)
    assert detail.startswith("RuntimeError: xxx")
    assert detail.endswith("x")


def test_a_syntax_error_is_named_first() -> None:
    """Bug: `File "train.py", line 1`, and no more where there is room for one line."""
    _, detail = raised(lambda: compile("def (", "train.py", "exec"))
    assert "SyntaxError: invalid syntax" == detail.splitlines()[0]
    assert 'File "train.py", line 1' in detail


def test_a_long_text_of_any_error_keeps_its_beginning_and_its_end() -> None:
    """Bug: a list of a hundred thousand names, without what was wrong with them."""
    told = shortened("what it is" + "x" * 5000 + "where it was")
    assert MOST_DETAIL == len(told)
    assert told.startswith("what it is")
    assert told.endswith("where it was")
    assert "a" * MOST_DETAIL == shortened("a" * MOST_DETAIL)


def test_what_caused_it_is_told_too() -> None:
    def both() -> None:
        try:
            fail("the cause")
        except RuntimeError as exc:
            raise ValueError("the effect") from exc

    _, detail = raised(both)
    assert detail.startswith("ValueError: the effect\n")
    assert "RuntimeError: the cause" in detail


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_trainer_whose_own_file_finds_no_room_met_a_full_disk(number: int) -> None:
    def write() -> None:
        raise OSError(number, "no room", "mine.bin")

    kind, detail = raised(write)
    assert (DiskFull.__name__, True) == (kind, "mine.bin" in detail.splitlines()[0])
