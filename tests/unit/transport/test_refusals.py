"""Of several reasons, the one that an operator can do something about."""

from __future__ import annotations

import ssl

from pika.adapters.utils.connection_workflow import (
    AMQPConnectionWorkflowFailed,
    AMQPConnectorSocketConnectError,
    AMQPConnectorTransportSetupError,
)

from tasuki.transport.amqp.refusals import describe

NOT_THERE = AMQPConnectorSocketConnectError(OSError(99, "Cannot assign requested address"))
UNTRUSTED = AMQPConnectorTransportSetupError(
    ssl.SSLCertVerificationError(1, "certificate verify failed")
)


def test_a_second_address_that_is_not_there_does_not_hide_a_wrong_certificate() -> None:
    said = describe(AMQPConnectionWorkflowFailed([UNTRUSTED, NOT_THERE]))
    assert "certificate verify failed" in said
    assert "[broker] ca" in said


def test_otherwise_the_last_attempt_counts() -> None:
    refused = AMQPConnectorSocketConnectError(OSError(111, "Connection refused"))
    assert "Cannot assign" in describe(AMQPConnectionWorkflowFailed([refused, NOT_THERE]))
