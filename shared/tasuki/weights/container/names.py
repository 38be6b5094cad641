"""Names of tensors: how they stand in messages, and what a wrapper made of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import product

# What each of them puts before a name or into it, and where the module without it is.
_WRAPPERS: Mapping[str, tuple[str, str]] = {
    "module": (
        "torch's DataParallel and DistributedDataParallel add",
        "net.module.state_dict(), net being what they returned",
    ),
    "_orig_mod": (
        "torch.compile adds",
        "net._orig_mod.state_dict(), net being what it returned",
    ),
    "_fsdp_wrapped_module": (
        "FullyShardedDataParallel adds",
        "what torch.distributed.checkpoint.state_dict.get_model_state_dict(net) returns",
    ),
    "_checkpoint_wrapped_module": (
        "activation checkpointing adds",
        "{name.replace('_checkpoint_wrapped_module.', ''): value for name, value in state.items()}",
    ),
    "_module": (
        "Opacus's GradSampleModule adds",
        "net._module.state_dict(), net being what it returned",
    ),
}


def quoted(name: str) -> str:
    """The name as it stands in messages, however long a stranger made it."""
    return repr(name if len(name) <= 200 else f"{name[:200]}...")


def renaming(wanted: Collection[str], got: Collection[str]) -> str | None:
    """Why all of `got` are other names than `wanted`, if one cause explains it, and what to do.

    `got` may be some of the names only. None: they differ by more, or not at all.
    """
    ours, theirs = set(wanted), set(got)
    if not (ours and theirs) or theirs <= ours:
        return None
    found = (*_wrapped(ours, theirs), *_prefixed(ours, theirs))
    return next(iter(found), None)


def _wrapped(ours: set[str], theirs: set[str]) -> Iterator[str]:
    for word, (who, unwrapped) in _WRAPPERS.items():
        if _fits(_without(theirs, word), theirs, ours):
            yield (
                f"the names of the result have {word + '.'!r} in them, which {who}; return"
                f" {unwrapped}"
            )
        elif _fits(theirs, theirs, _without(ours, word)):
            yield (
                f"the names of the received weights have {word + '.'!r} in them, which {who}, and"
                " those of the result have not; wrap the module as the one that the run started"
                " with, or start the run from weights without it"
            )


def _prefixed(ours: set[str], theirs: set[str]) -> Iterator[str]:
    pairs = product(_beginnings(ours), _beginnings(theirs))
    for old, new in sorted(pairs, key=lambda pair: len("".join(pair))):
        if _fits({old + name.removeprefix(new) for name in theirs}, theirs, ours):
            yield _advice(old, new)


def _fits(renamed: set[str], theirs: set[str], ours: set[str]) -> bool:
    """Whether all are names of ours now, and none became two's."""
    return len(renamed) == len(theirs) and renamed <= ours


def _without(names: set[str], word: str) -> set[str]:
    return {".".join(part for part in name.split(".") if part != word) for name in names}


def _beginnings(names: Collection[str]) -> list[str]:
    """What all of them begin with, up to one dot or another; nothing, at least."""
    low, high = min(names), max(names)
    same = next((at for at, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))
    return ["", *(low[: at + 1] for at in range(same) if low[at] == ".")]


def _advice(old: str, new: str) -> str:
    if new and not old:
        return (
            f"every name of the result begins with {new!r}, and none of the received weights does;"
            f" return {{name.removeprefix({new!r}): value for name, value in state.items()}}"
        )
    if old and not new:
        return (
            f"every name of the received weights begins with {old!r}, and none of the result does;"
            f" return {{{old!r} + name: value for name, value in state.items()}}"
        )
    return (
        f"the names of the result begin with {new!r} where those of the received weights begin with"
        f" {old!r}; return {{{old!r} + name.removeprefix({new!r}): value for name, value in"
        " state.items()}"
    )
