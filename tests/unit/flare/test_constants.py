"""Names that scripts import from NVFlare, and those that Tasuki does not have."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import tasuki.flare as flare
from support.scripts import Desk
from tasuki.errors import TrainerError
from tasuki.flare import constants
from tasuki.flare.session import install


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (constants.ModelName.BEST_MODEL, "best_model"),
        (constants.NPConstants.NUMPY_KEY, "numpy_key"),
        (constants.FLMetaKey.NUM_STEPS_CURRENT_ROUND, "NUM_STEPS_CURRENT_ROUND"),
        (constants.MetaKey.CURRENT_ROUND, "current_round"),
        (constants.TransferType.DIFF, flare.ParamsType.DIFF),
        (constants.ExchangeFormat.KERAS_LAYER_WEIGHTS, "keras_layer_weights"),
    ],
)
def test_constants_have_the_values_that_scripts_expect(name: str, value: str) -> None:
    assert value == name


@pytest.mark.parametrize(
    ("wanted", "framework"),
    [
        (constants.ExchangeFormat.PYTORCH, "torch"),
        (constants.ExchangeFormat.NUMPY, "numpy"),
    ],
)
def test_an_exchange_format_chooses_what_params_are(wanted: str, framework: str) -> None:
    session = Desk().session()
    install(session)
    try:
        flare.init(params_format=wanted)
    finally:
        install(None)
    assert framework == session.framework


@pytest.mark.parametrize("name", ["IPCAgent", "patch", "SummaryWriter", "ClientConfig"])
def test_a_part_that_is_missing_says_in_one_line_what_to_use(name: str) -> None:
    with pytest.raises(TrainerError) as caught:
        getattr(flare, name)
    assert f"tasuki.flare has no {name!r}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_importing_what_is_missing_keeps_the_line() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from tasuki.flare import IPCAgent"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "has no 'IPCAgent': start the trainer by `run`" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("module", "name", "instead"),
    [
        ("constants", "FLContextKey", "write its value into the script"),
        ("tracking", "CometWriter", "flare.log(name, number)"),
        ("config", "from_file", "flare.get_config()"),
    ],
)
def test_a_module_that_lacks_a_name_says_what_to_use(module: str, name: str, instead: str) -> None:
    """Bug: Python's own ImportError said only that there is none."""
    scope: dict[str, object] = {}
    with pytest.raises(TrainerError) as caught:
        exec(f"from tasuki.flare.{module} import {name}", scope)  # noqa: S102 - as a script does
    assert f"tasuki.flare.{module} has no {name!r}: {instead}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_formats_are_found_where_nvflare_has_them() -> None:
    found = importlib.import_module("tasuki.flare.config")
    assert found.ExchangeFormat is importlib.import_module("tasuki.flare.constants").ExchangeFormat


def test_what_nobody_has_is_an_attribute_error_that_names_the_page() -> None:
    with pytest.raises(AttributeError, match=r"no 'recieve'; docs/nvflare\.md"):
        getattr(flare, "recieve")  # noqa: B009 - mypy would refuse the attribute
    assert not hasattr(flare, "__wrapped__")


def test_submodules_are_imported_as_ever() -> None:
    assert importlib.import_module("tasuki.flare.tracking").SummaryWriter is not None
