"""`tasuki.simulate` with functions of a script: the weights of a plain loop, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from support.plain import judged_loop, plain_loop, plain_torch_loop
from support.python import SIMULATE, python, ran, written
from support.simulation import TRAINERS, environment, simulate, tasuki, write_run
from support.waiting import wait_until
from tasuki.weights.digest import verify_digest

ROUND = ["site-2", "site-1", "site-3"]
SITES = ["site-1", "site-2", "site-3"]


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


JUDGED = """
def said(scores):
    return {row["site"]: row["value"] for row in scores.to_dict("records")}

def judging(**changes):
    return simulate(evaluate=judge, **changes)
"""


def test_the_call_says_when_to_evaluate_what_is_best_and_when_it_is_enough(tmp_path: Path) -> None:
    """As a run file's tables do; and what came of it is in the run, its scores and its plot."""
    ended = python(
        tmp_path,
        JUDGED
        + """
evaluation = {"every_n_rounds": 1, "of": "worst"}
run = judging(rounds=12, evaluation=evaluation, stop={"metric": "accuracy", "patience": 1})
best = run.best_round
print(run.digest, best.round, best.value, best.by, best.of, run.reason)
scores = run.scores[run.scores["by"] == "evaluation"]
print({number: said(of) for number, of in scores.groupby("round")})
lines = {line.get_label(): line.get_ydata() for line in run.plot().lines}
print([float(each) for each in lines["evaluation: worst"]], f"best: round {best.round}" in lines)
""",
    )
    assert ended.code == 0, ended.err
    plain = judged_loop([ROUND] * 12, SITES, of="worst", patience=1)
    assert plain.best is not None
    assert plain.rounds < 12
    first, scores, drawn = ended.out.splitlines()[-3:]
    said = " ".join(map(str, (plain.digest, *plain.best, "evaluation worst enough: worst of")))
    assert first.startswith(said)
    assert str(plain.sites) == scores
    assert f"{[*plain.worst.values()]} True" == drawn


def test_a_run_that_is_over_is_scored_by_the_functions_that_it_was_given(tmp_path: Path) -> None:
    ended = python(
        tmp_path,
        JUDGED
        + """
run = judging(rounds=3, evaluation={"at_end": False})
judge = judged = None  # the cell was changed meanwhile
run.export("first.safetensors", 1)
print(said(run.evaluate()))
print(said(run.evaluate(1, split="test")))
print(said(run.evaluate("first.safetensors")))
print(run.status, run.digest, sorted(set(run.scores["number"])))
""",
    )
    assert ended.code == 0, ended.err
    lines = [line for line in ended.out.splitlines() if not line.startswith(("site-", "run-"))]
    for line, rounds, split in zip(lines[:3], (3, 1, 1), ("", "test", ""), strict=True):
        plain = judged_loop([ROUND] * rounds, SITES, split=split)
        assert str(plain.sites[rounds]) == line
    assert f"finished {plain_loop([ROUND] * 3)} [1, 2, 3]" == lines[-1]


def test_another_process_scores_a_run_that_is_over_once_it_has_its_functions(
    tmp_path: Path,
) -> None:
    run = 'judging(name="py", rounds=2, evaluation={"at_end": False})'
    assert python(tmp_path, f"{JUDGED}\n{run}").code == 0
    ended = python(
        tmp_path,
        JUDGED
        + """
from tasuki import errors

try:
    tasuki.connect(data="data").run("py").evaluate()
except errors.SettingsError as exc:
    print(str(exc).rpartition("; ")[2])
run = judging(name="py", rounds=2, evaluation={"at_end": False}, resume=True)
print(said(run.evaluate("best", split="test")), len(run.turns))
""",
    )
    assert ended.code == 0, ended.err
    said = ended.out.splitlines()
    assert any('tasuki.simulate(train, ..., name="py", resume=True).evaluate(' in s for s in said)
    assert f"{judged_loop([ROUND] * 2, SITES, split='test').sites[2]} 6" == said[-1]


def test_what_cannot_be_scored_is_said(tmp_path: Path) -> None:
    """And who has said nothing beside those that did is not missed."""
    ended = python(
        tmp_path,
        JUDGED
        + """
from tasuki import errors

def told(call, **named):
    try:
        print(type(call(**named)).__name__)
    except errors.TasukiError as exc:
        print(type(exc).__name__, str(exc).replace("\\n", " | "))

under_way = simulate(rounds=500, name="under-way", wait=False)
next(each for each in under_way if each.what == "turn")
told(under_way.evaluate)
under_way.interrupt()
told(simulate(rounds=1, name="mute").evaluate)
told(tasuki.connect(data="data").run("mute").evaluate)
run = judging(rounds=1, evaluation={"at_end": False}, params={"broken": "site-1"})
told(run.evaluate, weights="first")
told(run.evaluate, weights=7)
told(run.evaluate, split="none")
told(run.evaluate)
""",
    )
    assert ended.code == 0, ended.err
    said = [line for line in ended.out.splitlines() if not line.startswith(("site-", "run-"))]
    expected = [
        "RunUnderWay under-way is not over: wait for it, or stop it first",
        "CannotEvaluate mute has no function that scores: give `simulate` one",
        "SettingsError the run file of mute is not known here",
        "SettingsError weights 'first': name best, latest, round-7",
        "UnknownRun run 'run-1' keeps no weights of round 7",
        "NoScores no site of run-1 has scored: | no score of round 1 on none by site-1: Trainer",
        "DataFrame",
    ]
    found = [line for line in said if line.startswith(tuple(e.split()[0] for e in expected))]
    assert len(expected) == len(found), said
    for begin, line in zip(expected, found, strict=True):
        assert line.startswith(begin)
    assert "no score of round 1 by site-1: TrainerRaised: ValueError: site-1 has no" in ended.err


def test_a_run_has_a_report(tmp_path: Path) -> None:
    ended = python(
        tmp_path,
        """
run = simulate(rounds=1)
print(run.report(), run.report("other.html"), tasuki.connect(data="data").run("run-1").report())
weights = next(Path("data/runs/run-1").glob("round-0001.safetensors"))
weights.write_bytes(weights.read_bytes()[:-1] + b"x")
run.report("broken.html")
""",
    )
    assert "report.html other.html report.html" == ended.out.splitlines()[-1], ended.err
    page = (tmp_path / "report.html").read_text()
    assert plain_loop([ROUND]) in page
    assert "The record is whole" in page
    assert "LedgerBroken: " in ended.err
    assert "The ledger does not hold" in (tmp_path / "broken.html").read_text()


def test_a_report_without_its_extra_says_what_to_install(tmp_path: Path) -> None:
    ended = python(
        tmp_path,
        """
run = simulate(rounds=1)
sys.modules["plotly.offline"] = None  # as if it were not installed
run.report()
""",
    )
    last = ended.err.splitlines()[-1]
    assert "SettingsError: a report's page needs plotly and jinja2, its CSV does not: " in last
    assert "[report]" in last
    assert not (tmp_path / "report.html").exists()


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
pause = {"flag": ".", "pause_s": 0.8}
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


def test_a_class_is_each_site_s_own_though_they_share_a_process(tmp_path: Path) -> None:
    ended = python(
        tmp_path,
        """
from enum import Enum

class Color(Enum):
    RED = 1

class Data:
    of = None

def own(turn):
    Data.of = Data.of or turn.site
    assert turn.site == Data.of
    assert Color(1) is Color.RED
    return train(turn)

print(simulate(own, order="fixed").status)
""",
    )
    assert ended.code == 0, ended.err
    assert "finished" == ended.out.splitlines()[-1]


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
