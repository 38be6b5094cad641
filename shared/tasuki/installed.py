"""How to install one more of Tasuki's extras: from where this Tasuki itself was installed.

The name alone would be looked up in a public index, where it is not ours: anybody could take it.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import Any
from urllib.parse import unquote, urlsplit

_NAME = "tasuki"


def command_for(extra: str) -> str:
    """What an operator types to have this extra too."""
    try:
        distribution = metadata.distribution(_NAME)
    except metadata.PackageNotFoundError:  # run from its sources
        return f"install Tasuki with its extra [{extra}]: pip install '.[{extra}]' in its folder"
    by = (distribution.read_text("INSTALLER") or "pip").strip()
    what = " ".join(_wanted(extra, _origin(distribution.read_text("direct_url.json"))))
    if by == "uv":
        return f"uv pip install --python {shlex.quote(sys.executable)} {what}"
    return f"{shlex.quote(sys.executable)} -m pip install {what}"


def _origin(text: str | None) -> Mapping[str, Any] | None:  # Any: PEP 610
    """Where it came from, as the installer noted it; None: from an index, by its name."""
    return json.loads(text) if text else None


def _wanted(extra: str, origin: Mapping[str, Any] | None) -> list[str]:  # Any: PEP 610
    if origin is None:
        return [shlex.quote(f"{_NAME}[{extra}]=={metadata.version(_NAME)}")]
    url = str(origin["url"])
    if vcs := origin.get("vcs_info"):
        url = f"{vcs['vcs']}+{url}@{vcs.get('commit_id') or vcs['requested_revision']}"
        return [shlex.quote(f"{_NAME}[{extra}] @ {url}")]
    parts = urlsplit(url)
    if parts.scheme != "file":
        return [shlex.quote(f"{_NAME}[{extra}] @ {url}")]
    path = shlex.quote(f"{unquote(parts.path)}[{extra}]")
    return ["-e", path] if origin.get("dir_info", {}).get("editable") else [path]
