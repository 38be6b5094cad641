"""A small deterministic trainer with no torch: a seeded random walk, and every way to go wrong."""

from __future__ import annotations

import json
import os
import resource
import signal
import threading
import time
from pathlib import Path

import numpy as np

from tasuki import Result, Scores, Turn


def make() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"w": rng.normal(size=(64, 32)).astype("float32"), "n": np.array(0)}


def make_large() -> dict[str, np.ndarray]:
    return {"w": np.zeros((512, 1024), "float32"), "n": np.array(0)}


def make_complex() -> dict[str, np.ndarray]:
    return {**make(), "phase": np.zeros(3, "complex64")}


def walk(state: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    noise = np.random.default_rng(seed).normal(size=state["w"].shape).astype("float32")
    return {"w": state["w"] * np.float32(0.9) + noise, "n": state["n"] + 1}


def stamp(turn: Turn, what: str) -> None:
    """Leaves a line for the test, which reads when and how often each turn was trained."""
    if not turn.params.get("stamps"):
        return
    named = {"run": turn.run, "site": turn.site, "round": turn.round, "hop": turn.hop}
    line = {
        "what": what,
        **named,
        "lane": turn.lane,
        "term": turn.term,
        "at": time.monotonic(),
        "pid": os.getpid(),
    }
    with (Path(str(turn.params["flag"])) / "stamps").open("a") as stamps:
        stamps.write(json.dumps(line) + "\n")


def hold(turn: Turn) -> None:
    """Goes on when the test says so: once there is the file that is named for this site."""
    name = turn.params.get("hold", {}).get(turn.site)
    if turn.round not in turn.params.get("hold_in", [turn.round]):
        return
    while name and not (Path(str(turn.params["flag"])) / name).exists():
        threading.Event().wait(0.02)


def train(turn: Turn) -> Result:
    stamp(turn, "start")
    state = walk(turn.weights("numpy"), turn.seed)
    hold(turn)
    if pause := turn.params.get("pause_s"):
        threading.Event().wait(pause)  # a turn that takes its time, so that a fault can hit it
    turn.log(step=turn.round, loss=float(np.abs(state["w"]).mean()))
    stamp(turn, "end")
    return turn.result(state, metrics={"accuracy": float(state["n"])}, samples=8)


def evaluate(turn: Turn) -> Scores:
    """Says how often the weights were trained, and what they are made of."""
    stamp(turn, "score")
    state = turn.weights("numpy")
    hold(turn)
    turn.log(scored=1)
    mean = float(np.abs(state["w"]).mean())
    return turn.scores({"accuracy": float(state["n"]), "mean": mean}, samples=8)


def judged(
    state: dict[str, np.ndarray], site: str, split: str = ""
) -> tuple[dict[str, float], int]:
    """What a site says of weights on its own data, and on how much: no two say the same."""
    place = int(site[-1]) + (10 if split == "test" else 0)
    return {"accuracy": float(np.abs(state["w"][place]).mean())}, 3 * place + 1


def judge(turn: Turn) -> Scores:
    """As `judged`, once the test lets it; it says when it is at it, and may be told to fail."""
    stamp(turn, "score")
    state = turn.weights("numpy")
    turn.log(scored=1)
    asked = turn.params.get("hold_scores", {}).get(turn.site)
    while asked and not (Path(str(turn.params["flag"])) / asked).exists():
        threading.Event().wait(0.02)
    if turn.params.get("broken") == turn.site:
        raise ValueError(f"{turn.site} has no data to judge by")
    if turn.split not in {"", "test"}:
        raise ValueError(f"there is no split {turn.split!r} at {turn.site}: it has test")
    metrics, samples = judged(state, turn.site, turn.split)
    return turn.scores(metrics, samples=samples)


def judge_in_place(turn: Turn) -> Scores:
    """As `judge`, and spoils the weights that it was given."""
    scores = judge(turn)
    turn.weights("numpy")["w"][:] = 0
    return scores


def judge_nan(turn: Turn) -> Scores:
    return turn.scores({"accuracy": float("nan")}, samples=1)


def judge_by_training(turn: Turn) -> Result:
    return train(turn)


def once(turn: Turn, what: str) -> bool:
    """True the first time that this fault is asked for, at the run's second turn."""
    flag = Path(str(turn.params["flag"])) / what
    if (turn.round, turn.hop) != (0, 1) or flag.exists():
        return False
    flag.touch()
    return True


def raise_once(turn: Turn) -> Result:
    if once(turn, "raised"):
        raise RuntimeError("the scanner is on fire")
    return train(turn)


def die_once(turn: Turn) -> Result:
    if once(turn, "died"):
        os.kill(os.getpid(), signal.SIGKILL)
    return train(turn)


def full_disk_once(turn: Turn) -> Result:
    """A limit of the file size stands in for a full disk, when the result is written."""
    if once(turn, "full"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    return train(turn)


def own_file_fills_the_disk_once(turn: Turn) -> Result:
    if once(turn, "full"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        (Path(str(turn.params["flag"])) / "mine.bin").write_bytes(bytes(8192))
    return train(turn)


def always_raise(turn: Turn) -> Result:
    raise RuntimeError("the scanner is on fire")


def always_die(turn: Turn) -> Result:
    os.kill(os.getpid(), signal.SIGKILL)
    return train(turn)


def nan(turn: Turn) -> Result:
    state = walk(turn.weights("numpy"), turn.seed)
    state["w"][3, 4] = np.nan
    return turn.result(state, metrics={"accuracy": 0.0})


def infinite(turn: Turn) -> Result:
    state = walk(turn.weights("numpy"), turn.seed)
    state["w"][3, 4] = np.inf
    return turn.result(state, metrics={"accuracy": 0.0})


def wrong_shape(turn: Turn) -> Result:
    state = turn.weights("numpy")
    return turn.result({**state, "w": state["w"].T.copy()}, metrics={"accuracy": 0.0})


def wrong_dtype(turn: Turn) -> Result:
    state = turn.weights("numpy")
    return turn.result({**state, "w": state["w"].astype("float64")}, metrics={"accuracy": 0.0})


def missing_tensor(turn: Turn) -> Result:
    state = turn.weights("numpy")
    return turn.result({"w": state["w"]}, metrics={"accuracy": 0.0})


def extra_tensor(turn: Turn) -> Result:
    state = turn.weights("numpy")
    return turn.result({**state, "extra": state["w"]}, metrics={"accuracy": 0.0})


def prefixed_names(turn: Turn) -> Result:
    state = walk(turn.weights("numpy"), turn.seed)
    named = {f"_orig_mod.{name}": value for name, value in state.items()}
    return turn.result(named, metrics={"accuracy": 0.0})


def masked_array(turn: Turn) -> Result:
    state = walk(turn.weights("numpy"), turn.seed)
    masked = np.ma.masked_less(state["w"], 0)
    return turn.result({**state, "w": masked}, metrics={"accuracy": 0.0})


def list_of_metrics(turn: Turn) -> Result:
    return turn.result(walk(turn.weights("numpy"), turn.seed), metrics={"accuracy": [0.1, 0.2]})  # type: ignore[dict-item]


def train_with_others(turn: Turn) -> Result:
    """In a lane of several: no two sites have as many samples, and the counter says too little."""
    result = train(turn)
    weighed = int(turn.params.get("samples", {}).get(turn.site, place_of(turn.site)))
    told = {"accuracy": float(result.state["n"]), "merged": float(turn.merged)}
    return turn.result(result.state, metrics=told, samples=weighed)


def place_of(site: str) -> int:
    return int(site.rpartition("-")[2])


def judge_merged(turn: Turn) -> Scores:
    """Says whether it was told that several lanes were made one, and by which weights."""
    mean = float(np.abs(turn.weights("numpy")["w"]).mean())
    return turn.scores({"accuracy": mean, "merged": float(turn.merged)}, samples=1)


def judge_first(turn: Turn) -> Result:
    """Says what the weights that it received are worth beside what it makes of them."""
    received = {"received_accuracy": float(turn.weights("numpy")["n"])}
    result = train(turn)
    samples = int(turn.site[-1])
    return turn.result(result.state, metrics={**received, **result.metrics}, samples=samples)


def nan_among_metrics(turn: Turn) -> Result:
    turn.log(loss=float("nan"))
    state = walk(turn.weights("numpy"), turn.seed)
    return turn.result(state, metrics={"accuracy": float(state["n"]), "auc": float("nan")})


def half_a_step(turn: Turn) -> Result:
    return turn.difference({"n": np.array(0.5)}, metrics={"accuracy": 0.0})


def a_step(turn: Turn) -> Result:
    """As a script sends it that takes every difference in floats."""
    before = turn.weights("numpy")
    after = walk(before, turn.seed)
    change = {name: after[name] - before[name].astype(float) for name in before}
    return turn.difference(change, metrics={"accuracy": float(after["n"])})


MASK = np.triu(np.full((4, 4), -np.inf, "float32"), 1)


def make_masked() -> dict[str, np.ndarray]:
    return {**make(), "mask": MASK}


def make_nan() -> dict[str, np.ndarray]:
    return {**make(), "mask": MASK * 0}


def keep_mask(turn: Turn) -> Result:
    received = turn.weights("numpy")
    assert list(received) == ["w", "n", "mask"]
    state = {"mask": received["mask"], **walk(received, turn.seed)}
    return turn.result(state, metrics={"accuracy": float(state["n"])})


def spread_mask(turn: Turn) -> Result:
    received = turn.weights("numpy")
    state = {"mask": received["mask"].T.copy(), **walk(received, turn.seed)}
    return turn.result(state, metrics={"accuracy": 0.0})


def no_metrics(turn: Turn) -> Result:
    return turn.result(walk(turn.weights("numpy"), turn.seed))


def nothing(turn: Turn) -> None:
    return None


def talk_for_ever(turn: Turn) -> Result:
    """Logs each step under a name of its own, until the site has told of a few of them."""
    for step in range(600):
        turn.log(**{f"loss of step {step}": 1.0})
        if step % 100 == 99:
            threading.Event().wait(0.3)
    return train(turn)


FILLING = {f"{n:0100}": 1.0 for n in range(15_000)}


def many_metrics(turn: Turn) -> Result:
    """More than a message holds."""
    return turn.result(
        walk(turn.weights("numpy"), turn.seed), metrics={f"{n:0100}": 1.0 for n in range(50_000)}
    )


def large_record(turn: Turn) -> Result:
    """Two of these fit into a message, and a third does not."""
    result = train(turn)
    return turn.result(result.state, metrics={**result.metrics, **FILLING}, samples=8)


def half_a_sample(turn: Turn) -> Result:
    return turn.result(walk(turn.weights("numpy"), turn.seed), samples=7.5)  # type: ignore[arg-type]


def many_scores(turn: Turn) -> Scores:
    """More than a message holds."""
    return turn.scores({f"{n:0100}": 1.0 for n in range(50_000)})


IN_WEIGHTS, IN_TENSORS, IN_METRICS, IN_ERRORS, IN_LOGS = MARKS = (
    "mark-of-weights",
    "mark-of-tensors",
    "mark-of-metrics",
    "mark-of-errors",
    "mark-of-logs",
)
"""What nobody may read who has no key for it."""


def make_marked() -> dict[str, np.ndarray]:
    return {**make(), IN_TENSORS: np.frombuffer(IN_WEIGHTS.encode() * 8, "uint8").copy()}


def train_marked(turn: Turn) -> Result:
    if once(turn, "raised"):
        raise RuntimeError(f"{IN_ERRORS}: the scanner is on fire")
    turn.log(**{IN_LOGS: 1.0})
    result = train(turn)
    state = {**turn.weights("numpy"), **result.state}
    return turn.result(state, metrics={**result.metrics, IN_METRICS: 1.0}, samples=8)
