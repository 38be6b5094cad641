"""Checkpoints: the weights at each round's end, on disk with what led to them.

`<data>/runs/<run>/round-0003.safetensors` and `.json`; `round-0000` is what the run started from.
`latest` and `best` are links to one of them. The JSON is a pure function of the ledger, so that a
changed byte shows.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tasuki.core.model import CheckpointPolicy, Plan, TurnRecord, WeightsRef
from tasuki.core.run import SaveCheckpoint
from tasuki.core.scores import mean_metrics
from tasuki.disk.errors import disk_errors
from tasuki.disk.writing import copy_whole, point, sync, write_whole
from tasuki.errors import LedgerBroken
from tasuki.weights.digest import verify_digest
from tasuki.wire.strict_json import json_text

LATEST, BEST = "latest", "best"

HELD = "held"
"""The folder of weights of no checkpoint: to be scored, or what a lane goes on from."""

Document = Mapping[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """The ledger row that a checkpoint follows from."""

    seq: int
    hash: str


def document(plan: Plan, number: int, saved: SaveCheckpoint, anchor: Anchor) -> Document:
    """What is kept beside the weights of the end of round `number` (counted from 1)."""
    turns = (*saved.earlier, *saved.records)
    newest = max((record.id.round for record in turns), default=0)
    content = {
        "run": plan.run,
        "round": number,
        "digest": saved.weights.digest,
        "size": saved.weights.size,
        "metrics": mean_metrics(tuple(r for r in turns if r.id.round == newest)),
        "turns": [_told(record) for record in turns],
        "ledger": asdict(anchor),
    }
    if saved.parts:
        content["merged"] = [asdict(part) for part in saved.parts]
    return content


def first(weights: WeightsRef) -> SaveCheckpoint:
    """What a run starts from."""
    return SaveCheckpoint(round=-1, weights=weights, records=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One checkpoint's weights. `name`: as what it was asked for, `best` or `latest` or neither."""

    path: Path
    round: int
    digest: str
    name: str = ""


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def weights_path(self, number: int) -> Path:
        return self.folder / f"round-{number:04d}.safetensors"

    def find(self, weights: WeightsRef) -> Path | None:
        """A kept checkpoint with exactly these weights."""
        for path in sorted(self.folder.glob("round-*.json"), reverse=True):
            kept = path.with_suffix(".safetensors")
            if json.loads(path.read_text()).get("digest") == weights.digest and kept.exists():
                return kept
        return None

    def held_path(self, weights: WeightsRef) -> Path:
        """Where they lie if they are of no checkpoint, and are kept."""
        return self.folder / HELD / f"{weights.digest.replace(':', '-')}.safetensors"

    def find_anywhere(self, weights: WeightsRef) -> Path | None:
        """As `find`, of weights that no checkpoint has, too."""
        held = self.held_path(weights)
        return self.find(weights) or (held if held.exists() else None)

    def save(self, source: Path, content: Document, policy: CheckpointPolicy) -> Path:
        """Keep a copy of `source`; complete on disk when this returns. Safe to do again.

        Raises:
            DiskFull, StorageError: nothing half-written stays under a checkpoint's name.
        """
        path = self.weights_path(content["round"])
        with disk_errors(path):
            self.folder.mkdir(parents=True, exist_ok=True)
            # One that is there may be of a run whose ledger is gone, or of half a submission.
            if not path.exists() or verify_digest(path) != content["digest"]:
                copy_whole(source, path)
            write_whole(path.with_suffix(".json"), _encoded(content))
            point(self.folder / LATEST, path.name)
            self._prune(policy)
            sync(self.folder)
        return path

    def name_best(self, number: int, policy: CheckpointPolicy) -> None:
        """From now on this one, which was saved, is the best. Safe to do again.

        Raises:
            DiskFull, StorageError: it is not.
        """
        with disk_errors(self.folder):
            # An older one may be named again after a restart, when it is gone already.
            if self.weights_path(number).exists():
                point(self.folder / BEST, self.weights_path(number).name)
            self._prune(policy)
            sync(self.folder)

    def remove(self) -> None:
        """Let all of the run's files go, whatever else lies with them. Safe to do again.

        Raises:
            StorageError: some are still there.
        """
        with disk_errors(self.folder):
            while self.folder.exists():
                with suppress(FileNotFoundError):  # somebody else lets it go too
                    shutil.rmtree(self.folder)
            if self.folder.parent.exists():
                sync(self.folder.parent)

    def size(self) -> int:
        """The bytes on disk that go with its files: what is linked from elsewhere stays."""
        found: dict[int, list[os.stat_result]] = {}
        for folder, _, names in os.walk(self.folder):
            for name in names:
                with suppress(FileNotFoundError):
                    stat = (Path(folder) / name).lstat()
                    found.setdefault(stat.st_ino, []).append(stat)
        return sum(its[0].st_size for its in found.values() if len(its) >= its[0].st_nlink)

    def verify(
        self, expected: Mapping[int, Document], *, before: Mapping[int, Document] | None = None
    ) -> int:
        """Compare what is kept with what the ledger says; returns how many were checked.

        Args:
            before: how an earlier Tasuki has said the same.

        Raises:
            LedgerBroken: naming the first file that is not what was recorded.
        """
        self.check_there(expected)
        kept = sorted(self.folder.glob("round-*.json"))
        for path in kept:
            number = _number(path)
            weights = path.with_suffix(".safetensors")
            try:
                said = [_encoded(of[number]) for of in (expected, before or {}) if number in of]
                if path.read_bytes() not in said:
                    raise LedgerBroken(f"{path} is not what the ledger says")
                if verify_digest(weights) != expected[number]["digest"]:
                    raise LedgerBroken(f"{weights} has other bytes than the ledger says")
            except FileNotFoundError as exc:
                raise LedgerBroken(f"{exc.filename} is missing") from exc
        for path in self.folder.glob("round-*.safetensors"):
            if path.with_suffix(".json") not in kept:
                raise LedgerBroken(f"{path} is not in the ledger")
        return len(kept)

    def named(self, name: str) -> Kept | None:
        """The checkpoint that `latest` or `best` leads to, if it is there."""
        with suppress(FileNotFoundError):
            kept = self.of_round(_number((self.folder / name).readlink()))
            return kept and replace(kept, name=name)
        return None

    def of_round(self, number: int) -> Kept | None:
        """The checkpoint of a round's end, if it is kept."""
        path = self.weights_path(number)
        with suppress(FileNotFoundError):  # perhaps it goes just now
            path.stat()
            return Kept(path=path, round=number, digest=_read(path.with_suffix(".json"))["digest"])
        return None

    def kept_in_words(self) -> str:
        """The rounds of which there are weights."""
        return ", ".join(str(number) for number in self._numbers()) or "none"

    def check_there(self, expected: Mapping[int, Document]) -> None:
        """Raises LedgerBroken: the run had checkpoints, of which the newest always stays."""
        if expected and not self._numbers():
            raise LedgerBroken(
                f"the checkpoints of the run are gone from {self.folder}; the ledger has "
                f"{len(expected)}: restore the folder from a copy"
            )

    def _numbers(self) -> list[int]:
        return sorted(map(_number, self.folder.glob("round-*.json")))

    def _prune(self, policy: CheckpointPolicy) -> None:
        """Keep the newest few, the best, and those of every n-th round."""
        numbers = self._numbers()
        wanted = [
            n for n in numbers if n == 0 or n % policy.every_n_rounds == 0 or n == numbers[-1]
        ]
        keep = {self.weights_path(n) for n in wanted[-max(1, policy.keep) :]}
        best = self.folder / BEST
        if best.is_symlink():
            keep.add(self.folder / best.readlink())
        for number in numbers:
            path = self.weights_path(number)
            if path not in keep:
                # In this order: one without the other is pruned again, and not taken for foreign.
                path.unlink(missing_ok=True)
                path.with_suffix(".json").unlink()


def _told(record: TurnRecord) -> Document:
    """Without its bytes, which the ledger has; only what trains is among them."""
    return {key: value for key, value in asdict(record).items() if key not in {"kind", "written"}}


def _number(path: Path) -> int:
    return int(path.stem.removeprefix("round-"))


def _encoded(content: Document) -> bytes:
    return json_text(content, indent=1, sort_keys=True).encode() + b"\n"


def _read(path: Path) -> dict[str, Any]:  # Any: JSON
    return json.loads(path.read_text())  # type: ignore[no-any-return]
