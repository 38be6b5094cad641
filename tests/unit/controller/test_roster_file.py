"""A roster that is put in place of the old one counts within seconds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from support.members import NOW, Signatory
from support.waiting import until
from tasuki.core.model import CONTROLLER
from tasuki.trust.rosters import Rosters, write_issued
from tasuki.trust.signing import public_key
from tasuki_controller.roster_file import watch


@pytest.fixture
def lab() -> Signatory:
    return Signatory()


def test_a_newer_roster_counts_and_all_else_changes_nothing(tmp_path: Path, lab: Signatory) -> None:
    path = tmp_path / "roster.pem"
    names = (CONTROLLER, "a")
    rosters = Rosters(public_key(lab.authority.public), now=lambda: NOW)
    rosters.take(lab.roster(names, number=3))
    told: list[int] = []

    async def put(issued: bytes | None) -> None:
        if issued is None:
            path.write_text("no roster")
        else:
            write_issued(path, issued)
        await asyncio.sleep(0.05)

    async def run() -> None:
        watching = asyncio.create_task(
            watch(path, rosters, lambda: told.append(rosters.number), every_s=0.01)
        )
        await asyncio.sleep(0)
        for wrong in (None, lab.roster(names, number=2), Signatory().roster(names, number=9)):
            await put(wrong)
        assert ([], 3) == (told, rosters.number)
        write_issued(path, lab.roster(names, number=4))
        await until(lambda: told, what="the newer roster is there")
        watching.cancel()

    asyncio.run(run())
    assert ([4], 4) == (told, rosters.number)
