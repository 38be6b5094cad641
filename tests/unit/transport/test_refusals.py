"""Of several reasons, the one that an operator can do something about."""

from __future__ import annotations

import errno
import ssl

from pika.adapters.utils.connection_workflow import (
    AMQPConnectionWorkflowFailed,
    AMQPConnectorAMQPHandshakeError,
    AMQPConnectorSocketConnectError,
    AMQPConnectorTransportSetupError,
)
from pika.exceptions import ChannelClosedByBroker, StreamLostError

from tasuki.errors import TransportError
from tasuki.transport.amqp.refusals import (
    describe,
    is_for_another_node,
    is_hang_up,
    refusal,
)

NOT_THERE = AMQPConnectorSocketConnectError(
    OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
)
UNTRUSTED = AMQPConnectorTransportSetupError(
    ssl.SSLCertVerificationError(1, "certificate verify failed")
)


def test_a_second_address_that_is_not_there_does_not_hide_a_wrong_certificate() -> None:
    said = describe(AMQPConnectionWorkflowFailed([UNTRUSTED, NOT_THERE]))
    assert "certificate verify failed" in said
    assert "[broker] ca" in said


def test_nor_does_it_hide_that_the_broker_hung_up() -> None:
    lost = AMQPConnectorAMQPHandshakeError(StreamLostError("Transport indicated EOF"))
    failed = AMQPConnectionWorkflowFailed([lost, NOT_THERE])
    assert is_hang_up(failed)
    assert "EOF" in describe(failed)


def test_of_addresses_at_which_nobody_is_the_first_counts() -> None:
    refused = AMQPConnectorSocketConnectError(OSError(errno.ECONNREFUSED, "Connection refused"))
    assert "refused" in describe(AMQPConnectionWorkflowFailed([refused, NOT_THERE]))


def test_a_node_without_a_replica_is_no_reason_to_give_up() -> None:
    said = "PRECONDITION_FAILED - queue 'q' in vhost '/' does not have a replica on the local node"
    elsewhere = ChannelClosedByBroker(406, said)
    nowhere = ChannelClosedByBroker(406, "PRECONDITION_FAILED - invalid arg 'x-stream-offset'")

    assert is_for_another_node(elsewhere)
    assert refusal(elsewhere, what="reading q") is None
    assert not is_for_another_node(nowhere)
    assert isinstance(refusal(nowhere, what="reading q"), TransportError)
