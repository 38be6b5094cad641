"""The trainer's tensors into a weights container, and out of it.

Only what a torch trainer calls imports torch: a site whose trainer works with NumPy needs none, and
gives and gets bytes the same way.
"""

from tasuki_site.tensors.batch_norms import recalibrate
from tasuki_site.tensors.devices import best_device, seed_torch
from tasuki_site.tensors.differences import apply_difference
from tasuki_site.tensors.loading import load_state
from tasuki_site.tensors.saving import save_state

__all__ = [
    "apply_difference",
    "best_device",
    "load_state",
    "recalibrate",
    "save_state",
    "seed_torch",
]
