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
from pika.exceptions import StreamLostError

from tasuki.transport.amqp.refusals import describe, is_hang_up

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
