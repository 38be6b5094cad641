"""What a result must pass before it is handed on, beyond what is seen while it is written."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.requests import a_request
from tasuki.core.model import Task
from tasuki.errors import GateRejected, NonFiniteWeights
from tasuki.trainer import Result, State
from tasuki.weights.container import DTYPES
from tasuki_site import gate
from tasuki_site.gate import Candidate
from tasuki_site.tensors import load_state, save_state
from tasuki_site.trainer.result import Outcome, write_result

TASK = Task(trainer="t")
FLOATS = [
    getattr(torch, each.name)
    for each in DTYPES.values()
    if each.is_floating and hasattr(torch, each.name)
]


def turn(
    folder: Path, before: State, after: State, task: Task = TASK, *, is_difference: bool = False
) -> Outcome:
    """A turn's way through the gate, and the weights that came out of it."""
    save_state(folder / "received", before)
    result = Result(state=after, is_difference=is_difference)
    outcome = write_result(a_request(folder, non_finite=task.non_finite), result)
    gate.check(candidate(folder, outcome, task))
    return outcome


def candidate(folder: Path, outcome: Outcome, task: Task) -> Candidate:
    received, result = folder / "received", folder / "result"
    return Candidate(task=task, received=received, result=result, outcome=outcome)


# --- how far


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_every_type_of_float_counts_towards_the_limit(tmp_path: Path, dtype: torch.dtype) -> None:
    """From two ones to two fours: the root of 18, twice that of complex numbers of both parts."""
    before = {"w": torch.ones(2).to(dtype)}
    after = {"w": torch.full((2,), 4.0).to(dtype)}
    turn(tmp_path, before, after, replace(TASK, max_norm=4.25))
    with pytest.raises(GateRejected, match=r"moved the weights by 4\.243, over 4\.24"):
        turn(tmp_path, before, after, replace(TASK, max_norm=4.24))


def test_a_metric_that_is_missed_among_many_is_named_with_a_few(tmp_path: Path) -> None:
    save_state(tmp_path / "same", {"w": torch.ones(2)})
    outcome = Outcome(digest="", size=0, metrics={f"m{n}": 0.0 for n in range(1000)}, samples=0)
    same, task = tmp_path / "same", replace(TASK, requires=("loss",))
    with pytest.raises(
        GateRejected, match=r"no metric 'loss'.*it has m0, .*, \.\.\.: pass"
    ) as told:
        gate.check(Candidate(task=task, received=same, result=same, outcome=outcome))
    assert 300 > len(str(told.value))


def test_both_parts_of_a_complex_number_count(tmp_path: Path) -> None:
    before, after = {"w": torch.tensor([1 + 1j])}, {"w": torch.tensor([4 + 5j])}
    with pytest.raises(GateRejected, match="by 5, over 4"):
        turn(tmp_path, before, after, replace(TASK, max_norm=4))


def test_tensors_of_many_types_are_one_distance(tmp_path: Path) -> None:
    before = {
        "a": torch.zeros(1),
        "b": torch.zeros(1, dtype=torch.bfloat16),
        "c": torch.zeros(1).to(torch.float8_e4m3fn),
        "steps": torch.tensor(0),
    }
    after = {name: (value.float() + 2).to(value.dtype) for name, value in before.items()}
    after["steps"] = torch.tensor(1000)  # no weight
    with pytest.raises(GateRejected, match=r"by 3\.464, over 3"):
        turn(tmp_path, before, after, replace(TASK, max_norm=3))


def test_the_distance_is_that_of_all_blocks(tmp_path: Path) -> None:
    before = {"w": np.zeros(1_000_000, np.float32), "b": np.zeros(300_000, np.float16)}
    after = {"w": np.ones(1_000_000, np.float32), "b": np.ones(300_000, np.float16)}
    norm = math.sqrt(1_300_000)
    turn(tmp_path, before, after, replace(TASK, max_norm=norm * 1.0001))
    with pytest.raises(GateRejected):
        turn(tmp_path, before, after, replace(TASK, max_norm=norm * 0.9999))


def test_weights_of_another_tool_are_compared_by_name(tmp_path: Path) -> None:
    """Bug: the first was compared with the first, in whatever order a file had them."""
    header = b'{"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
    header += b'"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}'
    data = np.array([100, 1], "<f4").tobytes()
    (tmp_path / "received").write_bytes(len(header).to_bytes(8, "little") + header + data)
    task = replace(TASK, max_norm=0.5)
    state = load_state(tmp_path / "received", framework="numpy")
    outcome = write_result(a_request(tmp_path), Result(state=state))

    gate.check(candidate(tmp_path, outcome, task))


def test_infinities_are_no_distance(tmp_path: Path) -> None:
    """A mask that stays, and an observer that has seen its first batch."""
    inf = float("inf")
    before = {"mask": np.array([-inf, 0.0]), "min": np.array([inf, 1.0]), "w": np.zeros(1)}
    after = {"mask": np.array([-inf, 0.0]), "min": np.array([0.5, 1.0]), "w": np.ones(1)}
    turn(tmp_path, before, after, replace(TASK, max_norm=1.1))
    with pytest.raises(GateRejected, match=r"by 1, over 0\.9"):
        turn(tmp_path, before, after, replace(TASK, max_norm=0.9))


def test_a_distance_that_no_number_holds_is_over_every_limit(tmp_path: Path) -> None:
    before, after = {"w": np.array([-1.5e308])}, {"w": np.array([1.5e308])}
    with pytest.raises(GateRejected, match="by inf, over 1e"):
        turn(tmp_path, before, after, replace(TASK, max_norm=1e300))


# --- what is not finite


def test_a_result_may_hold_the_infinities_that_it_received(tmp_path: Path) -> None:
    mask = torch.full((3, 3), float("-inf")).triu(1)
    turn(tmp_path, {"mask": mask, "w": torch.ones(1)}, {"mask": mask, "w": torch.zeros(1)})
    with pytest.raises(NonFiniteWeights, match="'mask' holds Inf where there was none"):
        turn(tmp_path, {"mask": mask}, {"mask": mask.T})
    with pytest.raises(NonFiniteWeights, match="'mask' holds NaN"):
        turn(tmp_path, {"mask": mask}, {"mask": mask * 0})


def test_a_mask_less_itself_is_no_difference(tmp_path: Path) -> None:
    mask = torch.full((3, 3), float("-inf")).triu(1)
    before = {"mask": mask, "w": torch.ones(1)}
    change = {"mask": mask - mask, "w": torch.ones(1)}
    turn(tmp_path, before, change, is_difference=True)
    assert torch.equal(mask, load_state(tmp_path / "result", framework="torch")["mask"])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_tensor_that_the_run_names_may_become_anything(tmp_path: Path, value: float) -> None:
    task = replace(TASK, non_finite=("*.scale",), max_norm=1.0)
    after: dict[str, Any] = {"net.scale": torch.tensor([value]), "w": torch.ones(1)}
    turn(tmp_path, {"net.scale": torch.ones(1), "w": torch.ones(1)}, after, task)
    after["w"] = torch.tensor([value])
    with pytest.raises(NonFiniteWeights, match="'w' holds"):
        turn(tmp_path, {"net.scale": torch.ones(1), "w": torch.ones(1)}, after, task)


def test_a_fresh_observer_of_quantisation_aware_training_passes(tmp_path: Path) -> None:
    """It begins at +inf and -inf, and stays there at a site that has no batch for it."""
    fresh = {"min_val": torch.tensor(float("inf")), "max_val": torch.tensor(float("-inf"))}
    seen = {"min_val": torch.tensor(-1.0), "max_val": torch.tensor(2.0)}
    turn(tmp_path, fresh, fresh)
    turn(tmp_path, fresh, seen)
    with pytest.raises(NonFiniteWeights):
        turn(tmp_path, seen, fresh)
    with pytest.raises(NonFiniteWeights):
        turn(tmp_path, fresh, {"min_val": fresh["max_val"], "max_val": fresh["min_val"]})
