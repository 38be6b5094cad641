"""A running controller, asked over HTTP. httpx comes with the extra `controller`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from tasuki import errors
from tasuki.core.model import WeightsRef
from tasuki.disk.errors import disk_errors
from tasuki.errors import NotPermitted, TasukiError, TransportError
from tasuki.ledger.sqlite import Row
from tasuki.settings.broker import read_secret
from tasuki.settings.initial import RunWeights
from tasuki.weights.digest import verify_digest
from tasuki_cli import http_client
from tasuki_controller import documents
from tasuki_controller.checkpoints import Kept
from tasuki_controller.kept_rows import KeptRows
from tasuki_controller.live_updates import LiveUpdate
from tasuki_controller.news import Update

if TYPE_CHECKING:
    import httpx

D = TypeVar("D", bound=documents.Document)

PIECE_BYTES = 2**20
AGAIN_S = 0.5
PATIENCE_S = 120.0


class ControllerClient:
    """One operator's view of a controller; also an `Archive`, and what a report is made from.

    Every method raises TransportError if the controller cannot be reached, NotPermitted if it does
    not know the token, and otherwise the error that the controller had.
    """

    def __init__(
        self, url: str, token_file: Path, *, ca: Path | None = None, proxy: str | None = None
    ) -> None:
        self.url, self._proxy = url, proxy
        token = read_secret(token_file, what="--token-file")
        self._http = http_client.opened(url, token=token, ca=ca, proxy=proxy)

    def close(self) -> None:
        """Let the connection go; a command just ends."""
        self._http.close()

    def submit_from(self, text: str) -> documents.RunRow:
        """Start a run from a run file's text, which names another run's weights."""
        with self._reaching():
            return self._read(self._http.post("/runs", content=text.encode()), documents.RunRow)

    def submit(self, text: str, weights: WeightsRef, path: Path) -> documents.RunRow:
        """Start a run from a run file's text and the weights in a file."""
        self.upload(path)
        with self._reaching():
            query: dict[str, str | int] = {"digest": weights.digest, "size": weights.size}
            answer = self._http.post("/runs", params=query, content=text.encode())
            return self._read(answer, documents.RunRow)

    def standing(self, run: str) -> documents.Standing:
        return self._ask("GET", f"/runs/{run}", documents.Standing)

    def submitted(self, run: str) -> documents.SubmittedRun:
        return self._ask("GET", f"/runs/{run}/plan", documents.SubmittedRun)

    def steer(self, run: str, what: str) -> documents.SteeredRun:
        """pause, resume or stop."""
        return self._ask("POST", f"/runs/{run}/{what}", documents.SteeredRun)

    def add_site(self, run: str, site: str) -> documents.SteeredRun:
        return self._ask("POST", f"/runs/{run}/sites/{site}", documents.SteeredRun)

    def extend(self, run: str, rounds: int) -> documents.SteeredRun:
        return self._ask("POST", f"/runs/{run}/rounds/{rounds}", documents.SteeredRun)

    def evaluate(
        self, run: str, wanted: RunWeights | WeightsRef | None, *, split: str | None
    ) -> documents.AskedEvaluation:
        """Let all sites score a checkpoint's weights, or those that were uploaded.

        Args:
            wanted: None: those of the best checkpoint, the latest if none was chosen.
        """
        query: dict[str, str | int] = {} if split is None else {"split": split}
        if isinstance(wanted, WeightsRef):
            query |= {"digest": wanted.digest, "size": wanted.size}
        elif wanted is not None and wanted.round is not None:
            query["round"] = wanted.round
        elif wanted is not None:
            query["which"] = "best" if wanted.is_best else "latest"
        with self._reaching():
            answer = self._http.post(f"/runs/{run}/evaluations", params=query)
            return self._read(answer, documents.AskedEvaluation)

    def upload(self, path: Path) -> WeightsRef:
        """Weights from a file, for a run or to be scored."""
        with self._reaching():
            answer = self._http.post("/weights", content=_pieces(path))
            uploaded = self._read(answer, documents.UploadedWeights)
        return WeightsRef(digest=uploaded.digest, size=uploaded.size)

    def remove(self, run: str, *, stop: bool) -> documents.RemovedRun:
        if stop:
            self.steer(run, "stop")
        return self._ask("DELETE", f"/runs/{run}", documents.RemovedRun)

    def runs(self, *, even_removed: bool = False) -> Sequence[documents.RunRow]:
        return self._ask("GET", f"/runs{'?all=true' * even_removed}", documents.RunList).runs

    def rows(self, run: str) -> Sequence[documents.LedgerRow]:
        return self._ask("GET", f"/runs/{run}/ledger", documents.Ledger).rows

    def kept_rows(self, run: str) -> Iterator[Row]:
        after = 0
        while rows := self._ask("GET", f"/runs/{run}/ledger/rows?after={after}", KeptRows).rows:
            if rows[-1].seq <= after:
                raise TransportError(f"{self.url} repeats rows of {run}; upgrade the controller")
            yield from (row.row(run) for row in rows)
            after = rows[-1].seq

    def turns(self, run: str) -> documents.TurnTable:
        return self._ask("GET", f"/runs/{run}/turns", documents.TurnTable)

    def scores(self, run: str, *, metric: str | None, mode: str | None) -> documents.Scores:
        asked = {"metric": metric, "mode": mode}
        query = {key: value for key, value in asked.items() if value is not None}
        return self._ask("GET", f"/runs/{run}/scores", documents.Scores, query=query)

    def verify(self, run: str) -> documents.VerifiedLedger:
        return self._ask("GET", f"/runs/{run}/ledger?verify=true", documents.VerifiedLedger)

    def copy_weights(
        self, run: str, folder: Path, *, round: int | None, which: str | None = None
    ) -> Kept:
        path, asked_for = folder / "weights.safetensors", {"round": round, "which": which}
        query = {key: value for key, value in asked_for.items() if value is not None}
        asked = self._http.stream("GET", f"/runs/{run}/weights", params=query)
        with self._reaching(), asked as answer:
            self._check(answer)
            with disk_errors(path), path.open("wb") as file:
                for piece in answer.iter_bytes(PIECE_BYTES):
                    file.write(piece)
            number, name = int(answer.headers["Tasuki-Round"]), answer.headers["Tasuki-Name"]
        return Kept(path=path, round=number, digest=verify_digest(path), name=name)

    def follow(self, run: str) -> Iterator[Update]:
        """The run as it is and whatever happens to it, until it is over.

        A controller that goes away is asked again for a while, here and in `outcome`.
        """
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                for update in self._told(run):
                    deadline = time.monotonic() + PATIENCE_S
                    yield update
                    if update.run is not None and update.run.is_done:
                        return
            except TransportError as exc:
                _wait_or_raise(exc, deadline)
            else:
                time.sleep(AGAIN_S)  # it is ending: it says goodbye to those who follow

    def outcome(self, run: str) -> documents.Standing:
        """`standing`, asked patiently."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self.standing(run)
            except TransportError as exc:
                _wait_or_raise(exc, deadline)

    def _told(self, run: str) -> Iterator[Update]:
        with (
            self._reaching(),
            self._http.stream(
                "GET", f"/runs/{run}/events", timeout=http_client.SILENCE_S
            ) as answer,
        ):
            self._check(answer)
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    said = line.removeprefix("data: ")
                    yield LiveUpdate.model_validate_json(said).update()

    def _ask(
        self, method: str, path: str, kind: type[D], *, query: Mapping[str, str] | None = None
    ) -> D:
        with self._reaching():
            return self._read(self._http.request(method, path, params=query), kind)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        import httpx

        try:
            yield
        except (httpx.TransportError, httpx.InvalidURL) as exc:
            advice = http_client.advice(proxy=self._proxy)
            raise TransportError(f"no controller at {self.url}: {exc}; {advice}") from exc

    def _read(self, answer: httpx.Response, kind: type[D]) -> D:
        self._check(answer)
        return kind.model_validate_json(answer.content)

    def _check(self, answer: httpx.Response) -> None:
        """Raise what the controller raised."""
        if not answer.is_error:
            return
        try:
            problem = documents.Problem.model_validate_json(answer.read())
            kind, message = getattr(errors, problem.error), problem.message
        except (ValidationError, AttributeError):
            kind, message = TransportError, f"{self.url} answers {answer.status_code}"
        if not (isinstance(kind, type) and issubclass(kind, TasukiError)):
            kind = TransportError
        raise kind(message)


def _wait_or_raise(exc: TransportError, deadline: float) -> None:
    if isinstance(exc, NotPermitted) or time.monotonic() > deadline:
        raise exc
    time.sleep(AGAIN_S)


def _pieces(path: Path) -> Iterator[bytes]:
    with disk_errors(path), path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece
