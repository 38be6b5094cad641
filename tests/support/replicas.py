"""Where a cluster's quorum queues and streams are, and how to bring them elsewhere.

Asked of Erlang and not of the management API, whose answers are seconds old.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass

from support.rabbit import Rabbit
from support.waiting import wait_until

_WHERE = """
base64:encode_to_string(rabbit_json:encode([begin
  {resource, V, _, N} = amqqueue:get_name(Q),
  S = amqqueue:get_type_state(Q),
  {Leader, Recorded, Online} = case amqqueue:get_type(Q) of
    rabbit_quorum_queue ->
      {Ra, Known} = amqqueue:get_pid(Q),
      {case ra_leaderboard:lookup_leader(Ra) of {_, L} -> L; _ -> null end, Known,
       [M || M <- maps:get(nodes, S), is_pid(rpc:call(M, erlang, whereis, [Ra], 3000))]};
    rabbit_stream_queue ->
      {ok, Ms} = rabbit_stream_coordinator:members(maps:get(name, S)),
      {lists:last([null | [M || {M, {P, writer}} <- maps:to_list(Ms), is_pid(P)]]), null,
       [M || {M, {P, _}} <- maps:to_list(Ms), is_pid(P)]}
  end,
  [V, N, amqqueue:get_type(Q) =:= rabbit_stream_queue, Leader, Recorded, maps:get(nodes, S), Online]
end || Q <- rabbit_amqqueue:list(), amqqueue:get_type(Q) =/= rabbit_classic_queue]))
"""
_LOOKED_UP = '{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"%s">>, queue, <<"%s">>))'
_LEAD_QUEUE = f"begin {_LOOKED_UP}, rabbit_quorum_queue:transfer_leadership(Q, '%s') end"
_UPSET_STREAM = f"""begin {_LOOKED_UP},
  {{ok, Ms}} = rabbit_stream_coordinator:members(maps:get(name, amqqueue:get_type_state(Q))),
  [exit(P, kill) || {{_, {{P, writer}}}} <- maps:to_list(Ms), is_pid(P)] end"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """Those of one quorum queue or stream, by the names of their nodes.

    Attributes:
        leader: None while there is none.
        recorded: of a queue, who led it when that was last written down: a node that is forgotten
            takes what it leads by that with it.
        online: whose replica runs.
    """

    vhost: str
    queue: str
    is_stream: bool
    leader: str | None
    recorded: str | None
    members: frozenset[str]
    online: frozenset[str]


def replicas(node: Rabbit) -> list[Replicas]:
    """All that there are, asked of this node."""
    told = json.loads(base64.b64decode(node.evaluate(_WHERE).strip('"')))
    return [
        Replicas(
            vhost=vhost,
            queue=queue,
            is_stream=is_stream,
            leader=leader,
            recorded=recorded,
            members=frozenset(members),
            online=frozenset(online),
        )
        for vhost, queue, is_stream, leader, recorded, members, online in told
    ]


def gather(asked: Rabbit, vhost: str) -> str:
    """Let one node lead everything of a vhost; its name.

    A quorum queue's leader can be told to make way. A stream's cannot in 3.10: it is ended, and a
    stream that has messages then goes to the node whose name comes first.
    """

    def gathered() -> str | None:
        there = [each for each in replicas(asked) if each.vhost == vhost]
        streams = [each for each in there if each.is_stream]
        leaders = {each.leader for each in streams}
        if len(leaders) > 1:
            for each in streams:
                if each.leader != min(each.members):
                    asked.evaluate(_UPSET_STREAM % (vhost, each.queue))
            return None
        (leader,) = leaders
        elsewhere = [each.queue for each in there if each.leader != leader]
        for queue in elsewhere:
            asked.evaluate(_LEAD_QUEUE % (vhost, queue, leader))
        return None if elsewhere else leader

    what = f"one node leads everything of {vhost}"
    return str(wait_until(gathered, what=what, within_s=60, poll_s=0.2))


def lead(node: Rabbit, vhost: str, queue: str) -> None:
    """Make this node the leader of a quorum queue."""

    def leads() -> bool:
        (it,) = [r for r in replicas(node) if (r.vhost, r.queue) == (vhost, queue)]
        if it.leader not in {None, node.name}:
            node.evaluate(_LEAD_QUEUE % (vhost, queue, node.name))
        return it.leader == node.name

    wait_until(leads, what=f"{node} leads {queue}", within_s=60)


def are_whole(node: Rabbit, *, of: Iterable[Rabbit]) -> bool:
    """Whether everything has a leader and a replica that runs on each of these nodes."""
    names = {each.name for each in of}
    return all(each.leader and each.online >= names for each in replicas(node))
