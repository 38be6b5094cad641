"""What provisioning tells of itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.console import Console

from tasuki_cli.provision.placement import Placement
from tasuki_cli.provision.signing import Answered

_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was made and what was noticed.

    Attributes:
        created: files that were not there, seen from `out`.
        changed: files of the broker that are new or other than before.
        removed: sites that are no longer listed but still have a kit or queues.
        revoked: sites that are shut out.
        notes: what does not fit federation.toml and was left as it is.
        applied: whether a running broker has it all.
        replaced: control queues of an earlier kind that were made again on that broker.
        authority: the fingerprint of whoever signs rosters; None: nobody does.
        awaited: who has neither a kit nor enrolled.
        signed: the requests that were signed.
        roster: the number of the roster that is in force; None: there is none.
        placement: where its queues and streams are; None if it was not applied.
    """

    federation: str
    sites: list[str]
    out: str
    created: list[str]
    changed: list[str]
    removed: list[str]
    revoked: list[str]
    notes: list[str]
    applied: bool
    replaced: list[str] = field(default_factory=list)
    authority: str | None = None
    awaited: list[str] = field(default_factory=list)
    signed: list[Answered] = field(default_factory=list)
    roster: int | None = None
    placement: Placement | None = None

    @property
    def is_whole(self) -> bool:
        """Whether every queue and stream has the replicas that it should have."""
        return self.placement is None or not self.placement.missing


def show(report: Report) -> None:
    """For people, on stdout."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for name in [*report.created, *report.changed]:
        console.print(f"wrote {report.out}/{name}")
    for line in _done(report):
        console.print(line)
    for line in _warnings(report):
        console.print(line, style="yellow")
    what = "nothing new" if not (report.created or report.changed) else "done"
    sites = ", ".join(report.sites)
    console.print(f"{report.federation}: {what}; {sites}: kits in {report.out}{_broker(report)}")
    for line in _faults(report):
        console.print(line, style="bold red")


def _done(report: Report) -> Iterator[str]:
    for one in report.signed:
        yield (
            f"signed {one.name} ({one.fingerprint}){' with new keys' if one.renewed else ''}: send "
            f"it {one.answer}"
        )
    if report.signed:
        yield f"the authority's fingerprint, for them to compare: {report.authority}"
    if report.replaced:
        yield (
            f"made again, on several nodes if there are: {', '.join(report.replaced)}; sites that "
            "read them go on by themselves"
        )
    if report.placement is not None:
        yield from report.placement.done


def _warnings(report: Report) -> Iterator[str]:
    for site in report.removed:
        yield (
            f"{site} is no longer listed, but its kit and its queues stay; to shut it out: "
            f"--revoke {site}"
        )
    for name in report.awaited:
        yield (
            f"{name} has not enrolled yet: have it run `tasuki enroll {name} --federation "
            f"{report.federation}`, and --sign its request"
        )
    for site in report.revoked:
        done = "" if report.applied else f"; on a running broker: rabbitmqctl delete_user {site}"
        yield f"{site} is shut out{done}"
    notes = [] if report.placement is None else report.placement.notes
    for note in [*report.notes, *notes]:
        yield f"note: {note}"


def _broker(report: Report) -> str:
    placement = report.placement
    if placement is None:
        return ""
    nodes = len(placement.nodes)
    if nodes == 1:
        return " and on the broker, which has one node: one replica of each queue"
    return f" and on the broker: {placement.replicas} replicas of each queue on its {nodes} nodes"


def _faults(report: Report) -> Iterator[str]:
    if report.placement is None or report.is_whole:
        return
    yield "the broker does not have all that it should have:"
    yield from _some(report.placement.missing)
    if report.placement.commands:
        yield (
            "what mends that, where the broker's commands are; --ctl leads provisioning to them, "
            'as in --ctl "docker compose exec -T rabbitmq":'
        )
        yield from report.placement.commands


def _some(lines: list[str]) -> Iterator[str]:
    yield from lines[:_SHOWN]
    if more := lines[_SHOWN:]:
        yield f"... and {len(more)} more; --json lists all"
