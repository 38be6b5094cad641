"""RabbitMQ as a transport. No other package imports pika."""

from tasuki.transport.amqp.settings import AmqpSettings
from tasuki.transport.amqp.state import Counters, LinkState, StateChange
from tasuki.transport.amqp.transport import AmqpTransport

__all__ = ["AmqpSettings", "AmqpTransport", "Counters", "LinkState", "StateChange"]
