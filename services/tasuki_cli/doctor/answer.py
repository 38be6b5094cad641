"""What the process in which a trainer is tried tells the doctor, and where."""

from __future__ import annotations

ANSWER_VARIABLE = "TASUKI_DOCTOR_ANSWER"
"""Names the file for the answer: what the trainer's modules print has the process's output."""

SETTINGS, INSTALL, CODE = "settings", "install", "code"
"""What is to be mended: what the site's file says, what is installed, or the trainer."""
