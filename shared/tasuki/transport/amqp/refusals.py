"""pika's exceptions in our words. The one question: is it worth another try?"""

from __future__ import annotations

import errno
import re
import ssl
from collections.abc import Sequence

from pika import exceptions as pika_errors
from pika.adapters.utils import connection_workflow

from tasuki.errors import NotPermitted, TransportError, Unroutable

_ACCESS_REFUSED = 403
_NOT_FOUND = 404
_PRECONDITION_FAILED = 406
_NOT_ALLOWED = 530

_MISSING = ("no queue", "no exchange")
"""What a 404 says of things that do not exist. Others are down, and return after a restart."""

_NO_REPLICA = "replica on the local node"
"""What a 406 says of a stream that only other nodes can be asked for."""

_NOBODY_THERE = {
    errno.EADDRNOTAVAIL,
    errno.EAFNOSUPPORT,
    errno.ECONNREFUSED,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ETIMEDOUT,
}

_BAD_LOGIN = (
    pika_errors.AuthenticationError,
    pika_errors.ProbableAuthenticationError,
    pika_errors.ProbableAccessDeniedError,
)

_RENEW = "ask the operator for a new kit"
_ALERTS = {
    "CERTIFICATE_REQUIRED": "it asks for a client certificate; set [broker] cert and key",
    "CERTIFICATE_EXPIRED": f"our certificate has expired; {_RENEW}",
    "CERTIFICATE_REVOKED": f"our certificate was revoked; {_RENEW}",
    "UNKNOWN_CA": f"our certificate is of an authority that it does not know; {_RENEW}",
    "BAD_CERTIFICATE": f"our certificate is damaged or of another authority; {_RENEW}",
    "UNSUPPORTED_CERTIFICATE": f"our certificate is no client's; {_RENEW}",
    "CERTIFICATE_UNKNOWN": f"something is wrong with our certificate; {_RENEW}",
}
"""What OpenSSL calls the alerts that a certificate can cause, and what they mean to us."""
_ALERT = re.compile(rf"ALERT_({'|'.join(_ALERTS)})\b")


def refusal(error: BaseException | None, *, what: str) -> TransportError | None:
    """Why a channel was closed, if trying again is in vain; None if it may help."""
    if not isinstance(error, pika_errors.ChannelClosedByBroker):
        return None
    code, text = error.reply_code, error.reply_text
    if code == _ACCESS_REFUSED:
        return _caused(NotPermitted(f"{what}: the broker refuses it: {text}"), error)
    if code == _NOT_FOUND and any(missing in text for missing in _MISSING):
        return _caused(Unroutable(f"{what}: {text}; provision it on the broker first"), error)
    if is_for_another_node(error):
        return None
    if code == _PRECONDITION_FAILED and "timeout" not in text:
        return _caused(TransportError(f"{what}: the broker cannot do this: {text}"), error)
    return None


def is_for_another_node(error: BaseException | None) -> bool:
    """Whether this node of the broker cannot do what another may.

    A node that has just come back has no running replica of its streams yet; a moment later it
    would close the whole connection for that (506), which leads to another node anyway.
    """
    if not isinstance(error, pika_errors.ChannelClosedByBroker):
        return False
    return _NO_REPLICA in str(error.reply_text)


def login_refusal(error: BaseException, *, user: str) -> NotPermitted | None:
    """Why the broker does not let us in, if it is about who we are."""
    cause = _innermost(error)
    closed_for = isinstance(cause, pika_errors.ConnectionClosedByBroker) and (
        cause.reply_code in {_ACCESS_REFUSED, _NOT_ALLOWED}
    )
    if not isinstance(cause, _BAD_LOGIN) and not closed_for:
        return None
    if "down" in str(cause):
        return None  # the vhost, just after the broker's start
    refused = NotPermitted(
        f"the broker refuses user {user!r} or its vhost: {describe(cause)}; compare [broker] url "
        "and password_file with the kit"
    )
    refused.__cause__ = cause
    return refused


def certificate_refusal(error: BaseException) -> NotPermitted | None:
    """Why the broker does not take our certificate, if that is what it says.

    With TLS 1.3 it says so when for us the connection is open already, so that the alert arrives
    as a connection lost, in pika's words.
    """
    cause = _innermost(error)
    found = _ALERT.search(repr(cause))
    if found is None:
        return None
    refused = NotPermitted(f"the broker refuses this client: {_ALERTS[found[1]]} ({found[0]})")
    refused.__cause__ = cause
    return refused


def is_hang_up(error: BaseException) -> bool:
    """Whether the broker just went away. It may have said why, and that was lost on the way."""
    cause = _innermost(error)
    if isinstance(cause, ssl.SSLEOFError | ConnectionError):
        return True
    # While a connection is being opened pika wraps it in guesses, as text.
    return pika_errors.StreamLostError.__name__ in repr(cause)


def most_telling(errors: Sequence[BaseException]) -> BaseException:
    """Of the failures at each of a host's addresses.

    Whoever answers at one of them has more to say than that there was nobody at another.
    """
    return max(errors, key=_how_far)


def describe(error: BaseException) -> str:
    """One line for the log."""
    cause = _innermost(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"{cause}; check the host of [broker] url and the certificates of [broker] ca"
    return str(cause) or repr(cause)


def _innermost(error: BaseException) -> BaseException:
    """Connection attempts wrap their failures several times over."""
    if isinstance(error, connection_workflow.AMQPConnectionWorkflowFailed) and error.exceptions:
        return _innermost(most_telling(error.exceptions))
    if isinstance(error, connection_workflow.AMQPConnectorPhaseErrorBase):
        return _innermost(error.exception)
    if isinstance(error, pika_errors.AMQPConnectionError) and error.args:
        inner = error.args[0]
        return _innermost(inner) if isinstance(inner, BaseException) else error
    return error


def _how_far(error: BaseException) -> int:
    """How far an attempt got before it failed so."""
    cause = _innermost(error)
    if isinstance(cause, ssl.SSLError):
        return 2
    return 0 if isinstance(cause, OSError) and cause.errno in _NOBODY_THERE else 1


def _caused(error: TransportError, cause: BaseException) -> TransportError:
    error.__cause__ = cause
    return error
