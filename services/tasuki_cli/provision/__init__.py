"""`tasuki provision`: credentials and settings for everyone, and the broker's definitions."""

from tasuki_cli.provision.command import Admin, run_provision

__all__ = ["Admin", "run_provision"]
