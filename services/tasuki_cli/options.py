"""What the commands can be told: options that several of them have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Option("--data", help="The local data folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="The run's name.")]
DATA = Path(".tasuki")
MOST_ROUNDS = 2**31
OVERLAP_DAYS = 30
"""How long the keys that a renewal replaces stay good, unless somebody says otherwise."""
OtherData = Annotated[
    Path | None,
    typer.Option("--data", help="The local data folder: .tasuki, unless a controller is named."),
]
Url = Annotated[
    str,
    typer.Option("--controller", metavar="URL", envvar="TASUKI_CONTROLLER", help="Whom to ask."),
]
URL = "http://127.0.0.1:8470"
OtherUrl = Annotated[
    str | None,
    typer.Option(
        "--controller",
        metavar="URL",
        envvar="TASUKI_CONTROLLER",
        help="Ask a running controller, unless --data is given.",
    ),
]
TokenFile = Annotated[
    Path,
    typer.Option("--token-file", envvar="TASUKI_TOKEN_FILE", help="What the controller knows."),
]
TOKEN_FILE = DATA / "token"
Ca = Annotated[
    Path | None,
    typer.Option("--ca", envvar="TASUKI_CA", help="Trust these for an https:// controller."),
]
Proxy = Annotated[
    str | None,
    typer.Option(
        "--proxy",
        metavar="URL",
        envvar="TASUKI_PROXY",
        help="Ask by way of it; http_proxy and the like are not heeded.",
    ),
]
