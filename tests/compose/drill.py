"""The compose drill: everything that `compose/` promises, done to the real files on a real engine.

    make compose-test [RABBITMQ_IMAGE=rabbitmq:3.13-management]

It brings the stack up from nothing, lets the demo's run finish, asks every question of every
dashboard, then kills, cuts off, adds and refuses sites while runs go on, and takes it all down. It
needs Docker with Compose v2, and root: the kill comes from outside the container.

TASUKI_COMPOSE_PREPARE names a script that is run first, for a machine that has to get ready: once
as it is, once with the name of the broker's image.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from compose import joining, monitors, trouble
from compose.engine import command, docker
from compose.field import Field
from support.waiting import wait_until

SERVICES = ("rabbitmq", "controller", "site-1", "site-2", "site-3", "prometheus", "grafana")
IMAGES = ("tasuki-controller", "tasuki-site")


def images_are_built(field: Field) -> None:
    field.stack.compose("build")
    for image in IMAGES:
        size = int(docker("image", "inspect", "--format", "{{.Size}}", image))
        user = docker("image", "inspect", "--format", "{{.Config.User}}", image).strip()
        field.say(f"{image}: {size / 1e6:.0f} MB, runs as {user}")
        look = "find / -xdev -type f -perm /6000 2>/dev/null; command -v pip"
        sandbox = ("run", "--rm", "--network", "none", "--entrypoint", "sh")
        found = docker(*sandbox, image, "-c", f"{look}; true")
        assert not found, f"{image} has what makes root of somebody, or installs: {found}"


def everything_gets_healthy(field: Field) -> None:
    started = time.monotonic()
    field.stack.compose("up", "--detach")
    for service in SERVICES:
        field.await_healthy(service)
    field.say(f"{', '.join(SERVICES)} are healthy after {time.monotonic() - started:.0f} s")


def the_demo_run_finishes(field: Field) -> None:
    field.await_finish("demo")
    wait_until(
        lambda: field.stack.standing("demo") == "exited 0",
        what="the service that submitted the demo's run ends well",
        within_s=60,
        poll_s=1,
    )


STEPS: tuple[Callable[[Field], None], ...] = (
    images_are_built,
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
    if os.geteuid():
        sys.stderr.write("the drill kills containers' processes from outside: run it as root\n")
        return 2
    if prepare := os.environ.get("TASUKI_COMPOSE_PREPARE"):
        command("bash", prepare)
        if image := os.environ.get("RABBITMQ_IMAGE"):
            command("bash", prepare, image)
    folder = Path(tempfile.mkdtemp(prefix="tasuki-drill-"))
    folder.chmod(0o755)
    field = Field(folder)
    field.say(f"broker image: {os.environ.get('RABBITMQ_IMAGE', 'that of compose/.env')}")
    # What a drill that was killed has left.
    field.stack.compose("down", "--volumes", "--remove-orphans")
    try:
        for step in STEPS:
            field.say(f"--- {step.__name__.replace('_', ' ')}")
            step(field)
    except BaseException:
        _show_logs(field)
        raise
    finally:
        _down(field)
        shutil.rmtree(folder)
    field.say("the drill has passed")
    return 0


def _show_logs(field: Field) -> None:
    for service in ("demo", *SERVICES[:5]):
        tail = field.stack.compose("logs", "--no-color", "--tail", "25", service, check=False)
        field.say(f"{service} said last:\n{tail}")


def _down(field: Field) -> None:
    """Take it all down, and look for what stays."""
    if (field.folder / joining.NEW_SITE / "compose.yaml").exists():
        joining.kit_compose(field, "down", "--volumes")
    field.stack.compose("down", "--volumes", "--timeout", "20", "--remove-orphans")
    left = field.stack.leftovers()
    assert not left, f"left behind: {left}"
    field.say("down: no container, network or volume is left")


if __name__ == "__main__":
    sys.exit(main())
