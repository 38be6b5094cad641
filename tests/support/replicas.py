"""Where a cluster's quorum queues and streams are, and how to bring them elsewhere.

Asked of Erlang and not of the management API, whose answers are seconds old.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass

from support.rabbit import Rabbit, Refused
from support.waiting import wait_until

_WHERE = """
base64:encode_to_string(rabbit_json:encode([begin
  {resource, V, _, N} = amqqueue:get_name(Q),
  S = amqqueue:get_type_state(Q),
  {Leader, Online} = case amqqueue:get_type(Q) of
    rabbit_quorum_queue ->
      {Ra, _} = amqqueue:get_pid(Q),
      {case ra_leaderboard:lookup_leader(Ra) of {_, L} -> L; _ -> null end,
       [M || M <- maps:get(nodes, S), is_pid(rpc:call(M, erlang, whereis, [Ra], 3000))]};
    rabbit_stream_queue ->
      {ok, Ms} = rabbit_stream_coordinator:members(maps:get(name, S)),
      {lists:last([null | [M || {M, {P, writer}} <- maps:to_list(Ms), is_pid(P)]]),
       [M || {M, {P, _}} <- maps:to_list(Ms), is_pid(P)]}
  end,
  [V, N, Leader, maps:get(nodes, S), Online]
end || Q <- rabbit_amqqueue:list(), amqqueue:get_type(Q) =/= rabbit_classic_queue]))
"""
_LOOKED_UP = '{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"%s">>, queue, <<"%s">>))'
_LEAD_QUEUE = f"begin {_LOOKED_UP}, rabbit_quorum_queue:transfer_leadership(Q, '%s') end"
_UPSET_STREAM = f"""begin {_LOOKED_UP},
  {{ok, Ms}} = rabbit_stream_coordinator:members(maps:get(name, amqqueue:get_type_state(Q))),
  [exit(P, kill) || {{_, {{P, writer}}}} <- maps:to_list(Ms), is_pid(P)] end"""
_GROW_QUEUES = 'rabbit_quorum_queue:grow(\'%s\', <<".*">>, <<".*">>, all)'
_GROW_STREAM = 'rabbit_stream_queue:add_replica(<<"%s">>, <<"%s">>, \'%s\')'


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """Those of one quorum queue or stream, by the names of their nodes.

    Attributes:
        leader: None while there is none.
        online: whose replica runs.
    """

    vhost: str
    queue: str
    leader: str | None
    members: frozenset[str]
    online: frozenset[str]


def replicas(node: Rabbit) -> list[Replicas]:
    """All that there are, asked of this node."""
    told = json.loads(base64.b64decode(node.evaluate(_WHERE).strip('"')))
    return [
        Replicas(
            vhost=vhost,
            queue=queue,
            leader=leader,
            members=frozenset(members),
            online=frozenset(online),
        )
        for vhost, queue, leader, members, online in told
    ]


def leader(node: Rabbit, vhost: str, queue: str) -> str | None:
    """The name of the node that leads it, asked of this node."""
    for each in replicas(node):
        if (each.vhost, each.queue) == (vhost, queue):
            return each.leader
    raise Refused(f"{vhost} has no quorum queue and no stream {queue}")


def lead(node: Rabbit, vhost: str, queue: str, *, is_stream: bool) -> None:
    """Make this node the leader.

    A quorum queue's leader can be told to make way. A stream's cannot in 3.10: its writer is ended
    until the cluster happens to choose the right node.
    """
    ask = _UPSET_STREAM % (vhost, queue) if is_stream else _LEAD_QUEUE % (vhost, queue, node.name)

    def leads() -> bool:
        now = leader(node, vhost, queue)
        if now not in (None, node.name):
            node.evaluate(ask)
        return now == node.name

    wait_until(leads, what=f"{node} leads {queue}", within_s=60)


def grow(node: Rabbit) -> None:
    """Give this node a replica of everything, as an operator does."""
    node.evaluate(_GROW_QUEUES % node.name)
    for each in replicas(node):
        if node.name not in each.members:
            node.evaluate(_GROW_STREAM % (each.vhost, each.queue, node.name))


def are_whole(node: Rabbit, *, of: Iterable[Rabbit]) -> bool:
    """Whether everything has a leader and a replica that runs on each of these nodes."""
    names = {each.name for each in of}
    return all(each.leader and each.online >= names for each in replicas(node))
