"""What scripts take out of `nvflare.client.config`; the rest of it has no counterpart here."""

from __future__ import annotations

from tasuki.flare.absent import absent
from tasuki.flare.constants import ExchangeFormat, TransferType

__all__ = ["ExchangeFormat", "TransferType"]


def __getattr__(name: str) -> object:
    raise absent(__name__, name, otherwise="flare.get_config() has the run's params and more")
