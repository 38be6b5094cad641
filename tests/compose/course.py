"""How a drill goes: get ready, one step after the other, and take everything down again."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from compose.engine import command, docker
from compose.field import Field

Step = Callable[[Field], None]

IMAGES = ("tasuki-controller", "tasuki-site")


def run(
    steps: Sequence[Step],
    *,
    files: Sequence[str],
    shown: Iterable[str],
    before_down: Callable[[Field], None] = lambda _: None,
) -> int:
    """One drill on these files of `compose/`; the exit code.

    Args:
        shown: services whose last words are of use when a step fails.
        before_down: takes down what a step has put beside the stack.
    """
    if os.geteuid():
        sys.stderr.write("the drill kills containers' processes from outside: run it as root\n")
        return 2
    _prepare()
    folder = Path(tempfile.mkdtemp(prefix="tasuki-drill-"))
    folder.chmod(0o755)
    field = Field(folder, files=files)
    field.say(f"broker image: {os.environ.get('RABBITMQ_IMAGE', 'that of compose/.env')}")
    field.stack.clear()  # a drill that was killed has left it, this one or the other
    try:
        for step in steps:
            field.say(f"--- {step.__name__.replace('_', ' ')}")
            step(field)
    except BaseException:
        _show_logs(field, shown)
        raise
    finally:
        before_down(field)
        _down(field)
        shutil.rmtree(folder)
    field.say("the drill has passed")
    return 0


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


def get_healthy(field: Field, services: Sequence[str], *started: str) -> None:
    """Start these services, or all, and wait for those that have to be healthy."""
    began = time.monotonic()
    field.stack.compose("up", "--detach", *started)
    for service in services:
        field.await_healthy(service)
    field.say(f"{', '.join(services)} are healthy after {time.monotonic() - began:.0f} s")


def _prepare() -> None:
    if prepare := os.environ.get("TASUKI_COMPOSE_PREPARE"):
        command("bash", prepare)
        if image := os.environ.get("RABBITMQ_IMAGE"):
            command("bash", prepare, image)


def _show_logs(field: Field, services: Iterable[str]) -> None:
    for service in services:
        tail = field.stack.compose("logs", "--no-color", "--tail", "25", service, check=False)
        field.say(f"{service} said last:\n{tail}")


def _down(field: Field) -> None:
    """Take it all down, and look for what stays."""
    field.stack.compose("down", "--volumes", "--timeout", "20", "--remove-orphans")
    left = field.stack.leftovers()
    assert not left, f"left behind: {left}"
    field.say("down: no container, network or volume is left")
