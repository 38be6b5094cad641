"""A running controller, asked over HTTP. httpx comes with the extra `controller`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasuki import errors
from tasuki.core.model import WeightsRef
from tasuki.core.run import OVER
from tasuki.disk.errors import disk_errors
from tasuki.errors import NotPermitted, TasukiError, TransportError
from tasuki.settings.broker import read_secret
from tasuki.weights.container import verify_digest
from tasuki_cli import door
from tasuki_controller import views
from tasuki_controller.checkpoints import Kept
from tasuki_controller.controller import Update

if TYPE_CHECKING:
    import httpx

View = Mapping[str, Any]  # Any: JSON

PIECE_BYTES = 2**20
AGAIN_S = 0.5
PATIENCE_S = 120.0


class ControllerClient:
    """One operator's view of a controller; also an `Archive`.

    Every method raises TransportError if the controller cannot be reached, NotPermitted if it does
    not know the token, and otherwise the error that the controller had.
    """

    def __init__(
        self, url: str, token_file: Path, *, ca: Path | None = None, proxy: str | None = None
    ) -> None:
        self._url, self._proxy = url, proxy
        token = read_secret(token_file, what="--token-file")
        self._http = door.opened(url, token=token, ca=ca, proxy=proxy)

    def close(self) -> None:
        """Let the connection go; a command just ends."""
        self._http.close()

    def submit(self, text: str, weights: WeightsRef, path: Path) -> View:
        """Start a run from a run file's text and the weights in a file."""
        with self._reaching():
            self._checked(self._http.post("/weights", content=_pieces(path)))
            query: dict[str, str | int] = {"digest": weights.digest, "size": weights.size}
            return self._checked(self._http.post("/runs", params=query, content=text.encode()))

    def standing(self, run: str) -> View:
        return self._ask("GET", f"/runs/{run}")

    def steer(self, run: str, what: str) -> View:
        """pause, resume or stop."""
        return self._ask("POST", f"/runs/{run}/{what}")

    def add_site(self, run: str, site: str) -> View:
        return self._ask("POST", f"/runs/{run}/sites/{site}")

    def runs(self) -> Sequence[View]:
        return self._ask("GET", "/runs")["runs"]  # type: ignore[no-any-return]  # JSON

    def rows(self, run: str) -> Sequence[View]:
        return self._ask("GET", f"/runs/{run}/ledger")["rows"]  # type: ignore[no-any-return]  # JSON

    def verify(self, run: str) -> tuple[int, int]:
        found = self._ask("GET", f"/runs/{run}/ledger?verify=true")
        return found["rows"], found["checkpoints"]

    def copy_weights(self, run: str, folder: Path, *, round: int | None) -> Kept:
        path, query = folder / "weights.safetensors", {} if round is None else {"round": round}
        asked = self._http.stream("GET", f"/runs/{run}/weights", params=query)
        with self._reaching(), asked as answer:
            if answer.is_error:
                answer.read()
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
                    if update.run is not None and update.run.status in OVER:
                        return
            except TransportError as exc:
                _wait_or_raise(exc, deadline)
            else:
                time.sleep(AGAIN_S)  # it is ending: it says goodbye to those who follow

    def outcome(self, run: str) -> View:
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
            self._http.stream("GET", f"/runs/{run}/events", timeout=door.SILENCE_S) as answer,
        ):
            if answer.is_error:
                answer.read()
            self._check(answer)
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    yield views.load_update(line.removeprefix("data: "))

    def _ask(self, method: str, path: str) -> View:
        with self._reaching():
            return self._checked(self._http.request(method, path))

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        import httpx

        try:
            yield
        except (httpx.TransportError, httpx.InvalidURL) as exc:
            advice = door.advice(proxy=self._proxy)
            raise TransportError(f"no controller at {self._url}: {exc}; {advice}") from exc

    def _checked(self, answer: httpx.Response) -> View:
        self._check(answer)
        return answer.json()  # type: ignore[no-any-return]  # JSON

    def _check(self, answer: httpx.Response) -> None:
        """Raise what the controller raised."""
        if not answer.is_error:
            return
        try:
            content = answer.json()
            kind, message = getattr(errors, content["error"]), content["message"]
        except (ValueError, KeyError, TypeError, AttributeError):
            kind, message = TransportError, f"{self._url} answers {answer.status_code}"
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
