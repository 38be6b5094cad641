"""A checkpoint, copied to a file of the operator's."""

from __future__ import annotations

import shutil
from pathlib import Path

from tasuki.disk.errors import disk_errors
from tasuki.errors import SettingsError
from tasuki_site.model_files import torch_files


def export(source: Path, target: Path) -> None:
    """Copy it to a .safetensors or .pt file.

    Raises:
        SettingsError: the target has another ending.
    """
    if target.suffix == ".safetensors":
        with disk_errors(target):
            shutil.copyfile(source, target)
    elif target.suffix in {".pt", ".pth"}:
        torch_files.write_state(source, target)
    else:
        raise SettingsError(f"{target.name}: export to a .safetensors or a .pt file")
