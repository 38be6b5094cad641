"""The weights container: the safetensors format, without torch and without its library."""

from tasuki.wire.weights.dtypes import CODES, DTYPES, Dtype
from tasuki.wire.weights.excerpts import Excerpts, look_through, open_excerpts
from tasuki.wire.weights.finite import FirstWeights, ResultOf, exempting, fits
from tasuki.wire.weights.floats import widened
from tasuki.wire.weights.manifest import Manifest, TensorSpec
from tasuki.wire.weights.names import renaming
from tasuki.wire.weights.reader import WeightsFile, open_weights, read_manifest, verify_digest
from tasuki.wire.weights.writer import BLOCK_BYTES, Contents, Look, WrittenWeights, write_weights

__all__ = [
    "BLOCK_BYTES",
    "CODES",
    "DTYPES",
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
    "verify_digest",
    "widened",
    "write_weights",
]
