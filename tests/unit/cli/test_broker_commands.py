"""The broker's own commands: how they are called, and what is read from them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tasuki.errors import TransportError
from tasuki_cli.provision import ctl
from tasuki_cli.provision.ctl import Ctl, command_for, movable, rebalance
from tasuki_cli.provision.replicas import Change, Placed

V3_10, V4_0 = (3, 10), (4, 0)


def change(*, is_stream: bool, adds: bool) -> Change:
    return Change(queue="tasuki.x", is_stream=is_stream, node="rabbit@b", adds=adds)


@pytest.mark.parametrize(
    ("is_stream", "adds", "command"),
    [
        (False, True, "rabbitmq-queues add_member --vhost clinics tasuki.x rabbit@b"),
        (False, False, "rabbitmq-queues delete_member --vhost clinics tasuki.x rabbit@b"),
        (True, True, "rabbitmq-streams add_replica --vhost clinics tasuki.x rabbit@b"),
        (True, False, "rabbitmq-streams delete_replica --vhost clinics tasuki.x rabbit@b"),
    ],
)
def test_each_change_has_its_command(is_stream: bool, adds: bool, command: str) -> None:
    wanted = change(is_stream=is_stream, adds=adds)

    assert command == " ".join(command_for(wanted, vhost="clinics", version=V4_0))


def test_an_old_broker_forgets_a_stream_s_replica_by_other_means() -> None:
    """Its command refuses when the node is gone, which is when it is needed."""
    wanted = change(is_stream=True, adds=False)

    tool, what, expression = command_for(wanted, vhost="clinics", version=V3_10)

    assert ("rabbitmqctl", "eval") == (tool, what)
    for part in ('<<"clinics">>', '<<"tasuki.x">>', "'rabbit@b'", "delete_replica"):
        assert part in expression


def test_leaders_of_one_vhost_are_spread_and_of_no_other() -> None:
    assert "^a[.]b$" == rebalance("a.b")[-1]


def test_an_old_broker_cannot_move_the_leader_of_a_stream() -> None:
    assert {"quorum"} == movable(V3_10)
    assert {"quorum", "stream"} == movable(V4_0)


def test_the_words_after_the_prefix_are_the_command_s(tmp_path: Path) -> None:
    said = Ctl([sys.executable, "-c", "import sys; print(sys.argv[1:])"]).run("a b", "'c'")

    assert "['a b', \"'c'\"]" == said.strip()


def test_a_shell_at_the_other_end_of_ssh_reads_the_same_words(tmp_path: Path) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\nshift\nexec sh -c "$*"\n')
    ssh.chmod(0o755)

    said = Ctl([str(ssh), "host"]).run("printf", "%s\n", '{ok, _} = <<"x">>, $a.')

    assert '{ok, _} = <<"x">>, $a.\n' == said


def test_a_command_that_fails_says_which_and_why() -> None:
    with pytest.raises(TransportError, match="ended with 69: node_not_running"):
        Ctl(["sh", "-c", "echo node_not_running >&2; exit 69"]).run("rabbitmq-queues")
    with pytest.raises(TransportError, match="no-such-command"):
        Ctl(["no-such-command"]).run("rabbitmqctl")


def answering(folder: Path, answer: object) -> Ctl:
    (folder / "answer").write_text(json.dumps(answer))
    return Ctl(["sh", "-c", f"cat {folder}/answer"])


def test_the_nodes_are_those_with_a_disk_and_those_without(tmp_path: Path) -> None:
    found = answering(tmp_path, {"disk_nodes": ["rabbit@a"], "ram_nodes": ["rabbit@b"]})

    assert {"rabbit@a", "rabbit@b"} == found.nodes()


def test_queues_of_every_type_are_read(tmp_path: Path) -> None:
    rows = [
        {"name": "c", "type": "classic", "leader": "", "members": "", "online": ""},
        {"name": "q", "type": "quorum", "leader": "a", "members": ["a", "b"], "online": ["a"]},
        {"name": "s", "type": "rabbit_stream_queue", "leader": "", "members": "", "online": ""},
    ]

    classic, quorum, stream = answering(tmp_path, rows).placed("clinics")

    assert Placed(name="c", kind="classic") == classic
    expected = Placed(
        name="q",
        kind="quorum",
        leader="a",
        members=frozenset({"a", "b"}),
        online=frozenset({"a"}),
    )
    assert expected == quorum
    assert "stream" == stream.kind


def test_words_that_are_no_json_are_an_error() -> None:
    with pytest.raises(TransportError, match="gave no JSON: hello"):
        Ctl(["echo", "hello"]).nodes()


def test_a_machine_without_the_commands_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)

    assert ctl.found(None) is None
    assert ctl.found("docker compose exec -T rabbitmq") is not None
