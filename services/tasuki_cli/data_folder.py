"""The data folder that the local commands work on."""

from tasuki_controller.data_folder import DataFolder

__all__ = ["DataFolder"]
