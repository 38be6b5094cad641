"""Consuming: one channel per consumer, opened again after whatever happened to it.

A channel each, because the broker answers any mistake or timeout by closing the channel, and
because only closing it gives back what a cancelled consumer had not settled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pika import BasicProperties, SelectConnection, spec
from pika.channel import Channel

from tasuki.ports import Delivery, Settlement
from tasuki.transport.amqp import refusals
from tasuki.transport.amqp.connection import Link
from tasuki.transport.amqp.consumer import OFFSET, Consumer, Done, Tag, tag_of
from tasuki.transport.amqp.state import Counters, LinkState, StateChange

OnChange = Callable[[StateChange], None]
HandOver = Callable[[Consumer, Delivery], None]


class Consumers:
    """All consumers of one transport; lives on its link's thread.

    Args:
        hand_over: takes a delivery to the asyncio loop and its handler.
    """

    def __init__(
        self, link: Link, counters: Counters, on_change: OnChange, hand_over: HandOver
    ) -> None:
        self._link = link
        self._counters = counters
        self._on_change = on_change
        self._hand_over = hand_over
        self._consumers: list[Consumer] = []

    def add(self, consumer: Consumer) -> None:
        """From any thread."""
        self._link.call(lambda: self._add(consumer))

    def cancel(self, consumer: Consumer, done: Done) -> None:
        """From any thread, with `is_over` set; what is unsettled then goes back to its queue."""
        self._link.call(lambda: self._cancel(consumer, done))

    def settle(self, delivery: Delivery, settlement: Settlement) -> None:
        """From any thread."""
        self._link.call(lambda: self._settle(delivery, settlement))

    def on_up(self, connection: SelectConnection) -> None:
        for consumer in self._consumers:
            self._open(consumer, connection)

    def on_change(self, change: StateChange) -> None:
        if change.state is LinkState.SILENT:
            self._counters.consume_unanswered += 1
        elif change.state is LinkState.DOWN:
            for consumer in list(self._consumers):
                self._lose_channel(consumer)
        self._on_change(change)

    def _add(self, consumer: Consumer) -> None:
        self._consumers.append(consumer)
        if self._link.connection is not None:
            self._open(consumer, self._link.connection)

    def _cancel(self, consumer: Consumer, done: Done) -> None:
        consumer.cancelled.append(done)
        if consumer.channel is None:
            self._remove(consumer)
        else:
            self._close(consumer, consumer.channel)
        # Or it is being opened or closed: what happens next finds it cancelled.

    def _remove(self, consumer: Consumer) -> None:
        if consumer in self._consumers:
            self._consumers.remove(consumer)
        consumer.start(None)
        for done in consumer.cancelled:
            done(None)
        consumer.cancelled.clear()

    # --- channels

    def _open(self, consumer: Consumer, connection: SelectConnection) -> None:
        channel: Channel = connection.channel(
            on_open_callback=lambda _: self._on_open(consumer, channel)
        )
        consumer.channel = channel
        self._link.expect(consumer, f"a channel for reading {consumer.queue}")
        channel.add_on_close_callback(lambda _, error: self._on_closed(consumer, channel, error))
        channel.add_on_cancel_callback(lambda _: self._close(consumer, channel))

    def _on_open(self, consumer: Consumer, channel: Channel) -> None:
        if consumer.is_over:
            self._close(consumer, channel)
            return
        self._link.expect(consumer, f"how much at a time of {consumer.queue}")
        channel.basic_qos(
            prefetch_count=consumer.prefetch, callback=lambda _: self._subscribe(consumer, channel)
        )

    def _subscribe(self, consumer: Consumer, channel: Channel) -> None:
        if channel.is_open:
            self._link.expect(consumer, f"being accepted as a reader of {consumer.queue}")
            channel.basic_consume(
                consumer.queue,
                lambda _, method, properties, body: self._on_delivery(
                    consumer, channel, method, properties, body
                ),
                arguments=consumer.arguments(),
                callback=lambda _: self._on_subscribed(consumer),
            )

    def _on_subscribed(self, consumer: Consumer) -> None:
        self._link.came(consumer)
        if consumer.failures:
            self._link.tell(LinkState.SERVED, what=consumer.name)
        consumer.failures = 0
        consumer.start(None)

    def _on_closed(self, consumer: Consumer, channel: Channel, error: Exception) -> None:
        if consumer.channel is channel:
            self._link.came(consumer)
            consumer.lose_channel()
            refused = refusals.refusal(error, what=consumer.name)
            if consumer.is_over:
                self._remove(consumer)
            elif refused is not None and not consumer.has_started:
                self._refuse(consumer, refused)
            elif self._link.connection is not None:
                self._open_later(consumer, error)

    def _refuse(self, consumer: Consumer, error: Exception) -> None:
        consumer.is_over = True
        consumer.start(error)
        self._remove(consumer)

    def _open_later(self, consumer: Consumer, error: Exception) -> None:
        reason = refusals.describe(error)
        self._link.tell(LinkState.WAITING, what=consumer.name, reason=reason)
        is_elsewhere = refusals.is_for_another_node(error)
        # Of several nodes each is asked once before the pause grows.
        tries = consumer.failures // self._link.nodes if is_elsewhere else consumer.failures
        consumer.failures += 1
        again = partial(self._open_again, consumer, reason if is_elsewhere else "")
        self._link.later(again, delay_s=self._link.backoff_s(tries))

    def _open_again(self, consumer: Consumer, elsewhere: str) -> None:
        # Meanwhile a new connection may have opened it, or its owner cancelled it.
        connection = self._link.connection
        if connection is None or consumer.channel is not None or consumer not in self._consumers:
            return
        if elsewhere:
            self._link.go_elsewhere(elsewhere)
        else:
            self._open(consumer, connection)

    def _lose_channel(self, consumer: Consumer) -> None:
        consumer.lose_channel()
        if consumer.is_over:
            self._remove(consumer)

    def _close(self, consumer: Consumer, channel: Channel) -> None:
        if channel.is_open:
            self._link.expect(consumer, f"the end of reading {consumer.queue}")
            channel.close()

    # --- deliveries

    def _on_delivery(
        self,
        consumer: Consumer,
        channel: Channel,
        method: spec.Basic.Deliver,
        properties: BasicProperties,
        body: bytes,
    ) -> None:
        delivery = Delivery(
            queue=consumer.queue,
            body=body,
            sender=properties.user_id or "",
            offset=(properties.headers or {}).get(OFFSET),
            tag=Tag(consumer, channel, method.delivery_tag),
        )
        self._counters.delivered_bytes += len(body)
        consumer.held.append(delivery)
        self._hand_over_held(consumer)

    def _hand_over_held(self, consumer: Consumer) -> None:
        for delivery in consumer.take_held():
            self._hand_over(consumer, delivery)

    def _settle(self, delivery: Delivery, settlement: Settlement) -> None:
        tag = tag_of(delivery)
        if delivery.offset is not None:
            tag.consumer.unsettled.discard(delivery.offset)
        channel = tag.consumer.channel
        if channel is None or channel is not tag.channel or not channel.is_open:
            return  # it comes again, or has already
        if tag.number not in tag.consumer.out:
            return  # settled twice: a second ack would close the channel
        tag.consumer.out.remove(tag.number)
        if settlement is Settlement.DONE or delivery.offset is not None:
            # Streams answer a reject by closing the whole connection.
            channel.basic_ack(tag.number)
        else:
            channel.basic_reject(tag.number, requeue=False)
        self._hand_over_held(tag.consumer)
