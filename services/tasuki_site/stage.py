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
from tasuki_site.source import Source

Modules = dict[str, ModuleType]

_INSTALLED = {"site-packages", "dist-packages"}


class Stage:
    """Sets up for one site after the other."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._shared = set(sys.modules)
        self._kept: dict[str, Modules] = {}
        self._site: str | None = None

    def enter(self, site: str, *, folder: str | None) -> None:
        """From here on the code is this site's, and works in this folder."""
        place = folder or str(self._source.folder)
        try:
            os.chdir(place)
        except OSError as exc:
            raise TrainerError(f"the trainer cannot work in {place}: {exc.strerror}") from exc
        sys.argv[:] = self._source.argv
        if site == self._site:
            return
        if self._site is not None:
            self._kept[self._site] = self._taken_off()
        sys.modules.update(self._kept.pop(site, {}))
        self._site = site

    def _taken_off(self) -> Modules:
        """The modules from the trainer's folder, which are imported anew for another site."""
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
