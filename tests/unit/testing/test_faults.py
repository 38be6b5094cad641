"""The script of faults: which moments it acts on, how often, and what it leaves behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.waiting import wait_until
from tasuki.core.model import TurnId
from tasuki.errors import SettingsError
from tasuki.moments import UNWATCHED, Moment
from tasuki.testing.faults import Rule, Script, listening, read_log

TURN = TurnId(run="walk", term=1, round=2, hop=0)
REACH = """
import sys
from pathlib import Path
from tasuki.moments import Moment
from tasuki.testing.faults import Script
Script(Path(sys.argv[1]), actor="site-1").reach(Moment.TRAINED, None)
print("went on")
"""


def reached(script: Path) -> subprocess.Popen[str]:
    """A process that is `site-1` and gets to `trained`."""
    words = [sys.executable, "-c", REACH, str(script)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("site-1 trained kill", True),
        ("site-2 trained kill", False),
        ("* * kill", True),
        ("* turn.sent kill", False),
        ("* * kill run=walk round=2", True),
        ("* * kill run=walk round=1", False),
    ],
)
def test_a_rule_is_about_its_actor_moment_and_turn(line: str, *, expected: bool) -> None:
    assert expected == Rule.parse(line).matches("site-1", Moment.TRAINED, TURN)


def test_a_rule_about_a_turn_does_not_match_where_the_turn_is_unknown() -> None:
    assert not Rule.parse("* * stop run=walk").matches("site-1", Moment.CHUNKS_HALF_RECEIVED, None)
    assert Rule.parse("* * stop").matches("site-1", Moment.CHUNKS_HALF_RECEIVED, None)


@pytest.mark.parametrize(
    "line", ["", "site-1 trained", "site-1 often kill", "* * maim", "* * kill site=a", "* * kill x"]
)
def test_what_is_no_rule_is_refused(line: str) -> None:
    with pytest.raises(SettingsError, match="fault"):
        Rule.parse(line)


def test_a_missing_script_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no script"):
        listening(str(tmp_path / "none"), actor="site-1")


def test_nobody_listens_unless_there_is_a_script() -> None:
    assert UNWATCHED is listening(None, actor="site-1")
    assert UNWATCHED is listening("", actor="site-1")


def test_a_trace_says_what_was_reached_by_whom_and_when(tmp_path: Path) -> None:
    path = tmp_path / "script"
    path.write_text("* * trace\n")
    script = Script(path, actor="site-1")
    script.reach(Moment.TURN_RECEIVED, TURN)
    script.reach(Moment.CHUNKS_HALF_RECEIVED, None)
    first, second = read_log(path)
    assert ("site-1", "turn.received") == (first["actor"], first["moment"])
    assert {"run": "walk", "lane": 0, "term": 1, "round": 2, "hop": 0} == first["turn"]
    assert second["turn"] is None
    assert first["ns"] < second["ns"]


def test_a_script_may_grow_while_it_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "script"
    path.touch()
    script = Script(path, actor="site-1")
    script.reach(Moment.TRAINED, TURN)
    path.write_text("* trained trace run=walk\n")
    script.reach(Moment.TRAINED, TURN)
    assert 1 == len(read_log(path))


def test_a_process_is_killed_once_however_often_it_starts_again(tmp_path: Path) -> None:
    path = tmp_path / "script"
    path.write_text("site-1 trained kill\n")
    killed = reached(path)
    assert "" == killed.communicate(timeout=30)[0]
    assert -signal.SIGKILL == killed.returncode
    again = reached(path)
    assert "went on\n" == again.communicate(timeout=30)[0]
    assert ["kill"] == [line["fault"] for line in read_log(path)]


def test_a_stopped_process_goes_on_when_it_is_told_to(tmp_path: Path) -> None:
    path = tmp_path / "script"
    path.write_text("site-1 trained stop\n")
    process = reached(path)
    (line,) = wait_until(lambda: read_log(path), what="it is stopped")
    assert process.pid == line["pid"]
    state = Path(f"/proc/{process.pid}/stat")
    wait_until(lambda: state.read_text().split()[2] == "T", what="it stands")
    process.send_signal(signal.SIGCONT)
    assert "went on\n" == process.communicate(timeout=30)[0]
