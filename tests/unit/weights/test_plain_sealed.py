"""What docs/protocol.md says of sealed transfers is enough to read one."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st

from support.plain_sealed import Reader
from support.sealed import Lab
from tasuki.core.model import CONTROLLER


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("lab"))


def reader(lab: Lab, name: str, *, sender: str = "a") -> Reader:
    _, sealing = lab.signatory.keys[name]
    key = load_pem_private_key(sealing.pem(), password=None)
    return Reader(
        federation=lab.signatory.federation,
        name=name,
        private=key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()),
        sender=sender,
        point=lab.signatory.keys[sender][0].public,
    )


@given(data=st.binary(min_size=1, max_size=300), step=st.integers(1, 400))
def test_a_naive_reader_reads_what_was_sealed_for_it(lab: Lab, data: bytes, step: int) -> None:
    pieces = lab.pieces(data, step=step)
    for name in ("b", CONTROLLER):
        assert data == reader(lab, name).read(pieces)


def test_it_reads_the_last_round_that_goes_to_the_controller_alone(lab: Lab) -> None:
    assert b"weights" == reader(lab, CONTROLLER).read(lab.pieces(b"weights", to=CONTROLLER))


def test_it_reads_nothing_that_is_for_others_or_from_another(lab: Lab) -> None:
    pieces = lab.pieces(b"weights" * 40)
    for name, sender in (("c", "a"), ("b", "c")):
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever is wrong
            reader(lab, name, sender=sender).read(pieces)


def test_it_refuses_pieces_that_are_out_of_place(lab: Lab) -> None:
    first, second, *rest = lab.pieces(b"weights" * 40)
    for altered in (
        [first, *rest],
        [first, second, second, *rest],
        [first, *rest, second],
        [first, second, *rest[:-1]],
        [first, second[:-1] + bytes([second[-1] ^ 1]), *rest],
    ):
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever is wrong
            reader(lab, "b").read(altered)
    assert b"weights" * 40 == reader(lab, "b").read([first, second, *rest])
