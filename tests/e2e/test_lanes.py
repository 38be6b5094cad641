"""Several models at once: the weights are those of a plain loop, whatever happens on the way."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.judged import evaluate
from support.plain import digest_of, plain_loop
from support.plain_lanes import Planned, plain_lanes
from support.python import python
from support.simulation import Outcome, command, environment, simulate, tasuki, write_run
from support.waiting import wait_until
from tasuki import errors
from tasuki.testing.faults import VARIABLE

SITES = ("site-1", "site-2", "site-3", "site-4")
SAMPLES = {site: number for number, site in enumerate(SITES, start=1)}
WITHOUT_LAST = "random_without_same_in_a_row"


def written(
    folder: Path,
    planned: Planned,
    *tables: str,
    lanes: str = "",
    **changes: Any,  # Any: settings
) -> Path:
    """A run file that says so, with the test trainer of uneven samples."""
    policy = isinstance(planned.order, str)
    said = [f"count = {planned.count}", f'cover = "{planned.cover}"'] if policy else []
    said += [f'merge = "{planned.merge}"', f"every_n_rounds = {planned.every}", lanes]
    settings = {
        "order": json.dumps(planned.order),
        "rounds": planned.rounds,
        "sites": len(planned.sites),
        "trainer": "train_with_others",
    }
    bottom = "\n".join([changes.pop("simulated", ""), *tables, "[lanes]", *said])
    if planned.count > 1 and "every_n_rounds" not in "".join(tables):
        settings["best"] = ""  # turns choose none
    return write_run(folder, **{**settings, "bottom": bottom, **changes})


def ends_as(
    ended: Outcome, planned: Planned, *, samples: Mapping[str, int] = SAMPLES, **how: Any
) -> None:  # Any: as `plain_lanes` takes it
    assert ended.code == 0, ended.err
    assert "finished" == ended.last["status"]
    expected = plain_lanes(planned, samples, **how)
    assert digest_of(expected[planned.rounds]) == ended.last["digest"]


def stamps(folder: Path, what: str) -> list[dict[str, Any]]:  # Any: JSON
    path = folder / "stamps"
    lines = path.read_text().splitlines() if path.exists() else []
    return [stamp for stamp in map(json.loads, lines) if stamp["what"] == what]


ON_THE_WAY = [
    Planned(sites=SITES, count=2),
    Planned(sites=SITES, count=3, order="random", merge="equal"),
    Planned(sites=SITES, count=4, order=WITHOUT_LAST),
    Planned(sites=SITES, count=3, cover="all", order=WITHOUT_LAST, every=2, rounds=5),
    Planned(sites=SITES, count=4, cover="all", order="random", merge="equal", rounds=2),
    Planned(sites=SITES, count=2, order=[["site-3", "site-1"], ["site-4"]], every=3, rounds=4),
]


@pytest.mark.parametrize("planned", ON_THE_WAY, ids=repr)
def test_the_final_weights_are_those_of_a_plain_loop(tmp_path: Path, planned: Planned) -> None:
    ended = simulate(written(tmp_path, planned), "--one-process")
    ends_as(ended, planned)


def test_every_site_in_a_process_of_its_own_changes_nothing(tmp_path: Path) -> None:
    planned = Planned(sites=SITES, count=2, cover="all", order="random", rounds=2)
    ends_as(simulate(written(tmp_path, planned), "--processes"), planned)


def test_a_script_says_it_as_a_run_file_does(tmp_path: Path) -> None:
    lanes = [["site-3", "site-1"], ["site-2"]]
    planned = Planned(sites=SITES[:3], count=2, order=lanes, merge="equal", rounds=2)
    settings = (
        f'order={list(map(tuple, lanes))}, lanes={{"merge": "equal"}}, rounds=2, checkpoint={{}}'
    )
    ended = python(tmp_path, f"print(simulate(train_with_others, {settings}).digest)")
    assert ended.code == 0, ended.err
    assert digest_of(plain_lanes(planned, SAMPLES)[2]) == ended.out.splitlines()[-1]


def test_one_lane_is_cyclic_weight_transfer_as_it_was(tmp_path: Path) -> None:
    planned = Planned(sites=SITES, count=1, every=2, merge="equal")
    ended = simulate(written(tmp_path, planned), "--one-process")
    assert ended.code == 0, ended.err
    assert plain_loop([SITES] * 3) == ended.last["digest"]
    kept = json.loads((tmp_path / "data/runs/walk/round-0003.json").read_text())
    assert "merged" not in kept
    assert 3 == len(list((tmp_path / "data/runs/walk").glob("round-000[1-3].json")))


def test_a_lane_without_samples_counts_for_nothing_unless_all_are_without(tmp_path: Path) -> None:
    for name, samples in (("one", {**SAMPLES, "site-1": 0}), ("all", dict.fromkeys(SITES, 0))):
        folder = tmp_path / name
        folder.mkdir()
        planned = Planned(sites=SITES, count=4, rounds=2)
        told = ", ".join(f"{site} = {number}" for site, number in samples.items())
        run = written(folder, planned, params=f"samples = {{ {told} }}")
        ends_as(simulate(run, "--one-process"), planned, samples=samples)


def test_a_turn_takes_as_long_as_it_trains_however_long_it_waited_for_a_process(
    tmp_path: Path,
) -> None:
    planned = Planned(sites=SITES, count=4, rounds=1)
    said = written(tmp_path, planned, lanes="wait_s = 60", pause_s=0.4, trainer="train")
    ended = simulate(said, "--one-process")
    assert ended.code == 0, ended.err
    turns = tasuki("turns", "walk", "--data", tmp_path / "data", "--json").last["turns"]
    assert 4 == len(turns)
    assert sum(turn["seconds"] for turn in turns) <= ended.last["wall_s"]
    assert min(turn["seconds"] for turn in turns) >= 0.4
    assert "wait_s counts also how long turns wait for one of 1 process" in ended.err


def test_checkpoints_are_of_the_rounds_that_all_lanes_are_one_after(tmp_path: Path) -> None:
    planned = Planned(sites=SITES, count=2, every=2, rounds=5)
    ended = simulate(written(tmp_path, planned), "--one-process")
    expected = plain_lanes(planned, SAMPLES)
    ends_as(ended, planned)
    kept = {
        int(path.stem[-4:]): json.loads(path.read_text())
        for path in (tmp_path / "data/runs/walk").glob("round-*.json")
    }
    assert {0, 2, 4, 5} == kept.keys()
    for number in (2, 4, 5):
        assert digest_of(expected[number]) == kept[number]["digest"]
    # Lane 0 has sites 1 and 3, lane 1 has 2 and 4, for two rounds.
    assert [(0, 8), (1, 12)] == [(each["lane"], each["samples"]) for each in kept[4]["merged"]]
    assert not list((tmp_path / "data/runs/walk").glob("held/*"))


def test_a_trainer_knows_of_weights_that_were_just_merged(tmp_path: Path) -> None:
    planned = Planned(sites=SITES, count=2, every=2, rounds=4)
    simulate(written(tmp_path, planned), "--one-process")
    turns = tasuki("turns", "walk", "--data", tmp_path / "data", "--json").last["turns"]
    assert [
        (turn["round"], turn["turn"]) == (3, 1)  # the first after the merge of round 2
        for turn in turns
    ] == [bool(turn["metrics"]["merged"]) for turn in turns]
    assert 16 == len(turns)


def test_all_sites_score_what_all_lanes_were_made_one_of(tmp_path: Path) -> None:
    planned = Planned(sites=SITES, count=2, every=2, rounds=5)
    run = written(
        tmp_path, planned, evaluate(every_n_rounds=2), simulated='evaluate = "walk:judge_merged"'
    )
    ended = simulate(run, "--one-process")
    ends_as(ended, planned)
    scores = tasuki("scores", "walk", "--data", tmp_path / "data", "--json").last["evaluated"]
    found = {of["metric"]: {row["round"]: row for row in of["rows"]} for of in scores}
    expected = plain_lanes(planned, SAMPLES)
    means = {number: float(np.abs(state["w"]).mean()) for number, state in expected.items()}
    assert {2, 4, 5} == means.keys()
    for number, mean in means.items():
        said = {score["site"]: score["value"] for score in found["accuracy"][number]["sites"]}
        assert dict.fromkeys(SITES, mean) == said
        merged = [score["value"] for score in found["merged"][number]["sites"]]
        assert [1.0] * 4 == merged
    assert max(means, key=lambda number: means[number]) == ended.last["best_round"]["round"]


@pytest.mark.parametrize(
    "moment",
    [
        "merge.begun kill round=1",
        "merge.written kill round=1",
        "weights.collected kill lane=1 round=2",
        "checkpoint.saved kill round=2",
        "ledger.appended kill lane=1 round=2 hop=1",
    ],
)
def test_a_simulation_killed_around_a_merge_goes_on_to_the_same_weights(
    tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Round 2 (from 0) begins from what a merge made, and the next merge is after round 3."""
    planned = Planned(sites=SITES, count=2, order="random", every=2, rounds=4)
    run = written(tmp_path, planned)
    script = tmp_path / "script"
    script.write_text(f"controller {moment}\n")
    monkeypatch.setenv(VARIABLE, str(script))
    assert -signal.SIGKILL == simulate(run, "--one-process").code
    ends_as(simulate(run, "--one-process", "--resume"), planned)
    verified = tasuki("ledger", "walk", "--verify", "--data", tmp_path / "data")
    assert 0 == verified.code, verified.err


@pytest.mark.parametrize(
    ("every", "number", "merged"), [(1, 2, [(1, 6)]), (2, 1, [(0, 4), (1, 12)])]
)
def test_a_round_goes_on_without_a_lane_that_is_late_and_shows_that(
    tmp_path: Path, every: int, number: int, merged: list[tuple[int, int]]
) -> None:
    """Site 3 holds its lane up: what site 1 did in it before is void as well."""
    planned = Planned(sites=SITES, count=2, every=every)
    params = f'hold = {{ site-3 = "never" }}\nhold_in = [{number - 1}]'
    run = written(tmp_path, planned, lanes="wait_s = 8", params=params)
    ended = simulate(run, "--processes")
    ends_as(ended, planned, late=lambda round, lane: (round + 1, lane) == (number, 0))
    assert (10, 2, []) == tuple(ended.last[key] for key in ("turns", "skipped", "left_out"))
    turns = tasuki("turns", "walk", "--data", tmp_path / "data", "--json").last["turns"]
    skipped = {(turn["round"], turn["site"], turn["skipped"]) for turn in turns if turn["skipped"]}
    assert {(number, "site-1", "late"), (number, "site-3", "late")} == skipped
    assert 12 == len(turns)
    kept = json.loads((tmp_path / "data/runs/walk/round-0002.json").read_text())
    assert merged == [(each["lane"], each["samples"]) for each in kept["merged"]]


def test_lanes_are_trained_at_once_where_there_are_processes_for_it(tmp_path: Path) -> None:
    """None of them ends its turn before all have begun."""
    planned = Planned(sites=SITES, count=4, rounds=2)
    holds = ", ".join(f'{site} = "go"' for site in SITES)
    params = f"stamps = 1\nhold = {{ {holds} }}"
    run = written(tmp_path, planned, simulated="processes = 4", params=params)
    words = command("simulate", run, "--data", tmp_path / "data", "--json")
    simulated = subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, text=True)
    try:
        at_work = partial(_at_work, tmp_path, set(SITES))
        wait_until(at_work, what="all sites train", within_s=60)
        (tmp_path / "go").touch()
        told, _ = simulated.communicate(timeout=60)
    finally:
        simulated.kill()
    ends_as(Outcome(simulated.returncode, told, ""), planned)
    assert 4 == len({stamp["pid"] for stamp in stamps(tmp_path, "start")})


def _at_work(folder: Path, sites: set[str]) -> bool:
    return sites == {stamp["site"] for stamp in stamps(folder, "start")}


def test_in_one_process_lanes_are_trained_one_after_the_other_and_no_lease_runs_out(
    tmp_path: Path,
) -> None:
    """A turn waits for others for longer than its lease, in the one process that stays."""
    planned = Planned(sites=SITES, count=4, cover="all", order="random", rounds=1)
    run = written(
        tmp_path, planned, failure="lease_s = 2", params="stamps = 1", pause_s=0.25, attempts=1
    )
    ends_as(simulate(run), planned)
    begun, done = stamps(tmp_path, "start"), stamps(tmp_path, "end")
    assert (16, 16) == (len(begun), len(done))
    assert all(end["at"] <= after["at"] for end, after in zip(done, begun[1:], strict=False))
    assert 1 == len({stamp["pid"] for stamp in begun})
    rows = tasuki("ledger", "walk", "--data", tmp_path / "data", "--json").last["rows"]
    assert not [row for row in rows if row["event"] == "LeaseExpired"]


def test_a_run_goes_on_with_the_lanes_that_it_began_with(tmp_path: Path) -> None:
    planned = Planned(sites=SITES, count=2, rounds=1)
    run = written(tmp_path, planned)
    assert 0 == simulate(run, "--one-process").code
    ends_as(
        simulate(run, "--one-process", "--resume", "--rounds", "3"),
        Planned(sites=SITES, count=2, rounds=3),
    )
    run.write_text(run.read_text().replace("count = 2", "count = 3"))
    other = simulate(run, "--one-process", "--resume", "--rounds", "3")
    assert errors.RunExists.exit_code == other.code
    assert "was started with other settings" in other.err
