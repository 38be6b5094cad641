"""Where the time of a hand-over goes, from what the services trace (`tasuki.testing.faults`).

One part ends where the next one begins, so the parts of a hand-over add up to it. Their medians
do not quite: each part is slow at times, and hardly ever all of them at once.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasuki.moments import Moment
from tasuki.weights.digest import Hasher

BLOCK_BYTES = 2**20
TIMES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What lies between the moment before and this one.

    Attributes:
        ahead: 1 if the moment names the turn of the next site, 0 if that of the site before it.
    """

    what: str
    until: Moment
    ahead: int


FIRST = Moment.TRAINER_RETURNED
PARTS = (
    Part(what="save, spool, digest and checks in one pass", until=Moment.TRAINER_SAVED, ahead=0),
    Part(what="gate, with the answer to the service", until=Moment.TRAINED, ahead=0),
    Part(what="journal the result", until=Moment.RESULT_JOURNALED, ahead=0),
    Part(what="publish the weights until confirmed*", until=Moment.WEIGHTS_CONFIRMED, ahead=1),
    Part(what="publish the turn", until=Moment.TURN_SENT, ahead=1),
    Part(what="deliver the turn", until=Moment.TURN_RECEIVED, ahead=1),
    Part(what="journal the turn", until=Moment.TURN_JOURNALED, ahead=1),
    Part(what="await the rest of the weights", until=Moment.WEIGHTS_COMPLETE, ahead=1),
    Part(what="ask the trainer", until=Moment.TRAINER_ASKED, ahead=1),
    Part(what="load", until=Moment.TRAINER_LOADED, ahead=1),
)
WHOLE = "from result to loaded"
NOTE = "* meanwhile the next site delivers, spools and digests each chunk as it comes"

_Key = tuple[int, int, str]


def parts(log: Iterable[Mapping[str, Any]]) -> list[dict[str, float]]:  # Any: JSON
    """Seconds of each part, of every hand-over within a round that was traced as a whole."""
    at: dict[_Key, int] = {}
    for line in log:
        if line["turn"] is not None:
            at.setdefault((line["turn"]["round"], line["turn"]["hop"], line["moment"]), line["ns"])
    found = []
    for round_, hop, moment in at:
        if moment == FIRST.value:
            keys = [(round_, hop, moment)]
            keys += [(round_, hop + part.ahead, part.until.value) for part in PARTS]
            if all(key in at for key in keys):
                times = [at[key] for key in keys]
                spans = zip(PARTS, times, times[1:], strict=False)
                found.append({part.what: (end - begin) / 1e9 for part, begin, end in spans})
    return found


def medians(found: list[dict[str, float]]) -> dict[str, float]:
    """Of each part, and of the whole."""
    by_part = {part.what: statistics.median(one[part.what] for one in found) for part in PARTS}
    return {**by_part, WHOLE: statistics.median(sum(one.values()) for one in found)}


def digest_alone(size: int) -> float:
    """Seconds to digest so many bytes, and nothing else."""
    blocks = _blocks(size)

    def digest() -> None:
        hasher = Hasher()
        for block in blocks:
            hasher.update(block)
        hasher.digest()

    return _median_s(digest)


def write_alone(size: int) -> float:
    """Seconds to write so many bytes to a new file, left to the kernel as a spool file is."""
    blocks = _blocks(size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"

        def write() -> None:
            path.unlink(missing_ok=True)
            with path.open("xb", buffering=0) as file:
                for block in blocks:
                    file.write(block)

        return _median_s(write)


def sync_alone() -> float:
    """Seconds to force one small write to the disk, as a journal does."""
    with tempfile.TemporaryFile() as file:

        def sync() -> None:
            file.write(bytes(4096))
            file.flush()
            os.fdatasync(file.fileno())

        return _median_s(sync, times=20)


def _blocks(size: int) -> list[memoryview]:
    # Sixteen blocks again and again: more than the caches hold, and no gigabytes of memory.
    source = memoryview(bytearray(b"\1") * (16 * BLOCK_BYTES))
    step, around = BLOCK_BYTES, len(source)
    return [source[at % around : at % around + min(step, size - at)] for at in range(0, size, step)]


def _median_s(work: Callable[[], None], *, times: int = TIMES) -> float:
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return statistics.median(found)
