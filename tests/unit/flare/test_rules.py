"""The rules by which `benchmarks/nvflare_scripts.py` changes NVFlare's scripts."""

from __future__ import annotations

import importlib
import re
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/nvflare.md").read_text()


@pytest.fixture
def rules(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("nvflare_rules")


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("nvflare_list")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("import nvflare.client as flare", "import tasuki.flare as flare"),
        ("import nvflare.client.lightning as flare", "import tasuki.flare.lightning as flare"),
        ("import nvflare.client.hf as flare", "import tasuki.flare.hf as flare"),
        ("from nvflare.client import FLModel", "from tasuki.flare import FLModel"),
        (
            "from nvflare.client.tracking import SummaryWriter",
            "from tasuki.flare.tracking import SummaryWriter",
        ),
        (
            "from nvflare.app_common.abstract.fl_model import ParamsType",
            "from tasuki.flare import ParamsType",
        ),
        (
            "from nvflare.app_common.app_constant import ModelName",
            "from tasuki.flare.constants import ModelName",
        ),
    ],
)
def test_an_import_changes_as_the_page_says(rules: ModuleType, theirs: str, ours: str) -> None:
    new = rules.rewrite(f"    {theirs}\n")
    assert new.text == f"    {ours}\n"
    assert new.changed == {"imports": 1}
    assert new.left == ()
    assert f"`{ours.removesuffix(' FLModel')}" in PAGE


def test_a_script_that_names_its_rank_is_one_in_which_rank_0_receives(rules: ModuleType) -> None:
    script = "import nvflare.client as flare\nflare.init(rank=rank)\n"
    assert rules.rewrite(script).text.startswith("import tasuki.flare.rank0 as flare\n")
    assert "`import tasuki.flare.rank0 as flare`" in PAGE


def test_what_would_be_downloaded_is_small_and_local(rules: ModuleType) -> None:
    script = """\
        # a script
        import torchvision

        data = torchvision.datasets.CIFAR10(root="data", download=True)
    """
    new = rules.rewrite(textwrap.dedent(script))
    assert 'data = small_data.CIFAR10(root="data", download=True)' in new.text
    assert "import small_data\nimport torchvision" in new.text
    assert new.changed == {"data": 2}


def test_an_import_that_no_rule_is_about_is_told(rules: ModuleType) -> None:
    line = "from nvflare.app_opt.pt.fedproxloss import PTFedProxLoss"
    assert rules.rewrite(line).left == (line,)


def test_a_line_of_a_script_s_own_changes_and_is_counted(rules: ModuleType) -> None:
    new = rules.rewrite("    a = 1\n    b = 2\n", own=[("b = 2", "b = 3")])
    assert new.text == "    a = 1\n    b = 3\n"
    assert new.changed == {"own": 1}


def test_the_page_has_a_row_for_every_script_and_no_other(scripts: ModuleType) -> None:
    table = PAGE.partition("| script, by its name in the command |")[2]
    rows = [row.split("|")[1] for row in table.splitlines()[2:]]
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    assert sorted(named) == sorted(script.name for script in scripts.SCRIPTS)
