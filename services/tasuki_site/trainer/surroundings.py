"""What a site's code finds around it: the current folder, its arguments, modules of its own.

One process may train for many sites of a simulation, one after the other. What one of them keeps
in its modules is not there for the next, as it would not be in a federation.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

from tasuki.errors import TrainerError
from tasuki_site.trainer.request import TurnRequest
from tasuki_site.trainer.source import Source

Modules = dict[str, ModuleType]
Owner = tuple[str, int]  # (site, lane)

_INSTALLED = {"site-packages", "dist-packages"}


class Surroundings:
    """Sets up for one turn after the other. What is kept is kept for each lane of each site."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._shared = set(sys.modules)
        self._kept: dict[Owner, Modules] = {}
        self._owner: Owner | None = None

    def enter(self, request: TurnRequest) -> None:
        """From here on the code is this turn's, and works in its folder."""
        place = request.folder or str(self._source.folder)
        try:
            os.chdir(place)
        except OSError as exc:
            raise TrainerError(f"the trainer cannot work in {place}: {exc.strerror}") from exc
        sys.argv[:] = self._source.argv
        owner = (request.site, request.trained_in[1])
        if owner == self._owner:
            return
        if self._owner is not None:
            self._kept[self._owner] = self._taken_off()
        sys.modules.update(self._kept.pop(owner, {}))
        self._owner = owner

    def _taken_off(self) -> Modules:
        """The modules from the trainer's folder, which are imported anew for another."""
        own: Modules = {}
        for name in sys.modules.keys() - self._shared:
            if self._is_own(sys.modules[name]):
                own[name] = sys.modules.pop(name)
            else:
                self._shared.add(name)  # looked at once: there are thousands of them
        return own

    def _is_own(self, module: ModuleType) -> bool:
        file = getattr(module, "__file__", None)
        places = [file] if file else list(getattr(module, "__path__", ()))
        return any(self._is_beside(Path(place)) for place in places)

    def _is_beside(self, place: Path) -> bool:
        return place.is_relative_to(self._source.folder) and not _INSTALLED & set(place.parts)
