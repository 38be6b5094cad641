"""The weights container: the safetensors format, without torch and without its library."""

from tasuki.weights.container.dtypes import CODES, DTYPES, Dtype
from tasuki.weights.container.excerpts import Excerpts, look_through, open_excerpts
from tasuki.weights.container.finite import FirstWeights, ResultOf, exempting, fits
from tasuki.weights.container.floats import MERGEABLE, rounded, widened
from tasuki.weights.container.manifest import Manifest, TensorSpec
from tasuki.weights.container.names import renaming
from tasuki.weights.container.reader import WeightsFile, open_weights, read_manifest
from tasuki.weights.container.writer import (
    BLOCK_BYTES,
    Contents,
    Look,
    WrittenWeights,
    write_weights,
)

__all__ = [
    "BLOCK_BYTES",
    "CODES",
    "DTYPES",
    "MERGEABLE",
    "Contents",
    "Dtype",
    "Excerpts",
    "FirstWeights",
    "Look",
    "Manifest",
    "ResultOf",
    "TensorSpec",
    "WeightsFile",
    "WrittenWeights",
    "exempting",
    "fits",
    "look_through",
    "open_excerpts",
    "open_weights",
    "read_manifest",
    "renaming",
    "rounded",
    "widened",
    "write_weights",
]
