"""The compose drill: everything that `compose/` promises, done to the real files on a real engine.

    make compose-test [RABBITMQ_IMAGE=rabbitmq:3.13-management]

It brings the stack up from nothing, lets the demo's run finish, asks every question of every
dashboard, then kills, cuts off, adds and refuses sites while runs go on, and takes it all down. It
needs Docker with Compose v2, and root: the kill comes from outside the container.

TASUKI_COMPOSE_PREPARE names a script that is run first, for a machine that has to get ready: once
as it is, once with the name of the broker's image.
"""

from __future__ import annotations

import sys

from compose import course, joining, monitors, trouble
from compose.field import Field
from support.waiting import wait_until

SERVICES = ("rabbitmq", "controller", "site-1", "site-2", "site-3", "prometheus", "grafana")


def everything_gets_healthy(field: Field) -> None:
    course.get_healthy(field, SERVICES)


def the_demo_run_finishes(field: Field) -> None:
    field.await_finish("demo")
    wait_until(
        lambda: field.stack.standing("demo") == "exited 0",
        what="the service that submitted the demo's run ends well",
        within_s=60,
        poll_s=1,
    )


STEPS: tuple[course.Step, ...] = (
    course.images_are_built,
    everything_gets_healthy,
    the_demo_run_finishes,
    monitors.prometheus_reads_all_targets_and_rules,
    monitors.every_panel_has_data,
    trouble.a_killed_site_changes_no_bit,
    trouble.a_killed_broker_changes_no_bit,
    trouble.a_site_cut_off_for_a_minute_is_passed_over_and_returns,
    joining.a_fourth_site_joins_a_run_that_goes_on,
    joining.strangers_are_refused,
)


def main() -> int:
    return course.run(
        STEPS,
        files=("compose.yaml",),
        shown=("demo", *SERVICES[:5]),
        before_down=_new_site_is_down,
    )


def _new_site_is_down(field: Field) -> None:
    if (field.folder / joining.NEW_SITE / "compose.yaml").exists():
        joining.kit_compose(field, "down", "--volumes")


if __name__ == "__main__":
    sys.exit(main())
