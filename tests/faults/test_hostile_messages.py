"""A federation under a flood of hostile messages: each is refused for its reason, and counted.

Nothing else changes: not the weights of the run that goes on meanwhile, nor the processes.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from support.broker import Broker
from support.federation import NO_TORCH, SITES, Federation
from support.hostile import (
    EVIL,
    PENDING,
    REPLAYED,
    Hostile,
    Message,
    Shot,
    counted,
    replays,
    seed,
)
from support.numbers import shown
from support.plain import plain_loop
from support.simulation import write_run
from support.transports import BrokerFederation
from support.waiting import wait_until
from support.wiretap import Wiretap, channel, send
from tasuki.broker.topology import topology
from tasuki.core.model import CONTROLLER
from tasuki.weights.unclaimed import Limits
from tasuki.wire import names
from tasuki_controller.service import MOST_REFUSALS

EARLIER = '["site-1", "site-2", "site-3"]'  # other weights than those of the run that goes on
ROUND = ["site-2", "site-1", "site-3"]
ROUNDS = 6
MEMORY = 64 * 2**20
LATE = {"stale_term", "stale_position", "duplicate", "not_awaited", "run_over", "unknown_run"}
KEPT = {"unclaimed", "unwanted", "too_large"}
"""What becomes of weights that nobody asks for, sooner or later."""
REFUSED = re.compile(r'tasuki_messages_refused_total\{queue_kind="(\w+)",reason="(\w+)",.*\}')
Counts = Counter[tuple[str, str, str]]


@pytest.fixture
def federation(tmp_path: Path, broker: Broker, vhost: str) -> Iterator[Federation]:
    write_run(tmp_path)
    path = os.pathsep.join([str(NO_TORCH), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", path.rstrip(os.pathsep))
        with Federation(tmp_path, broker, vhost, require=()) as federation:
            yield federation


@pytest.mark.timeout(240)
def test_ten_thousand_hostile_messages_are_refused_each_for_its_reason(
    federation: Federation, tmp_path: Path
) -> None:
    outside = admit(federation, EVIL)
    caught = catch(federation, tmp_path)
    shots = magazine(caught)
    assert len(shots) >= 10_000
    before, pids = memory(federation), [process.pid for process in federation.processes.values()]
    counts, repeated = refused(federation), sent_twice(federation)

    run = federation.begin(a_run(tmp_path, "going", order=list_of(ROUND), rounds=ROUNDS))
    federation.await_turns(run.name, 1)
    asyncio.run(send(outside, [shot.message for shot in shots]))
    assert run.finished()["digest"] == plain_loop([ROUND] * ROUNDS)
    await_weights(federation, counts, shots)
    await_silence(federation)

    assert [process.pid for process in federation.processes.values()] == pids
    for process in federation.processes.values():
        process.await_ready()
    repeated = sent_twice(federation) - repeated
    check_refusals(federation, refused(federation) - counts, shots, repeated=repeated)
    check_shown_by_the_controller(federation)
    dead = sum(shot.is_dead_letter for shot in shots)
    await_number(federation, "tasuki_dead_letters", dead)
    for name, used in memory(federation).items():
        assert used - before[name] < MEMORY, name
        parts = [path for path in spooled(federation, name) if path.suffix == ".part"]
        assert len(parts) <= Limits().open

    assert len(federation.ledger("done")) < 2 * MOST_REFUSALS

    again = 5 * replays([message for message in caught if message.kind != "weights"])
    counts = refused(federation)
    asyncio.run(send(outside, [shot.message for shot in again]))
    await_silence(federation)
    late = refused(federation) - counts
    assert {reason for _, _, reason in late} <= LATE
    assert by_queue(late) == by_queue(counted(again))


def admit(federation: Federation, site: str) -> BrokerFederation:
    """Somebody who may do all that a site may."""
    (allowed,) = (a for a in topology([site]).permissions if a.user == site)
    federation.broker.add_user(
        site,
        "evil",
        vhost=federation.vhost,
        configure=allowed.configure,
        write=allowed.write,
        read=allowed.read,
    )
    return BrokerFederation(federation.broker, federation.vhost)


def catch(federation: Federation, folder: Path) -> list[Message]:
    """The messages of a run that is finished and of one that was stopped."""
    with channel(federation.broker, federation.vhost) as listening:
        tap = Wiretap(listening, SITES)
        done = federation.submit(a_run(folder, "done", order=EARLIER, rounds=2))
        assert done.code == 0, done.err
        # Stopped while a site hands over, it is sent that turn once more, to be refused: perhaps
        # only when nobody listens any more. So the second one trains until the end.
        held = 'hold = { site-2 = "never" }'
        long = a_run(folder, "stopped", order=EARLIER, params=held)
        stopped = federation.ask("submit", long).last["run"]
        federation.await_turns(stopped, 1)
        assert federation.ask("stop", stopped).code == 0
        federation.await_status(stopped, "stopped")
        await_silence(federation)
        return tap.caught()


def a_run(folder: Path, name: str, **changes: object) -> Path:
    path = write_run(folder, **{"pause_s": 0.3, "min_sites": 3, **changes})
    path.write_text(path.read_text().replace('name = "walk"', f'name = "{name}"'))
    return path


def list_of(sites: Sequence[str]) -> str:
    return str(sites).replace("'", '"')


def magazine(caught: Sequence[Message]) -> list[Shot]:
    hostile = Hostile(caught, sites=SITES, seed=seed())
    shots = [
        *hostile.spoiled("turns", 2800),
        *hostile.spoiled("reports", 2800),
        *hostile.spoiled("control", 1000),
        *hostile.oversized("turns", 4),
        *hostile.oversized("reports", 4),
        *hostile.oversized("control", 2),
        *hostile.chunks(3000),
        *(20 * replays(caught)),
    ]
    hostile.shuffle(shots)
    # First, since each makes room for itself among what the same sender has lying there.
    return [*hostile.greedy(100), *shots]


def memory(federation: Federation) -> dict[str, int]:
    """Resident bytes of each service."""

    def of(pid: int) -> int:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    return {name: of(process.pid) for name, process in federation.processes.items()}


def refused(federation: Federation) -> Counts:
    """How often each service has refused what, as it says itself."""
    counts: Counts = Counter()
    for name in federation.processes:
        for series, value in numbers_of(federation, name).items():
            found = REFUSED.fullmatch(series)
            if found and f'service="{name}"' in series and value:
                counts[name, found[1], found[2]] = int(value)
    return counts


def sent_twice(federation: Federation) -> int:
    """How many messages may have come twice: each connection that broke has left one unsettled."""
    names = "tasuki_broker_reconnects_total", "tasuki_broker_resent_messages_total"
    return sum(
        int(value)
        for name in federation.processes
        for series, value in numbers_of(federation, name).items()
        if series.startswith(names) and f'service="{name}"' in series
    )


def numbers_of(federation: Federation, name: str) -> dict[str, float]:
    return shown(federation[name].metrics())


def await_silence(federation: Federation) -> None:
    """Returns once every queue is empty and nobody refuses anything any more."""
    queues = [names.REPORTS, *map(names.turns_queue, SITES), *map(names.control_queue, SITES)]
    last: list[object] = []

    def is_silent() -> bool:
        found = federation.broker.list_queues(federation.vhost)
        waiting = [found[queue].get("messages", 1) for queue in queues]
        now = [*waiting, refused(federation)]
        was, last[:] = list(last), now
        return not any(waiting) and was == now

    # The broker's own numbers are a second old.
    wait_until(is_silent, what="every queue is empty", within_s=120, poll_s=1.5)


def await_weights(federation: Federation, before: Counts, shots: Sequence[Shot]) -> None:
    """Returns once nobody has weights to read any more: a stream does not get empty."""
    sent = by_queue(counted(shots))

    def are_read() -> bool:
        read = by_queue(refused(federation) - before)
        return all(
            read[name, "weights"] + len(spooled(federation, name)) >= sent[name, "weights"]
            for name in federation.processes
        )

    wait_until(are_read, what="all weights are read", within_s=60, poll_s=0.5)


def await_number(federation: Federation, series: str, value: float) -> None:
    what = f"{series} is {value}"
    wait_until(
        lambda: numbers_of(federation, CONTROLLER).get(series) == value, what=what, within_s=30
    )


def check_refusals(
    federation: Federation, counts: Counts, shots: Sequence[Shot], *, repeated: int
) -> None:
    """Every shot was refused exactly once, for its reason, and nothing else was.

    What a run says twice as a matter of course is refused as well, by the controller alone. Turns
    come twice only where a connection broke: as often as services say that one did, if they do.
    """
    expected = counted(shots)
    assert once(counts) == once(expected)
    for site in SITES:
        late = sum(counts[site, "turns", reason] for reason in LATE)
        twice = late - expected[site, "turns", REPLAYED]
        assert 0 <= twice <= repeated, (site, late, expected[site, "turns", REPLAYED], repeated)
    late = sum(counts[CONTROLLER, "reports", reason] for reason in LATE)
    assert late >= expected[CONTROLLER, "reports", REPLAYED]
    for name in federation.processes:
        dropped = sum(counts[name, "weights", reason] for reason in KEPT)
        sent = sum(expected[name, "weights", reason] for reason in (PENDING, *KEPT))
        assert (name, dropped + len(spooled(federation, name))) == (name, sent)


def once(counts: Counts) -> Counts:
    """Those whose reason says all."""
    several = {REPLAYED, PENDING, *KEPT, *LATE}
    return Counter({key: count for key, count in counts.items() if key[2] not in several})


def spooled(federation: Federation, name: str) -> list[Path]:
    """What lies in a service's spool: weights, whole or begun."""
    folder = federation.folder / f"data-{name}" / "spool"
    return [*folder.glob("*.safetensors"), *folder.glob("*.part")]


def check_shown_by_the_controller(federation: Federation) -> None:
    """The sites' numbers get there, without anybody asking the sites, and those of the run."""
    wrong = 'tasuki_messages_refused_total{queue_kind="turns",reason="wrong_sender",service="%s"}'
    for site in SITES:
        accepted = f'tasuki_turns_total{{outcome="accepted",run="going",site="{site}"}}'
        assert numbers_of(federation, CONTROLLER)[accepted] == ROUNDS
        for name in (wrong % site, f'tasuki_handoff_seconds_count{{site="{site}"}}'):
            await_number(federation, name, numbers_of(federation, site)[name])


def by_queue(counts: Counts) -> Counter[tuple[str, str]]:
    total: Counter[tuple[str, str]] = Counter()
    for (service, kind, _), count in counts.items():
        total[service, kind] += count
    return total
