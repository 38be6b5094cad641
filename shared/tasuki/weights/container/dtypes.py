"""The element types that a weights container may hold.

The names are those of the safetensors format, the order is the one in which it writes them:
wide elements first, so that every tensor lies aligned.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Dtype:
    """One element type.

    Attributes:
        code: its name in the container.
        name: its name in NumPy, ml_dtypes and PyTorch, which agree.
        size: bytes per element.
        rank: place in the file; higher comes first.
    """

    code: str
    name: str
    size: int
    rank: int

    @property
    def is_floating(self) -> bool:
        """Whether its elements are rounded, real or complex."""
        return self.name.startswith(("float", "bfloat", "complex"))

    @property
    def is_complex(self) -> bool:
        """Whether each of them is two numbers."""
        return self.name.startswith("complex")


# Ascending rank. Types of less than a byte (F4, F6) are left out: no trainer keeps them in a
# state_dict, and a shape in elements does not give their size in bytes.
_ASCENDING = (
    ("BOOL", "bool", 1),
    ("U8", "uint8", 1),
    ("I8", "int8", 1),
    ("F8_E5M2", "float8_e5m2", 1),
    ("F8_E4M3", "float8_e4m3fn", 1),
    ("F8_E8M0", "float8_e8m0fnu", 1),
    ("F8_E4M3FNUZ", "float8_e4m3fnuz", 1),
    ("F8_E5M2FNUZ", "float8_e5m2fnuz", 1),
    ("I16", "int16", 2),
    ("U16", "uint16", 2),
    ("F16", "float16", 2),
    ("BF16", "bfloat16", 2),
    ("I32", "int32", 4),
    ("U32", "uint32", 4),
    ("F32", "float32", 4),
    ("C64", "complex64", 8),
    ("F64", "float64", 8),
    ("I64", "int64", 8),
    ("U64", "uint64", 8),
)

DTYPES = {
    code: Dtype(code=code, name=name, size=size, rank=rank)
    for rank, (code, name, size) in enumerate(_ASCENDING)
}
CODES = {dtype.name: code for code, dtype in DTYPES.items()}
"""From the libraries' name to the container's."""
