"""A fourth site joins from its kit alone; then the same kit, spoiled or revoked, is refused."""

from __future__ import annotations

from pathlib import Path

from compose.engine import FOLDER, ROOT, command
from compose.field import PROJECT, Field
from compose.refusals import BEFORE, REVOKED, check_refused, doctor
from support.waiting import wait_until

NEW_SITE = "site-4"
RUN = "joined"


def a_fourth_site_joins_a_run_that_goes_on(field: Field) -> None:
    field.submit(RUN, rounds=9, epochs=50)
    _provision(field)
    kit = _hand_out(field, NEW_SITE)
    kit_compose(field, "up", "--detach")
    wait_until(
        lambda: _is_added(field), what=f"{NEW_SITE} is heard of and added", within_s=120, poll_s=1
    )
    added_in = _round(field)
    rounds = wait_until(
        lambda: field.runs.turns_of(RUN, NEW_SITE),
        what=f"{NEW_SITE} has a turn",
        within_s=240,
        poll_s=1,
    )
    field.say(f"added in round {added_in}; {NEW_SITE}, from {kit.name}/ alone, trained in {rounds}")
    assert rounds[0] <= added_in + 1, "it had to wait for longer than the next round"
    field.await_finish(RUN)
    kit_compose(field, "down", "--volumes")


def strangers_are_refused(field: Field) -> None:
    kit, authority = field.folder / NEW_SITE, _hand_out(field, "ca")
    for refusal in (*BEFORE, REVOKED):
        if refusal is REVOKED:
            _init(field, "--revoke", NEW_SITE)
            _rabbitmqctl(field, "delete_user", NEW_SITE)
        spoiled = refusal.spoiled(kit, authority)
        here, there = check_refused(refusal, field.stack, spoiled)
        field.say(f"{refusal.name}: the site says {here[-300:]}")
        field.say(f"{refusal.name}: the broker says {there[-300:]}")
        found = doctor(spoiled, field.stack)
        field.say(f"{refusal.name}: the doctor says {found[:300]}")
        assert any(word in found.lower() for word in refusal.doctor_says), found


def kit_compose(field: Field, *words: str) -> None:
    """The new site's own compose.yaml, in the network in which the broker is."""
    command(
        "docker", "compose", "-p", f"{PROJECT}-{NEW_SITE}",
        "-f", field.folder / NEW_SITE / "compose.yaml",
        "-f", ROOT / "tests" / "compose" / "joined.yaml", *words,
        env={"TASUKI_NETWORK": field.stack.network("relay")},
    )  # fmt: skip


def _provision(field: Field) -> None:
    listed = (FOLDER / "demo" / "federation.toml").read_text()
    longer = field.folder / "federation.toml"
    longer.write_text(listed.replace('"site-3"]', f'"site-3", "{NEW_SITE}"]'))
    longer.chmod(0o644)
    assert NEW_SITE in longer.read_text()
    _init(field)
    _rabbitmqctl(field, "import_definitions", "/etc/rabbitmq/definitions.json")


def _init(field: Field, *words: str) -> None:
    """The kits once more, from the longer list."""
    longer = f"{field.folder}/federation.toml:/demo/federation.toml:ro"
    field.stack.compose("run", "--rm", "-T", "--volume", longer, "init", *words)


def _rabbitmqctl(field: Field, *words: str) -> None:
    field.stack.compose("exec", "-T", "rabbitmq", "rabbitmqctl", *words)


def _hand_out(field: Field, name: str) -> Path:
    """A copy of something among the kits on this machine."""
    field.stack.compose(
        "run", "--rm", "-T", "--volume", f"{field.folder}:/out",
        "--entrypoint", "cp", "init", "-a", f"/kits/{name}", "/out/",
    )  # fmt: skip
    return field.folder / name


def _is_added(field: Field) -> bool:
    try:
        added = field.stack.ask("CONTROLLER", f"/runs/{RUN}/sites/{NEW_SITE}", method="POST")
    except OSError:
        return False  # not heard of yet
    assert not added["outcome"], added
    return True


def _round(field: Field) -> int:
    """The round that is on, from 1."""
    rows = field.stack.ask("CONTROLLER", "/runs")["runs"]
    (row,) = [row for row in rows if row["run"] == RUN]
    return int(row["rounds"].partition("/")[0])
