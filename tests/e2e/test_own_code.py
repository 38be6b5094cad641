"""What a site's own code does is its own doing, in a process of its own, however many sites."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from support.simulation import command, environment, simulate, tasuki, write_run
from tasuki_site.trainer.process_limit import MOST, fitting

OWN = """
import argparse, json, os, signal, sys, time
import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.5)
args = parser.parse_args()
trained_here = []


def make():
    return {"w": np.zeros(3, np.float32)}


def make_nothing():
    sys.exit()


def make_and_die():
    print("so long")
    os._exit(0)


def train(turn):
    trained_here.append(turn.site)
    assert set(trained_here) == {turn.site}, trained_here
    assert sys.argv == [__file__], sys.argv
    signal.signal(signal.SIGUSR2, signal.SIG_DFL)  # only the main thread may
    with open("labels.json") as file:
        step = json.load(file)["step"]
    os.chdir("/")
    return turn.result({"w": turn.weights("numpy")["w"] + step}, metrics={"accuracy": args.lr})


def loud(turn):
    print("\u2588" * 3, flush=True)
    print("x" * 3_000_000)
    return train(turn)


def idle(turn):
    return turn.result(turn.weights("numpy"), metrics={"accuracy": 0})


def hang(turn):
    if turn.site == "site-2":
        time.sleep(600)  # it hangs: the test ends it
    return train(turn)


def fall(turn):
    print("what it said last", end="")
    os.kill(os.getpid(), signal.SIGSEGV)


def leave(turn):
    sys.exit(0)


def interrupt(turn):
    raise KeyboardInterrupt
"""


def a_run(folder: Path, *, trainer: str = "train", initial: str = "make", sites: int = 9) -> Path:
    run = write_run(folder, rounds=2, initial=f"own:{initial}", sites=sites)
    run.write_text(run.read_text().replace("walk:train", f"own:{trainer}"))
    (folder / "own.py").write_text(OWN)
    (folder / "labels.json").write_text('{"step": 1}')
    return run


@pytest.mark.parametrize("how", ["--one-process", "--processes"])
def test_code_finds_the_same_around_it_whatever_the_number_of_sites(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bug: from eight sites on it ran in a thread of tasuki's own process, in its folder."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    ended = simulate(a_run(tmp_path, sites=9 if how == "--one-process" else 2), how)
    assert ended.code == 0, ended.err


@pytest.mark.parametrize(
    ("trainer", "said"), [("leave", "SystemExit: 0"), ("interrupt", "KeyboardInterrupt")]
)
def test_a_trainer_that_ends_itself_is_a_trainer_that_failed(
    tmp_path: Path, trainer: str, said: str
) -> None:
    """Bug: with nine sites, sys.exit(0) ended tasuki with exit code 0 and nothing trained."""
    ended = simulate(a_run(tmp_path, trainer=trainer))
    assert ended.code == 22
    assert said in ended.err
    assert "own.py" in ended.err


@pytest.mark.parametrize(
    ("factory", "said"),
    [("make_nothing", "SystemExit"), ("make_and_die", "exit code 0 before there were any weights")],
)
def test_a_factory_that_ends_itself_is_a_factory_that_failed(
    tmp_path: Path, factory: str, said: str
) -> None:
    ended = simulate(a_run(tmp_path, initial=factory))
    assert ended.code == 2
    assert f"own:{factory}" in ended.err
    assert said in ended.err


def test_no_process_of_a_simulation_is_left(tmp_path: Path) -> None:
    assert simulate(a_run(tmp_path)).code == 0
    assert [] == [p for p in Path("/proc").iterdir() if _is_at_work_in(tmp_path, p)]


COUNTS = """
import os
from pathlib import Path
import tasuki.flare as flare


def processes():
    lines = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            lines.append((place / "cmdline").read_text())
        except OSError:
            pass  # gone meanwhile
    return sum("tasuki_site.trainer.child" in line and FOLDER in line for line in lines)


FOLDER = str(Path(__file__).parent)
flare.init()
while flare.is_running():
    model = flare.receive()
    with open(f"{FOLDER}/seen", "a") as seen:
        seen.write(f"{processes()} {os.getpid()}\\n")
    params = {"w": model.params["w"] + 1}
    flare.send(flare.FLModel(params=params, metrics={"accuracy": 1.0}))
"""


@pytest.mark.parametrize(
    ("limit", "sites", "most"), [("processes = 2", 4, 2), ("", MOST + 2, fitting())]
)
def test_scripts_of_many_sites_keep_no_more_processes_than_there_is_room_for(
    tmp_path: Path, limit: str, sites: int, most: int
) -> None:
    """Bug: each site kept its own to the end of the run, and 200 sites filled the memory."""
    (tmp_path / "count.py").write_text(COUNTS)
    run = a_run(tmp_path, sites=sites)
    run.write_text(run.read_text().replace('"own:train"', f'"count.py"\n{limit}'))
    ended = simulate(run)
    assert ended.code == 0, ended.err
    assert 2 * sites == ended.last["turns"]
    seen = [line.split() for line in (tmp_path / "seen").read_text().splitlines()]
    assert most == max(int(count) for count, _ in seen)
    assert sites < len({pid for _, pid in seen}), "those that were ended were started again"


def _is_at_work_in(folder: Path, process: Path) -> bool:
    try:
        return str(folder) in (process / "cmdline").read_text()
    except OSError:
        return False


def test_what_a_trainer_prints_before_it_crashes_is_told(tmp_path: Path) -> None:
    ended = simulate(a_run(tmp_path, trainer="fall"))
    assert ended.code == 23
    assert "SIGSEGV before it had a result:\nwhat it said last" in ended.err


def test_a_run_goes_on_when_nobody_reads_what_it_shows(tmp_path: Path) -> None:
    """Bug: `tasuki simulate | head -1` ended the run with a traceback."""
    run = a_run(tmp_path, trainer="loud", sites=2)
    reading, writing = os.pipe()
    os.close(reading)
    words = command("simulate", run, "--data", tmp_path / "data")
    plain = {**environment(), "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = subprocess.run(
        words,
        env=plain,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=100,
        check=False,
    )
    os.close(writing)
    assert (0, "") == (done.returncode, done.stderr)
    assert '"turns": 4' in tasuki("runs", "--json", "--data", tmp_path / "data").out


def test_a_turn_that_trains_nothing_is_accepted_and_said_so(tmp_path: Path) -> None:
    first = {"w": np.zeros(3, np.float32)}
    # As others write it: what the first turn hands on is another form of the same values.
    save_file(first, tmp_path / "first.safetensors", metadata={"format": "np"})
    run = a_run(tmp_path, trainer="idle", sites=2)
    run.write_text(run.read_text().replace("own:make", "first.safetensors"))
    ended = simulate(run)
    assert ended.code == 0, ended.err
    assert 4 == ended.err.count("trained nothing: it handed on exactly what it received")
    assert (4, 4) == (ended.last["turns"], ended.last["unchanged"])
    rows = tasuki("ledger", "walk", "--json", "--data", tmp_path / "data").last["rows"]
    assert 4 == sum(row["what"].endswith(", unchanged") for row in rows)
    shown = tasuki("simulate", run, "--data", tmp_path / "data", "--resume").out
    assert 4 == shown.count("(unchanged)")
    assert "4 handed on unchanged" in shown


def test_a_run_may_refuse_a_turn_that_trains_nothing(tmp_path: Path) -> None:
    run = a_run(tmp_path, trainer="idle", sites=2)
    run.write_text(run.read_text() + '\n[gate]\nunchanged = "refuse"\n')
    ended = simulate(run)
    assert ended.code == 35
    assert "[gate] unchanged" in ended.err


@pytest.mark.parametrize(
    ("on_silent", "code", "skipped", "attempts"),
    [("skip", 74, 2, 1), ("retry", 24, 0, 2), ("wait", 24, 0, 2), ("fail", 24, 0, 1)],
)
@pytest.mark.parametrize("limit", ["turn_s", "progress_s"])
def test_a_trainer_that_hangs_is_overdue_and_the_run_decides(
    tmp_path: Path, on_silent: str, code: int, skipped: int, attempts: int, limit: str
) -> None:
    run = a_run(tmp_path, trainer="hang", sites=3)
    limits = f'[failure]\n{limit} = 3\non_silent = "{on_silent}"\n'
    text = run.read_text().replace("[failure]\n", limits)
    run.write_text(text.replace("max_attempts = 1", "max_attempts = 2"))
    ended = simulate(run)
    assert code == ended.code, ended.err
    assert limit in ended.err
    assert skipped == ended.last["skipped"]
    rows = tasuki("ledger", "walk", "--json", "--data", tmp_path / "data").last["rows"]
    overdue = [row for row in rows if row["what"].endswith("site-2 failed with TrainerOverdue")]
    assert max(attempts, skipped) == len(overdue)


HANGS_ONCE = """
import time
from pathlib import Path


def train(turn):
    state = turn.weights("numpy")
    if not Path("hung").exists():  # in its site's own folder
        Path("hung").touch()
        time.sleep(600)  # it hangs: the turn's limit ends it
    return turn.result({"w": state["w"] + 1}, metrics={"accuracy": 1.0})
"""


@pytest.mark.parametrize("limit", ["turn_s", "progress_s"])
def test_a_trainer_that_hangs_once_trains_again_in_a_run_that_retries(
    tmp_path: Path, limit: str
) -> None:
    run = a_run(tmp_path, sites=3)
    (tmp_path / "own.py").write_text(OWN + HANGS_ONCE)
    limits = f'[failure]\n{limit} = 3\non_silent = "retry"\n'
    text = run.read_text().replace("[failure]\n", limits).replace("rounds = 2", "rounds = 1")
    run.write_text(text.replace("max_attempts = 1", "max_attempts = 2"))
    ended = simulate(run)
    assert ended.code == 0, ended.err
    assert (3, 0) == (ended.last["turns"], ended.last["skipped"])
