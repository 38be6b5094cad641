"""Tests of the tests: break a promise by hand, and the suite must turn red.

Each mutation takes one check out of a copy of the package and runs the tests that are there for
it. Tests that stay green without the check would not notice if somebody removed it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from support.mutations import ALL_GREEN, SOME_RED, Mutation, mutated, outcome

FENCING = Mutation(
    file="core/relay/machine.py",
    text="if record.id.term != expected.term or state.phase is not Phase.OUT:",
    becomes="if state.phase is not Phase.OUT:",
    tests="unit/core/test_run.py",
)
MUTATIONS = {
    "a result of an old term is accepted": FENCING,
    "a result of another site is accepted": Mutation(
        file="core/relay/machine.py",
        text="if record.site != state.itinerary[record.id.hop]:",
        becomes="if False:",
        tests="unit/core/test_run.py",
    ),
    "a site takes a turn of a fenced term": Mutation(
        file="core/turn/machine.py",
        text="if turn.id.term < state.fenced.get(lane, 0):",
        becomes="if False:",
        tests="unit/core/test_turn.py",
    ),
    "a result that was given up stays on record as sent": Mutation(
        file="core/turn/machine.py",
        text="phase=Phase.DONE, record=None))",
        becomes="phase=Phase.DONE))",
        tests="unit/core/test_turn.py",
    ),
    "what was evaluated is handed over": Mutation(
        file="core/turn/machine.py",
        text="if held.turn.kind is Kind.EVALUATE:",
        becomes="if False:",
        tests="unit/core/test_turn.py",
    ),
    "a score of another site is accepted": Mutation(
        file="core/relay/machine.py",
        text="if record.site != state.itinerary[record.id.hop]:",
        becomes="if False:",
        tests="unit/core/test_evaluation.py",
    ),
    "a score of other weights is accepted": Mutation(
        file="core/relay/machine.py",
        text="if record.kind is Kind.EVALUATE and record.sent != state.weights:",
        becomes="if False:",
        tests="unit/core/test_evaluation.py",
    ),
    "a turn that trained is accepted as a score": Mutation(
        file="core/relay/machine.py",
        text="if record.kind is not state.kind:",
        becomes="if False:",
        tests="unit/core/test_evaluation.py",
    ),
    "an evaluation never closes when a site is silent": Mutation(
        file="core/run/evaluation.py",
        text="on_silent=OnSilent.SKIP",
        becomes="on_silent=OnSilent.WAIT",
        tests="unit/core/test_evaluation.py",
    ),
    "a mean depends on who has scored first": Mutation(
        file="core/run/scoring.py",
        text="key=lambda record: record.id.lane)",
        becomes="key=lambda record: 0)",
        tests="unit/core/test_evaluation.py",
    ),
    "what a site says after it was left out of an evaluation is not void": Mutation(
        file="core/run/evaluation.py",
        text="relay, fence = one_site.step(evaluation.relays[left_out.site], TakenBack())",
        becomes="relay, fence = evaluation.relays[left_out.site], ()",
        tests="unit/core/test_evaluation.py",
    ),
    "a site that is to score ends a round": Mutation(
        file="core/run/reports.py",
        text="case RoundDone() if report.id.lane >= EVALUATION:",
        becomes="case RoundDone() if False:",
        tests="unit/core/test_evaluation.py",
    ),
    "a score is accepted from another site's history": Mutation(
        file="core/run/reports.py",
        text="if id.lane != report.id.lane:",
        becomes="if False:",
        tests="unit/core/test_evaluation.py",
    ),
    "a run that evaluates has a best round by rolling scores": Mutation(
        file="core/run/judging.py",
        text="if checkpoint.best and is_evaluated(checkpoint.best, plan.evaluate) is",
        becomes="if checkpoint.best or",
        tests="unit/core/test_judging.py",
    ),
    "what was called off judges a round": Mutation(
        file="core/run/scoring.py",
        text="and not evaluation.is_called_off:",
        becomes=":",
        tests="unit/core/test_evaluation.py",
    ),
    "weights that have to be sealed and are not are taken": Mutation(
        file="weights/receiver.py",
        text="self._seals.check_plain(sender)",
        becomes="pass",
        tests="unit/weights/test_sealed.py",
    ),
    "nobody has to have signed a seal": Mutation(
        file="trust/member.py",
        text="self._check(signed, sender=sender)\n        if (found.transfer",
        becomes="if (found.transfer",
        tests="unit/weights/test_sealed.py",
    ),
    "a sealed piece may stand anywhere": Mutation(
        file="trust/sealing.py",
        text='struct.pack(">QB3x", at, is_last)',
        becomes='struct.pack(">QB3x", 0, is_last)',
        tests="unit/weights/test_sealed.py",
    ),
    "a sealed piece of any sender is unsealed": Mutation(
        file="weights/seals.py",
        text="name = (sender, piece.transfer)",
        becomes='name = ("", piece.transfer)',
        tests="unit/weights/test_sealed.py",
    ),
    "what a late lane was trained on counts": Mutation(
        file="core/run/lanes.py",
        text="relay, records = lane.relay, lane.records\n    if lane.is_late:",
        becomes="relay, records = lane.relay, lane.relay.records\n    if False:",
        tests="unit/core/test_lanes.py",
    ),
    "a lane is twice in a merge": Mutation(
        file="core/run/lanes.py",
        text="for lane in lanes\n        if lane.turns",
        becomes="for lane in (*lanes, *lanes[:1])\n        if lane.turns",
        tests="unit/core/test_lanes.py",
    ),
    "weights that arrived for another lane are accepted": Mutation(
        file="core/run/machine.py",
        text="and not lane.is_in\n        for lane in known",
        becomes="and not lane.is_in\n        for lane in state.lanes",
        tests="unit/core/test_lanes.py",
    ),
    "a merge of another round is accepted": Mutation(
        file="core/run/machine.py",
        text="WeightsMerged(done=done, weights=weights) if done == state.done:",
        becomes="WeightsMerged(done=done, weights=weights):",
        tests="unit/core/test_lanes.py",
    ),
    "turns of a late lane are not skipped visibly": Mutation(
        file="core/run/machine.py",
        text="site=site, reason=LATE, lane=number)\n            for hop",
        becomes="site=site, reason=LATE)\n            for hop",
        tests="unit/core/test_lanes.py",
    ),
    "a lane goes on though its run waits for sites": Mutation(
        file="core/run/machine.py",
        text="state, fences = _taken_back(state, others, is_blamed=False)",
        becomes="fences = ()",
        tests="unit/core/test_lanes.py",
    ),
    "an answer may be overdue for ever": Mutation(
        file="transport/amqp/answers.py",
        text="if now - debt.since >= debt.limit_s]",
        becomes="if False]",
        tests="unit/transport/test_answers.py",
    ),
    "a fenced result is sent on": Mutation(
        file="core/turn/machine.py",
        text="if held.record is not None:\n                effects.append(AbortHandOver(",
        becomes="if False:\n                effects.append(AbortHandOver(",
        tests="unit/core/test_turn.py",
    ),
    "a turn that stands still is kept alive by its site's being alive": Mutation(
        file="core/relay/lease.py",
        text="moved_at=now - still_s",
        becomes="moved_at=now",
        tests="unit/core/test_lease.py",
    ),
    "a silence that is not ours is excused": Mutation(
        file="core/relay/lease.py",
        text="is_news = hears_since is None or now - hears_since < lease.lease_s",
        becomes="is_news = True",
        tests="unit/core/test_lease.py",
    ),
    "a report from the wrong site is judged": Mutation(
        file="core/run/reports.py",
        text="if sender != report.site:",
        becomes="if False:",
        tests="unit/core/test_reports.py",
    ),
    "wrong bytes are accepted": Mutation(
        file="weights/spool.py",
        text="if growing.hasher.digest() != weights.digest:",
        becomes="if False:",
        tests="unit/weights/test_spool.py",
    ),
    "a changed row is accepted": Mutation(
        file="ledger/sqlite.py",
        text="if row.hash != _hash_of(row, previous):",
        becomes="if False:",
        tests="unit/ledger/test_ledger.py",
    ),
    "a follower forgets its position": Mutation(
        file="ledger/sqlite.py",
        text="REPLACE INTO followers VALUES (?, ?)",
        becomes="SELECT ?, ?",
        tests="unit/controller/followers/test_following.py",
    ),
}


@pytest.mark.parametrize("name", sorted(MUTATIONS))
def test_the_suite_turns_red_when(name: str, tmp_path: Path) -> None:
    mutation = MUTATIONS[name]
    code, output = outcome(mutated(tmp_path, mutation), mutation.tests)
    assert SOME_RED == code, output
    assert "AssertionError" in output or "DID NOT RAISE" in output, output


def test_the_suite_is_green_for_a_copy_of_which_nothing_was_taken(tmp_path: Path) -> None:
    """Or the tests above would be red for another reason."""
    unharmed = Mutation(
        file=FENCING.file,
        text=FENCING.text,
        becomes=f"{FENCING.text}  # a copy",
        tests=FENCING.tests,
    )
    code, output = outcome(mutated(tmp_path, unharmed), unharmed.tests)
    assert ALL_GREEN == code, output
