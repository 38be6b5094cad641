"""What the command line says of itself."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

import tasuki
from tasuki.errors import SettingsError, UnknownRun
from tasuki_cli.main import app, main

group = typer.main.get_command(app)
assert isinstance(group, TyperGroup)
COMMANDS = group.commands


def test_the_version_is_the_packages() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.stdout) == (0, f"tasuki {tasuki.__version__}\n")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_example_in_a_commands_help_is_one_that_it_takes(name: str) -> None:
    command = COMMANDS[name]
    example = (command.epilog or "").removeprefix("Example: ")
    program, subcommand, *arguments = shlex.split(example)
    assert (program, subcommand) == ("tasuki", name)
    command.make_context(name, arguments)  # raises a UsageError for what it does not take


@pytest.mark.parametrize(
    ("words", "said"),
    [(["simulate", "run.toml"], "--resume"), (["watch", "cifar10"], "on a controller goes on")],
)
def test_an_interrupt_says_whether_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tasuki_cli.main.app", interrupted)
    monkeypatch.setattr("sys.argv", ["tasuki", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, said in capsys.readouterr().err) == (130, True)


def test_the_help_of_all_has_an_example_too() -> None:
    help_text = CliRunner().invoke(app, ["--help"]).stdout
    assert "Example: tasuki simulate examples/cifar10/run.toml" in help_text


def test_runs_are_those_of_the_data_folder_that_is_named_or_else_of_the_controller(
    tmp_path: Path,
) -> None:
    variables = {
        "TASUKI_CONTROLLER": "http://127.0.0.1:1",
        "TASUKI_TOKEN_FILE": str(tmp_path / "t"),
    }
    here = CliRunner().invoke(app, ["runs", "--data", str(tmp_path)], env=variables)
    assert (type(here.exception), "no run in" in str(here.exception)) == (UnknownRun, True)
    there = CliRunner().invoke(app, ["runs"], env=variables)
    assert (type(there.exception), "--token-file" in str(there.exception)) == (SettingsError, True)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_flag_does_not_look_as_if_it_took_a_value(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "120"}).stdout
    assert "--help" in shown
    assert "<bool>" not in shown


def test_a_shell_can_complete_commands() -> None:
    shown = CliRunner().invoke(app, ["--help"]).stdout
    assert "--install-completion" in shown
    assert "<bool>" not in shown
    asked = {"_TASUKI_COMPLETE": "complete_bash", "COMP_WORDS": "tasuki sim", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "from tasuki_cli.main import app; app(prog_name='tasuki')"],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "simulate\n" == done.stdout, done.stderr


WINDOWS = """
import sys
for name in ("fcntl", "termios", "pwd", "grp", "resource"):
    sys.modules[name] = None  # there are none
from tasuki_cli.main import main
sys.platform = "win32"
sys.argv = ["tasuki", "simulate", "run.toml"]
main()
"""


def test_on_windows_one_line_says_what_to_do() -> None:
    """Bug: it was a traceback about a module that is missing."""
    done = subprocess.run(
        [sys.executable, "-c", WINDOWS], capture_output=True, text=True, timeout=60, check=False
    )
    assert (2, 1) == (done.returncode, len(done.stderr.strip().splitlines())), done.stderr
    assert "WSL2" in done.stderr
