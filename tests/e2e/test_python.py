"""`tasuki.simulate` with functions of a script: the weights of a plain loop, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from support.plain import plain_loop, plain_torch_loop
from support.python import SIMULATE, python, ran, written
from support.simulation import TRAINERS, environment, simulate, tasuki, write_run
from support.waiting import wait_until
from tasuki.weights.digest import verify_digest

ROUND = ["site-2", "site-1", "site-3"]


def test_functions_of_a_script_give_the_weights_of_a_plain_loop(tmp_path: Path) -> None:
    ended = python(tmp_path, "print(simulate().digest)")
    assert ended.code == 0, ended.err
    assert plain_loop([ROUND] * 3) == ended.out.splitlines()[-1]


def test_functions_that_use_torch_do_so_too(tmp_path: Path) -> None:
    """What a script does beside its functions is not done there: it names its threads in one."""
    code = (TRAINERS / "sgd.py").read_text().replace("net()", "make()")
    script = tmp_path / "script.py"
    run = """
def alone(turn):
    torch.set_num_threads(1)
    return train(turn)

print(simulate(alone, rounds=2).digest)
"""
    script.write_text(f"{code}{SIMULATE}{run}")
    ended = ran(script)
    assert ended.code == 0, ended.err
    assert plain_torch_loop([ROUND] * 2) == ended.out.splitlines()[-1]


def test_a_run_file_gives_what_the_command_gives(tmp_path: Path) -> None:
    path = write_run(tmp_path, order='["site-2", "site-1", "site-3"]', rounds=2)
    commanded = simulate(path, "--one-process")
    ended = python(tmp_path, "print(tasuki.simulate('run.toml', data='other').digest)")
    assert ended.code == 0, ended.err
    assert commanded.last["digest"] == ended.out.splitlines()[-1]


def test_lambdas_and_what_a_function_was_made_from_come_along(tmp_path: Path) -> None:
    ended = python(
        tmp_path,
        """
def scaled(factor):
    return lambda turn: turn.result(
        {n: v * factor for n, v in turn.weights("numpy").items()}, metrics={"accuracy": factor}
    )

run = simulate(scaled(2.0), initial=lambda: {"w": np.ones(3)}, rounds=2)
print(run.weights("latest", framework="numpy")["w"].tolist())
""",
    )
    assert ended.code == 0, ended.err
    assert str([64.0] * 3) == ended.out.splitlines()[-1]


def test_a_site_finds_nothing_that_another_has_left_in_a_variable(tmp_path: Path) -> None:
    ended = python(
        tmp_path,
        """
seen = []

def alone(turn):
    seen.append(turn.site)
    metrics = {"accuracy": len(seen), "all": len(set(seen))}
    return turn.result(turn.weights("numpy"), metrics=metrics)

turns = simulate(alone).turns
print(turns["accuracy"].tolist(), turns["all"].tolist())
""",
    )
    assert ended.code == 0, ended.err
    assert f"{[1.0] * 3 + [2.0] * 3 + [3.0] * 3} {[1.0] * 9}" == ended.out.splitlines()[-1]


def test_every_site_evaluates_with_the_function_that_is_given(tmp_path: Path) -> None:
    ended = python(
        tmp_path,
        """
def evaluate(turn):
    return turn.scores({"height": float(turn.weights("numpy")["n"])}, samples=2)

run = simulate(evaluate=evaluate, rounds=2, checkpoint={"best": "height"})
scores = run.scores[run.scores["by"] == "evaluation"]
print(scores[["round", "site", "value"]].values.tolist(), run.best_round.by)
""",
    )
    assert ended.code == 0, ended.err
    sites = ["site-1", "site-2", "site-3"]
    expected = [[r, site, 3.0 * r] for r in (1, 2) for site in sites]
    assert f"{expected} evaluation" == ended.out.splitlines()[-1]


def test_first_weights_may_be_a_state_dict_a_file_or_those_of_another_run(tmp_path: Path) -> None:
    ended = python(
        tmp_path,
        """
whole = simulate(name="whole")
first = simulate(initial=make(), rounds=1, name="first")
first.export("first.safetensors", "latest")
for initial in ("first.safetensors", "run:first"):
    second = simulate(initial=initial, rounds=1, name=f"of-{initial[:3]}")
    print("digest", second.digest)
print(whole.export("round.safetensors", 1), whole.weights("round-1", framework="numpy")["n"])
""",
    )
    assert ended.code == 0, ended.err
    *lines, last = ended.out.splitlines()
    assert 1 == len({line for line in lines if line.startswith("digest ")})
    assert plain_loop([ROUND]) == verify_digest(tmp_path / "first.safetensors")
    assert plain_loop([ROUND]) == verify_digest(tmp_path / "round.safetensors")
    assert last == "round.safetensors 3"


def test_it_works_where_an_event_loop_is_running(tmp_path: Path) -> None:
    ended = python(
        tmp_path,
        """
import asyncio

async def main():
    return simulate(rounds=1).digest

print(asyncio.run(main()))
""",
    )
    assert ended.code == 0, ended.err
    assert plain_loop([ROUND]) == ended.out.splitlines()[-1]


def test_what_happens_is_told_as_it_happens(tmp_path: Path) -> None:
    ended = python(
        tmp_path,
        """
run = simulate(rounds=2, wait=False)
for each in run:
    print(each.what, each.round, each.turn, each.site, each.values.get("accuracy"), each.text)
print(run.wait(show=False).status, run.best_round.round)
""",
    )
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    told = [line.split()[1:] for line in lines if line.startswith("turn ")]
    places = [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]
    assert [[str(r), str(t), ROUND[t - 1], f"{3.0 * r + t - 3}"] for r, t in places] == told
    assert lines[0].startswith("status None None  None relaying")
    assert lines[-1] == "finished 2"


def test_a_run_that_is_stopped_keeps_what_it_has(tmp_path: Path) -> None:
    ended = python(
        tmp_path,
        """
run = simulate(rounds=500, wait=False)
for each in run:
    if each.what == "turn" and each.round == 2:
        run.stop()
        break
print(run.wait(show=False).status, run.turns["round"].max() < 500)
""",
    )
    assert ended.code == 0, ended.err
    assert "stopped True" == ended.out.splitlines()[-1]


def test_a_run_that_is_interrupted_goes_on(tmp_path: Path) -> None:
    script = written(
        tmp_path,
        """
pause = {"flag": ".", "pause_s": 0.3}
print(simulate(rounds=4, params=pause, name="long", resume="again" in sys.argv).digest)
""",
    )
    with subprocess.Popen(
        [sys.executable, script],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment(), "PYTHONUNBUFFERED": "1"},
    ) as first:
        assert first.stdout is not None
        next(line for line in first.stdout if "round 2 of 4 done" in line)
        first.send_signal(signal.SIGINT)
        _, said = first.communicate(timeout=60)
    assert "long was interrupted; go on with resume=True" in said
    assert first.returncode not in {0, None}
    refused = ran(script)
    assert "go on with resume=True" in refused.err
    ended = ran(script, "again")
    assert ended.code == 0, ended.err
    assert plain_loop([ROUND] * 4) == ended.out.splitlines()[-1]
    turns = tasuki("turns", "long", "--data", tmp_path / "data", "--json").last["turns"]
    assert 12 == len(turns)


def test_a_run_that_is_interrupted_in_its_thread_says_so(tmp_path: Path) -> None:
    ended = python(
        tmp_path,
        """
from tasuki import errors

run = simulate(rounds=500, wait=False)
next(each for each in run if each.what == "turn")
run.interrupt()
try:
    run.wait()
except errors.RunError as exc:
    print(exc, run.status)
""",
    )
    assert ended.code == 0, ended.err
    expected = "run-1 was interrupted; go on with resume=True relaying"
    assert expected == ended.out.splitlines()[-1]


def test_a_run_gets_more_rounds_by_calling_again(tmp_path: Path) -> None:
    ended = python(
        tmp_path,
        """
simulate(rounds=1), simulate(rounds=1)
again = simulate(rounds=3, resume=True)
print(again.name, again.digest)
""",
    )
    assert ended.code == 0, ended.err
    assert f"run-2 {plain_loop([ROUND] * 3)}" == ended.out.splitlines()[-1]


def test_a_trainer_that_raises_is_told_with_its_own_line(tmp_path: Path) -> None:
    ended = python(
        tmp_path,
        """
from tasuki import errors

try:
    simulate(lambda turn: turn.weights("numpy")["none"])
except errors.TrainerRaised as exc:
    print(type(exc).__name__, exc)
""",
    )
    assert ended.code == 0, ended.err
    said = ended.out.partition("TrainerRaised run-1 failed")[2]
    assert "KeyError: 'none'" in said
    assert "script.py" in said
    assert 'simulate(lambda turn: turn.weights("numpy")["none"])' in said


def test_a_trainer_that_is_killed_costs_nothing_but_time(tmp_path: Path) -> None:
    ended = python(
        tmp_path,
        "print(simulate(die_once, failure={'max_attempts': 2}, params={'flag': str(Path.cwd())})"
        ".digest)",
    )
    assert ended.code == 0, ended.err
    assert (tmp_path / "died").exists()
    assert plain_loop([ROUND] * 3) == ended.out.splitlines()[-1]


def test_what_cannot_be_in_another_process_is_named(tmp_path: Path) -> None:
    ended = python(
        tmp_path,
        """
log = open("log.txt", "w")

def note(turn):
    log.write("x")
    return train(turn)

simulate(lambda turn: note(turn))
""",
    )
    assert ended.code != 0
    assert "SettingsError: note uses log, a TextIOWrapper, which cannot be in another" in ended.err
    assert "make or open it inside note" in ended.err
    assert not (tmp_path / "data").exists()


def test_nothing_pickled_is_left_on_any_disk_or_seen_by_others(tmp_path: Path) -> None:
    """While it runs: in no file of the data folder, and in no argument or variable but a number."""
    mark = "a-constant-of-the-function-4711"
    script = written(
        tmp_path,
        f"""
def marked(turn):
    len({mark!r})
    return train(turn)

print(simulate(marked, params={{"flag": ".", "pause_s": 0.2}}).status)
""",
    )
    found: set[str] = set()
    with subprocess.Popen(
        [sys.executable, script], cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=environment()
    ) as running:

        def is_over() -> bool:
            found.update(_holding(mark, script))
            return running.poll() is not None

        wait_until(is_over, what="its end", within_s=60)
        assert running.stdout is not None
        assert "finished" == running.stdout.read().splitlines()[-1]
    assert set() == found


def _holding(mark: str, script: Path) -> set[str]:
    """Files that have it, but the script itself."""
    files = [path for path in script.parent.rglob("*") if path.is_file() and path.suffix != ".py"]
    found = set()
    for path in files:
        try:
            found |= {str(path)} if mark.encode() in path.read_bytes() else set()
        except OSError:  # gone since
            continue
    return found


def test_importing_tasuki_imports_no_service() -> None:
    code = "import sys, tasuki; tasuki.Turn; print([m for m in sys.modules if 'tasuki_' in m])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ},
    )
    assert done.stdout.strip() == "[]"
