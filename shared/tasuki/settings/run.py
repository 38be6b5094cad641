"""run.toml: what to train. Submitted by an operator; becomes a `Plan`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from tasuki.core.model import (
    Budget,
    CheckpointPolicy,
    EvaluatePolicy,
    Failure,
    Of,
    OnSilent,
    Plan,
    StopPolicy,
    Task,
    check_name,
)
from tasuki.core.order import POLICIES
from tasuki.core.scores import MAX, is_evaluated, lessens, mode_of
from tasuki.errors import SettingsError, TooFewSites, UnknownSite
from tasuki.settings.initial import RunWeights, of_run
from tasuki.settings.lanes import (
    LanesTable,
    Order,
    check_evaluated,
    check_judged,
    check_lanes,
    check_order,
    check_sites,
    listed,
    order_of,
    policy_of,
)
from tasuki.settings.toml import Settings, SettingsPath
from tasuki.spelling import did_you_mean
from tasuki.wire.size import check_round


class Weights(Settings):
    """`initial`: module:factory beside the run file, a .safetensors or .pt file, or a run's."""

    initial: str

    @field_validator("initial")
    @classmethod
    def _plain_run(cls, initial: str) -> str:
        of_run(initial)
        return initial

    @property
    def of_run(self) -> RunWeights | None:
        """Those of another run; None: a factory makes them, or they are in a file."""
        return of_run(self.initial)


class BudgetTable(Settings):
    """How long a turn trains; the trainer decides where none is set."""

    epochs: float | None = Field(default=None, gt=0)
    steps: int | None = Field(default=None, gt=0)
    seconds: float | None = Field(default=None, gt=0)


class FailureTable(Settings):
    """What may go wrong before the run gives up."""

    lease_s: float = Field(default=60.0, gt=0)
    on_silent: OnSilent = OnSilent.RETRY
    max_attempts: int = Field(default=3, ge=1)
    min_sites: int = Field(default=2, ge=1)
    turn_s: float | None = Field(default=None, gt=0)
    progress_s: float | None = Field(default=None, gt=0)


class EvaluateTable(Settings):
    """When all sites score the same weights; without this table, never unless asked."""

    every_n_rounds: int | None = Field(default=None, ge=1)
    at_end: bool = True
    of: Of = Of.MEAN
    wait_s: float | None = Field(default=None, gt=0)
    split: str = Field(default="", max_length=256)


class StopTable(Settings):
    """When the run has done enough before its last round."""

    metric: str | None = None
    mode: Literal["max", "min"] | None = None
    of: Of | None = None
    target: float | None = None
    patience: int | None = Field(default=None, ge=1)
    min_delta: float = Field(default=0.0, ge=0)
    hours: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _says_when(self) -> StopTable:
        limits = {"target": self.target, "patience": self.patience}
        given = [name for name, value in limits.items() if value is not None]
        if given and self.metric is None:
            raise ValueError(f"{given[0]} is of a metric: name it, as in metric = 'accuracy'")
        if self.metric is not None and not given:
            raise ValueError(f"when is {self.metric} enough? give a target or patience")
        if not given and self.hours is None:
            raise ValueError("give a metric with target or patience, or hours, or leave [stop] out")
        return self


class CheckpointTable(Settings):
    """Which checkpoints to keep."""

    every_n_rounds: int = Field(default=1, ge=1)
    keep: int = Field(default=5, ge=1)
    best: str | None = None
    best_mode: str = Field(default="max", pattern="^(max|min)$")
    of: Of | None = None


class GateTable(Settings):
    """What weights must keep to, beyond their names, shapes and types."""

    max_norm: float | None = Field(default=None, gt=0)
    unchanged: Literal["accept", "refuse"] = "accept"
    non_finite: list[str] = Field(default_factory=list)


class SimulateTable(Settings):
    """Read by `tasuki simulate` alone.

    `processes`: trainers' processes that stay between turns; unset: one for all sites where the
    trainer is a function, else as many as fit into memory.
    """

    sites: int | list[str] = 3
    trainer: str | None = None
    evaluate: str | None = None
    data: SettingsPath | None = None
    farewell_s: float = Field(default=600.0, ge=0)
    processes: int | None = Field(default=None, ge=1)

    @field_validator("sites")
    @classmethod
    def _enough(cls, sites: int | list[str]) -> int | list[str]:
        if (sites if isinstance(sites, int) else len(sites)) < 1:
            raise ValueError("a relay needs sites: give their number or their names")
        return sites


class RunFile(Settings):
    """One run."""

    name: str
    rounds: int = Field(default=1, ge=1)
    order: Order = "fixed"
    seed: int = Field(default=0, ge=0, lt=2**63)
    trainer: str
    sites: list[str] | None = None
    weights: Weights
    params: dict[str, Any] = Field(default_factory=dict)  # Any: the trainer's own keys
    params_at: dict[str, dict[str, Any]] = Field(default_factory=dict)  # Any: as above
    budget: BudgetTable = BudgetTable()
    lanes: LanesTable = LanesTable()
    failure: FailureTable = FailureTable()
    checkpoint: CheckpointTable = CheckpointTable()
    evaluate: EvaluateTable | None = None
    stop: StopTable | None = None
    gate: GateTable = GateTable()
    simulate: SimulateTable = SimulateTable()

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        check_name(name, what="run")
        return name

    @field_validator("order")
    @classmethod
    def _known_order(cls, order: Order) -> Order:
        if isinstance(order, str) and order not in POLICIES:
            hint = did_you_mean(order, POLICIES, after=" ")
            raise ValueError(
                f"there is no order {order!r}; {hint}known: {', '.join(POLICIES)}, "
                "or a list of sites"
            )
        check_order(order)
        return order

    @model_validator(mode="after")
    def _fitting_lanes(self) -> RunFile:
        check_lanes(self.lanes, self.order)
        every_n_rounds = self.evaluate.every_n_rounds if self.evaluate else None
        check_evaluated(self.lanes, self.order, every_n_rounds)
        metric = self.stop.metric if self.stop else None
        judging = {"[checkpoint] best": self.checkpoint.best, "[stop] metric": metric}
        check_judged(self.lanes, self.order, judging, self._evaluate())
        return self

    @model_validator(mode="after")
    def _one_mode(self) -> RunFile:
        best, stop = self.checkpoint.best, self.stop
        if best and "best_mode" not in self.checkpoint.model_fields_set and lessens(best):
            raise ValueError(
                f"[checkpoint] best = {best!r}: is less of it better? say so, best_mode = 'min' "
                "(or 'max')"
            )
        modes = {self.checkpoint.best_mode, stop.mode} if stop and stop.mode else set()
        if stop and stop.metric == best and len(modes) > 1:
            raise ValueError(
                f"[checkpoint] best_mode and [stop] mode differ, and both are of {best!r}: is more "
                "of it better, or less?"
            )
        return self

    @model_validator(mode="after")
    def _is_evaluated_at_all(self) -> RunFile:
        table = self.evaluate
        if table and not table.at_end and (table.every_n_rounds or 0) > self.rounds:
            raise ValueError(
                f"[evaluate] every_n_rounds = {table.every_n_rounds} of {self.rounds} rounds and "
                "at_end = false: no round is ever evaluated"
            )
        return self

    @model_validator(mode="after")
    def _plain_params(self) -> RunFile:
        for key in (*self.params, *(key for own in self.params_at.values() for key in own)):
            if not isinstance(key, str):
                raise ValueError("[params] or [params_at] has a key that is no text")  # noqa: TRY004 - pydantic's
        return self

    def simulated_sites(self, number: int | None = None) -> tuple[str, ...]:
        """The sites of a simulation: site-1 .. site-N, or those named."""
        sites = number if number is not None else self.simulate.sites
        if isinstance(sites, int):
            return tuple(f"site-{index}" for index in range(1, sites + 1))
        return tuple(sites)

    def plan(self, sites: Sequence[str]) -> Plan:
        """The run as it goes to the controller.

        Raises:
            UnknownSite, TooFewSites, TooManySites: the order or the number of sites does not fit.
            SettingsError: one of the sites cannot be one.
        """
        _refuse_unknown(listed(self.order), sites, what="the order")
        _refuse_unknown(self.params_at, sites, what="[params_at]")
        if not sites:
            raise TooFewSites("there is no site; a relay needs at least two")
        if len(sites) < self.failure.min_sites:
            only = "one site" if len(sites) == 1 else f"{len(sites)} sites"
            raise TooFewSites(
                f"{only} and [failure] min_sites = {self.failure.min_sites}: add sites, or set "
                f"min_sites = {len(sites)} to run with so few on purpose"
            )
        check_sites(self.lanes, self.order, sites)
        try:
            plan = self._plan(sites)
        except ValueError as exc:
            raise SettingsError(f"sites: {exc}") from exc
        check_round(plan)
        return plan

    def _plan(self, sites: Sequence[str]) -> Plan:
        failure, evaluate, stop = self.failure, self._evaluate(), self._stop()
        checkpoint = self._checkpoint()
        judging = [checkpoint.best, stop and stop.metric]
        wanted = dict.fromkeys(metric for metric in judging if metric)
        return Plan(
            run=self.name,
            sites=tuple(sites),
            order=order_of(self.order),
            lanes=policy_of(self.lanes, self.order),
            task=Task(
                trainer=self.trainer,
                params=self.params,
                params_at=self.params_at,
                budget=Budget(**self.budget.model_dump()),
                seed=self.seed,
                rounds=self.rounds,
                beat_s=min(5.0, failure.lease_s / 4),
                requires=tuple(m for m in wanted if not is_evaluated(m, evaluate)),
                scores=tuple(m for m in wanted if is_evaluated(m, evaluate)),
                max_norm=self.gate.max_norm,
                turn_s=failure.turn_s,
                progress_s=failure.progress_s,
                refuses_unchanged=self.gate.unchanged == "refuse",
                non_finite=tuple(self.gate.non_finite),
            ),
            failure=Failure(
                **failure.model_dump(exclude={"turn_s", "progress_s"}), same_twice_ends=True
            ),
            checkpoint=checkpoint,
            evaluate=evaluate,
            stop=stop,
        )

    @property
    def _best_of(self) -> Of:
        return self.checkpoint.of or self._judged_of

    @property
    def _judged_of(self) -> Of:
        return self.evaluate.of if self.evaluate else Of.MEAN

    def _evaluate(self) -> EvaluatePolicy | None:
        if self.evaluate is None:
            return None
        return EvaluatePolicy(**self.evaluate.model_dump(exclude={"of"}))

    def _stop(self) -> StopPolicy | None:
        if self.stop is None:
            return None
        of, mode = self.stop.of or self._judged_of, self._stop_mode(self.stop)
        return StopPolicy(**{**self.stop.model_dump(), "of": of, "mode": mode})

    def _stop_mode(self, stop: StopTable) -> str:
        """As it says; else as of the same metric the choice of the best says; else by the name."""
        if stop.mode is not None or stop.metric is None:
            return stop.mode or MAX
        return mode_of(stop.metric, self._checkpoint())

    def _checkpoint(self) -> CheckpointPolicy:
        return CheckpointPolicy(**{**self.checkpoint.model_dump(), "of": self._best_of})


def _refuse_unknown(named: Iterable[str], sites: Sequence[str], *, what: str) -> None:
    for site in named:
        if site not in sites:
            hint = did_you_mean(site, sites, otherwise=f"it has {', '.join(sites[:10])}")
            raise UnknownSite(f"{what} names {site!r}, which is no site of this run; {hint}")
