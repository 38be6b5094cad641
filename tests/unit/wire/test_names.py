"""Names that a wrapper changed are told as that, with what to do."""

from __future__ import annotations

import pytest

from tasuki.weights.container import Manifest, TensorSpec, renaming

NET = ["conv.weight", "conv.bias", "head.layers.0.weight", "n"]


def under(prefix: str, names: list[str] = NET) -> list[str]:
    return [prefix + name for name in names]


WRAPPED = [
    (NET, under("module."), "DataParallel", "net.module.state_dict()"),
    (NET, under("_orig_mod."), "torch.compile", "net._orig_mod.state_dict()"),
    (NET, under("_fsdp_wrapped_module."), "FullyShardedDataParallel", "get_model_state_dict(net)"),
    (NET, under("_module."), "Opacus", "net._module.state_dict()"),
    (
        NET,
        ["conv._orig_mod.weight", "conv._orig_mod.bias", "head.layers.0._orig_mod.weight", "n"],
        "torch.compile",
        "_orig_mod",
    ),
    (under("model."), under("model.module."), "DataParallel", "net.module.state_dict()"),
    (under("module."), NET, "received weights have 'module.' in them", "wrap the module"),
]


@pytest.mark.parametrize(("wanted", "got", "who", "remedy"), WRAPPED)
def test_a_wrapper_is_named_with_the_way_around_it(
    wanted: list[str], got: list[str], who: str, remedy: str
) -> None:
    said = renaming(wanted, got)
    assert said is not None
    assert who in said
    assert remedy in said


PREFIXED = [
    (NET, under("model."), "begins with 'model.', and none", "removeprefix('model.')"),
    (under("model."), NET, "begins with 'model.', and none", "{'model.' + name: value"),
    (under("a.model."), under("b.model."), "begin with 'b.' where", "'a.' + name"),
    (under("net."), under("module.net."), "'module.'", "net.module.state_dict()"),
    (under("net.x."), under("lit.net.x."), "'lit.'", "removeprefix('lit.')"),
]


@pytest.mark.parametrize(("wanted", "got", "what", "remedy"), PREFIXED)
def test_any_other_prefix_is_named_with_a_line_that_takes_it_away(
    wanted: list[str], got: list[str], what: str, remedy: str
) -> None:
    said = renaming(wanted, got)
    assert said is not None
    assert what in said
    assert remedy in said


def test_some_of_the_names_are_enough() -> None:
    for got in (["module.conv.weight"], ["model.conv.weight"], ["lit.head.layers.0.weight"]):
        assert renaming(NET, got) is not None


@pytest.mark.parametrize(
    ("wanted", "got"),
    [
        (NET, NET),
        (NET, NET[:2]),
        (NET, []),
        ([], NET),
        (NET, [*NET, "module.conv.weight"]),  # which would be two of one name
        (NET, under("module.", ["other.weight"])),
        (["w"], ["v"]),
        (["a.w", "b.w"], ["a.v", "b.v"]),
    ],
)
def test_what_no_prefix_explains_is_not_explained_by_one(wanted: list[str], got: list[str]) -> None:
    assert renaming(wanted, got) is None


def test_a_difference_of_manifests_is_told_as_the_prefix_that_it_is() -> None:
    def manifest(names: list[str]) -> Manifest:
        specs = [TensorSpec(name=name, dtype="U8", shape=()) for name in names]
        return Manifest(tensors=tuple(specs[1:]), tied={names[0]: names[1]})

    said = manifest(NET).difference(manifest(under("module.")))
    assert said is not None
    assert "DistributedDataParallel" in said
    assert "missing" not in said
