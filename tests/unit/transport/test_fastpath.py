"""The way past pika's copies: the same bytes and frames, or not used at all."""

from __future__ import annotations

import random

import pika
import pytest
from pika import BasicProperties, SelectConnection, frame, spec

from tasuki.ports import Frames, Route
from tasuki.transport.amqp import fastpath

ROUTE = Route(exchange="tasuki.weights", key="site-1")
BODIES: list[Frames] = [
    (),
    (b"",),
    (b"x",),
    (b"head", memoryview(bytes(300_000)), b"tail"),
    (memoryview(bytes(131_064)),),
    (memoryview(bytes(131_065)),),
]


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    fastpath.fits.cache_clear()


def wire(body: Frames) -> bytes:
    return b"".join(fastpath.message_pieces(3, ROUTE, BasicProperties(), body, most=131_064))


def test_it_fits_the_pika_that_is_installed() -> None:
    assert fastpath.fits()
    assert fastpath.connection_class(is_fast=True) is fastpath.FastConnection


def test_it_can_be_declined() -> None:
    assert fastpath.connection_class(is_fast=False) is SelectConnection


def test_an_unknown_pika_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pika, "__version__", "2.0.0")

    assert fastpath.connection_class(is_fast=True) is SelectConnection


def test_a_pika_that_lacks_a_part_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("pika.connection.Connection._process_frame")

    assert fastpath.connection_class(is_fast=True) is SelectConnection


def test_a_pika_that_reads_our_frames_otherwise_is_used_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fastpath, "_END", b"\x00")

    with pytest.raises(pika.exceptions.InvalidFrameError):
        frame.decode_frame(wire((b"x", b"y"))[-9:])
    assert fastpath.connection_class(is_fast=True) is SelectConnection


@pytest.mark.parametrize("body", BODIES)
def test_pika_reads_what_it_writes(body: Frames) -> None:
    left, frames = wire(body), []
    while left:
        size, arrived = frame.decode_frame(left)
        frames.append(arrived)
        left = left[size:]
    method, header, *pieces = frames

    assert isinstance(method.method, spec.Basic.Publish)
    assert method.method.mandatory
    assert header.body_size == sum(len(piece) for piece in body)
    assert b"".join(piece.fragment for piece in pieces) == b"".join(body)
    assert all(len(piece.fragment) <= 131_064 for piece in pieces)


@pytest.mark.parametrize("seed", range(20))
def test_it_reads_whatever_the_cuts(seed: int) -> None:
    draw = random.Random(seed)
    sent = b"".join(wire(body) for body in BODIES) + frame.Heartbeat().marshal()
    reader, arrived = fastpath.FrameReader(), []
    while sent:
        size = draw.choice([1, 3, 7, 8, 50, 4096, 100_000, 400_000])
        arrived += list(reader.feed(sent[:size]))
        sent = sent[size:]
    bodies = [one.fragment for one in arrived if isinstance(one, frame.Body)]

    assert b"".join(bodies) == b"".join(b"".join(body) for body in BODIES)
    assert sum(isinstance(one, frame.Method) for one in arrived) == len(BODIES)
    assert isinstance(arrived[-1], frame.Heartbeat)


def test_a_body_frame_without_its_end_mark_is_an_error() -> None:
    sent = wire((b"x",))[:-1] + b"\x00"

    with pytest.raises(pika.exceptions.InvalidFrameError):
        list(fastpath.FrameReader().feed(sent))


def test_what_is_no_frame_is_left_to_pika() -> None:
    reader = fastpath.FrameReader()

    assert list(reader.feed(b"AMQP\x00\x00\x09\x01")) == []
    assert reader.unknown() == b"AMQP\x00\x00\x09\x01"
