"""The functions of NVFlare's Client API, by the names and with the arguments that scripts use.

Each takes NVFlare's `ctx`, which says nothing here: a script has one session.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasuki.core.model import Kind
from tasuki.errors import TrainerError
from tasuki.flare import translation
from tasuki.flare.model import FLModel
from tasuki.flare.session import Session, installed


def init(
    rank: object = None, *_args: object, params_format: str | None = None, **_kwargs: object
) -> None:
    """Begin. What else NVFlare's takes (config_file) is accepted; calling twice is harmless.

    Args:
        rank: which of several processes this is, where a command started them and the launcher
            does not say; the result of rank 0 counts.
        params_format: "torch" or "numpy": what the received params shall be.

    Raises:
        TrainerError: the script does not run at a site, or there is no such format.
    """
    session = installed()
    if session.is_one_of_many and rank is not None:
        session.follows = str(rank) != "0"
    if params_format is not None:
        session.framework = translation.framework_named(params_format)
    session.is_initialized = True


def is_running(ctx: object = None) -> bool:
    """Blocks until there is a turn (True) or there will be no more (False)."""
    return initialized().is_running()


def receive(timeout: float | None = None, ctx: object = None) -> FLModel | None:
    """The model to train, the same one until it is sent. Blocks until there is one.

    The generators of Python, NumPy and torch are seeded for the turn when it returns.

    Args:
        timeout: seconds; None is "as long as it takes".

    Returns:
        None when the run is over, or when it took too long.
    """
    return initialized().receive(timeout_s=timeout)


def send(model: FLModel, clear_cache: bool = True, ctx: object = None) -> None:
    """Hand on the result of the turn, once; of one that evaluates, metrics without params.

    Args:
        clear_cache: free the params of this model and of the received one.

    Raises:
        TypeError: it is no FLModel.
        TrainerError: nothing was received, the turn has its result, or this is none.
        TasukiError: the result cannot be handed on.
    """
    session = initialized()
    if not isinstance(model, FLModel):
        raise TypeError("model needs to be an instance of FLModel")
    session.send(model, clear_cache=clear_cache)


def clear(ctx: object = None) -> None:
    """Forget the received model; the turn stays, and `receive` begins it again."""
    initialized().clear()


def shutdown(ctx: object = None) -> None:
    """The script wants no more turns: `is_running` is False from here on."""
    initialized().shut_down()


def log(
    key: object = None,
    value: object = None,
    data_type: object = None,
    ctx: object = None,
    **kwargs: object,
) -> bool:
    """Show numbers as progress of the turn, with `step` or `global_step` if one is given.

    One number by its name, `log("loss", 0.5)`; several in a dict, `log({"loss": 0.5, "lr": 0.1})`
    or `log("train", {"loss": 0.5})`, which is shown as `train/loss`; or by keywords,
    `log(loss=0.5, lr=0.1)`.

    Args:
        data_type: accepted because NVFlare's scripts give it; a number is one without it.

    Returns:
        Whether anything is shown: not if there is no number among it, or if there is no turn.
    """
    turn = initialized().current
    step = translation.number_of(_step(kwargs))
    given = {} if key is None else dict(key) if isinstance(key, Mapping) else {key: value}
    numbers = translation.numbers_of({**given, **kwargs})
    if turn is None or not numbers:
        return False
    turn.report(({} if step is None else {"step": step}) | numbers)
    return True


def _step(keywords: dict[str, object]) -> object:
    """The step, by either of its names, taken out of a script's keywords."""
    global_step, step = keywords.pop("global_step", None), keywords.pop("step", None)
    return step if global_step is None else global_step


def system_info(ctx: object = None) -> dict[str, Any]:  # Any: as in NVFlare
    """Among others `site_name` and `job_id`."""
    return translation.system_info(initialized().known_turn())


def get_config(ctx: object = None) -> dict[str, Any]:  # Any: the run's params are
    """The run's `params`, `site_name`, `job_id`, `total_rounds`, `data`, `split` and more."""
    return translation.config(initialized().known_turn())


def get_job_id(ctx: object = None) -> str:
    """The run's name."""
    return initialized().known_turn().run


def get_site_name(ctx: object = None) -> str:
    return initialized().known_turn().site


def get_task_name(ctx: object = None) -> str:
    """ "train" or, if the turn evaluates, "validate"."""
    return translation.TASKS[initialized().known_turn().kind]


def is_train(ctx: object = None) -> bool:
    return initialized().known_turn().kind is Kind.TRAIN


def is_evaluate(ctx: object = None) -> bool:
    return initialized().known_turn().kind is Kind.EVALUATE


def is_submit_model(ctx: object = None) -> bool:
    """False: Tasuki hands on every result, and never asks for one again."""
    initialized()
    return False


def initialized() -> Session:
    """The session.

    Raises:
        TrainerError: `init` was not called.
    """
    session = installed()
    if not session.is_initialized:
        raise TrainerError("call flare.init() before anything else of flare")
    return session
