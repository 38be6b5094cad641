"""What the controller answers over HTTP, as documents: checked on the way out, shown in OpenAPI."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tasuki.core.model import TurnRecord
from tasuki.core.run import Skip, Status


class Document(BaseModel):
    """A JSON object with these keys and no others."""

    model_config = ConfigDict(extra="forbid")


class Problem(Document):
    """Why a request was refused. Nothing was changed by it."""

    error: str = Field(description="The class of error; docs/operations.md has a section on each.")
    message: str = Field(description="What happened and what to do.")


class UploadedWeights(Document):
    """Weights that lie ready for a run."""

    digest: str = Field(examples=["blake3:9f0c..."])
    size: int = Field(description="In bytes.")


class RunRow(Document):
    """A run in one line."""

    run: str
    status: Status
    rounds: str = Field(description="The round under way, of how many.", examples=["2/5"])
    turns: int = Field(description="Turns that were accepted.")
    skipped: int = Field(description="Turns that the run's policy passed over.")
    digest: str = Field(description="Of the newest accepted weights.")
    reason: str = Field(description="Why it stands as it does; empty while all is well.")
    phase: str = Field(description="What its turn is at; empty if that is not known.")
    still_s: float = Field(description="How long that has not come on, in seconds.")


class SteeredRun(RunRow):
    """A run after an operator's wish."""

    outcome: str = Field(description="Why that changed nothing; empty if it did.")


class RunList(Document):
    """Every run of this controller."""

    runs: list[RunRow]


class Standing(Document):
    """Where a run stands and how it came there."""

    run: str
    status: Status
    reason: str
    rounds: int = Field(description="Rounds with at least one accepted turn.")
    turns: int
    skipped: int
    skips: list[Skip]
    left_out: list[str] = Field(description="Sites whose every turn was passed over, so far.")
    unchanged: int = Field(description="Accepted turns that handed on exactly what they received.")
    digest: str
    metrics: dict[str, float | None] = Field(description="Means over the newest round.")
    wall_s: float
    holder: str | None = Field(description="The site that has the weights now.")
    phase: str = Field(description="What its turn is at; empty if that is not known.")
    still_s: float = Field(description="How long that has not come on, in seconds.")
    error: str | None = Field(description="The class of error that the run failed with.")
    best: str | None = Field(description="The metric that chooses the best checkpoint.")
    history: list[TurnRecord]


class LedgerTurn(Document):
    """The turn that a row is about, by its identity: lane, round and hop are counted from 0."""

    lane: int
    term: int
    round: int
    hop: int
    site: str | None


class LedgerRow(Document):
    """One row: what happened, and what that led to."""

    seq: int
    at: datetime
    event: str
    turn: LedgerTurn | None
    what: str = Field(description="In words; rounds and turns are counted from 1 there.")
    detail: str = Field(description="All that a site said of a failure.")
    led_to: list[str]
    skipped: list[Skip]
    outcome: str
    hash: str


class Ledger(Document):
    """A run's record."""

    run: str
    rows: list[LedgerRow]


class VerifiedLedger(Document):
    """A run's record holds: every row's hash, and every kept checkpoint's digest."""

    run: str
    rows: int
    checkpoints: int
    verified: Literal[True]
