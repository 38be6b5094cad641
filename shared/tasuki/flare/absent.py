"""What NVFlare's client has and this one has not, with what to use instead."""

from __future__ import annotations

from tasuki.errors import TrainerError

PAGE = "docs/nvflare.md"

_INSTEAD = {
    "patch": "import tasuki.flare.lightning or tasuki.flare.hf as flare, for its flare.patch",
    "FLCallback": "it is in tasuki.flare.lightning",
    "logger": "it is in tasuki.flare.lightning",
    "IPCAgent": "start the trainer by `run` in the site's settings, and call flare.receive and"
    " flare.send in it",
    "IPCException": "see TrainerError of tasuki.errors",
    "SummaryWriter": "it is in tasuki.flare.tracking",
    "MLflowWriter": "it is in tasuki.flare.tracking",
    "WandBWriter": "it is in tasuki.flare.tracking",
    "get_context": "a script has one session, and every ctx may be left out",
    "APIContext": "a script has one session, and every ctx may be left out",
    "ClientAPIType": "every script runs in a process of its own",
    "ClientConfig": "flare.get_config() has the run's params and more",
    "ConfigKey": "flare.get_config() has the run's params and more",
    "MetaKey": "it is in tasuki.flare.constants",
    "FLMetaKey": "it is in tasuki.flare.constants",
    "ModelName": "it is in tasuki.flare.constants",
    "NPConstants": "it is in tasuki.flare.constants",
    "ExchangeFormat": "it is in tasuki.flare.constants",
    "TransferType": "it is in tasuki.flare.constants",
}


class NotThere(TrainerError, ImportError):
    """Tasuki has no such part of NVFlare's client.

    An ImportError, because `from tasuki.flare import name` replaces an AttributeError by words of
    its own.
    """


def absent(module: str, name: str, *, otherwise: str | None = None) -> Exception:
    """What a module says that is asked for a name that it lacks.

    Args:
        otherwise: what to use instead of what is not in the list.
    """
    instead = _INSTEAD.get(name, None if name.startswith("_") else otherwise)
    if instead is None:
        return AttributeError(f"{module} has no {name!r}; {PAGE} lists what there is")
    return NotThere(f"{module} has no {name!r}: {instead} ({PAGE})")
