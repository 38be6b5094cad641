"""Lists of arrays, as Keras layers give their weights, under the flat names of a container.

Item 2 of the list at `conv` is the tensor `conv::2`. A layer without weights gives an empty list:
the tensor `pool::[]`, of no bytes, stands for it. No framework names a tensor like that by itself,
so the way back needs nothing but the names, and the same state has the same manifest every time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from tasuki.errors import WeightsError

_EMPTY = "[]"
_ITEM = re.compile(r"(?s)(.*)::(0|[1-9][0-9]{0,8}|\[\])")


def flatten(state: Mapping[str, Any]) -> dict[str, Any]:  # Any: whatever the trainer returned
    """Name -> array, the items of lists (or tuples) under names of their own, in their order.

    Raises:
        WeightsError: the state is no mapping, a key is not a string, or is one that an item of a
            list would have.
    """
    if not isinstance(state, Mapping):
        raise WeightsError(
            f"the state is a {type(state).__name__}, not a dict of name to tensor: of a torch"
            " module return net.state_dict()"
        )
    flat: dict[str, Any] = {}
    for key, value in state.items():
        _check_key(key)
        if not isinstance(value, list | tuple):
            flat[key] = value
        elif value:
            flat |= {f"{key}::{index}": item for index, item in enumerate(value)}
        else:
            flat[f"{key}::{_EMPTY}"] = np.empty(0, dtype=np.uint8)
    return flat


def _check_key(key: object) -> None:
    if not isinstance(key, str):
        raise WeightsError(f"the key {key!r:.200} is a {type(key).__name__}, not a string")
    if _ITEM.fullmatch(key):
        raise WeightsError(
            f"the key {key!r:.200} ends as the items of a list do; give the tensor another name"
        )


def gather(flat: Mapping[str, Any]) -> dict[str, Any]:  # Any: tensors or arrays
    """What `flatten` was given, tuples as lists.

    Raises:
        WeightsError: the names were made elsewhere: a list has a gap, or its name is taken.
    """
    lists: dict[str, dict[str, Any]] = {}
    state: dict[str, Any] = {}
    for name, value in flat.items():
        item = _ITEM.fullmatch(name)
        key = name if item is None else item[1]
        if key in state and (item is None or key not in lists):
            raise WeightsError(f"{key!r:.200} is both a tensor and a list of tensors")
        if item is None:
            state[key] = value
        else:
            state[key] = lists.setdefault(key, {})  # its place; its items come below
            lists[key][item[2]] = value
    return state | {key: _in_order(key, items) for key, items in lists.items()}


def _in_order(key: str, items: Mapping[str, Any]) -> list[Any]:
    if items.keys() == {_EMPTY}:
        return []
    indices = [str(index) for index in range(len(items))]
    missing = next((index for index in indices if index not in items), None)
    if missing is not None:
        raise WeightsError(f"the list of tensors {key!r:.200} has no item {missing}")
    return [items[index] for index in indices]
