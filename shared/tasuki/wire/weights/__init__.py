"""The weights container: the safetensors format, without torch and without its library."""

from tasuki.wire.weights.dtypes import CODES, DTYPES, Dtype
from tasuki.wire.weights.manifest import Manifest, TensorSpec
from tasuki.wire.weights.reader import WeightsFile, open_weights, read_manifest, verify_digest
from tasuki.wire.weights.writer import BLOCK_BYTES, Contents, WrittenWeights, write_weights

__all__ = [
    "BLOCK_BYTES",
    "CODES",
    "DTYPES",
    "Contents",
    "Dtype",
    "Manifest",
    "TensorSpec",
    "WeightsFile",
    "WrittenWeights",
    "open_weights",
    "read_manifest",
    "verify_digest",
    "write_weights",
]
