"""`run:...` names the weights of another run, and nothing else does."""

from __future__ import annotations

import pytest

from tasuki.settings.initial import RunWeights, of_run

NAMED = {
    "run:first": RunWeights(run="first"),
    "run:first/latest": RunWeights(run="first"),
    "run:first/best": RunWeights(run="first", is_best=True),
    "run:first/round-7": RunWeights(run="first", round=7),
    "run:first/round-0": RunWeights(run="first", round=0),
}


@pytest.mark.parametrize("initial", NAMED)
def test_a_run_is_named_with_its_round_or_its_best(initial: str) -> None:
    assert NAMED[initial] == of_run(initial)


@pytest.mark.parametrize("initial", ["net:Net", "run.safetensors", "runs:first", "a/run:b", ""])
def test_what_does_not_begin_so_is_no_run(initial: str) -> None:
    assert of_run(initial) is None


@pytest.mark.parametrize(
    "which", ["/", "/round-", "/round-x", "/round--1", "/Best", "/best/", "/7"]
)
def test_weights_that_no_run_has_are_refused_with_those_that_one_can_name(which: str) -> None:
    with pytest.raises(ValueError, match='"/best", "/latest" or "/round-7"'):
        of_run(f"run:first{which}")


@pytest.mark.parametrize("initial", ["run:Net", "run:", "run:../x", "run:/best"])
def test_a_name_that_no_run_can_have_is_refused_with_what_else_it_may_be(initial: str) -> None:
    with pytest.raises(ValueError, match=r"a module run\.py with a factory needs another name"):
        of_run(initial)
