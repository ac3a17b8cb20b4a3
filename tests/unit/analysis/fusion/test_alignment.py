"""What is called the same unit on two sides: names, prefixes, and the alignment by kind and order."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.analysis.fusion.alignment import certain_pairs, segments, shared_names
from profiler.analysis.fusion.modules import Unit
from profiler.analysis.fusion.operators import fused_operators, is_batch_norm, kind_of, kinds_of_kernel
from profiler.analysis.fusion.range_names import range_name

kinds = st.lists(st.sampled_from("abc"), max_size=6)


def every_best_alignment(first: list[str], second: list[str]) -> list[set[tuple[int, int]]]:
    """All alignments with the most equal pairs, by trying every one."""
    found: dict[int, set[frozenset[tuple[int, int]]]] = {}
    for n in range(min(len(first), len(second)) + 1):
        for left in itertools.combinations(range(len(first)), n):
            for right in itertools.combinations(range(len(second)), n):
                if all(first[i] == second[j] for i, j in zip(left, right)):
                    found.setdefault(n, set()).add(frozenset(zip(left, right)))
    return [set(a) for a in found[max(found)]]


@given(kinds, kinds)
def test_a_certain_pair_stands_in_every_best_alignment(first: list[str], second: list[str]) -> None:
    pairs = certain_pairs(first, second, lambda a, b: int(a == b))
    best = every_best_alignment(first, second)
    assert set(pairs.items()) == set.intersection(*best)


def test_one_anchor_too_many_leaves_those_that_it_could_be_unclaimed() -> None:
    def score(first: str, second: str) -> dict[int, int]:
        return certain_pairs(first, second, lambda a, b: int(a == b))

    assert score("ccccg", "ccccg") == {i: i for i in range(5)}
    assert score("ccccg", "cccg") == {4: 3}  # which convolution is missing, nobody knows
    assert score("cagc", "cgc") == {0: 0, 2: 1, 3: 2}
    assert score("", "c") == {}


@pytest.mark.parametrize(
    ("first", "second", "common"),
    [
        ({"conv1", "layer1.0.bn"}, {"model.conv1", "model.layer1.0.bn"}, 2),
        ({"module.backbone.conv1", "module.backbone.fc"}, {"conv1", "fc"}, 2),
        ({"layer1.0.conv1", "layer1.0.conv2", "fc"}, {"layer1_0_conv1", "layer1_0_conv2", "fc"}, 3),
        ({"a.b", "a.c"}, {"a.b", "a.c"}, 2),
        (
            {"backbone.0.conv"},
            {"stem.conv"},
            1,
        ),  # a prefix of one path is a prefix of all: the rest has to be the same too
        ({"x"}, {"y"}, 0),
    ],
)
def test_constant_prefixes_are_left_out(first: set[str], second: set[str], common: int) -> None:
    one, other = shared_names(frozenset(first), frozenset(second))
    assert len({one.key(p) for p in first} & {other.key(p) for p in second}) == common


def test_segments_lie_between_anchors_of_the_same_order() -> None:
    a, b, c, x, y = (Unit(n) for n in "abcxy")
    cut = segments([a, x, b, c], [a, b, y, c], {a: a, b: b, c: c}, [a, b, c])
    assert cut == [([], []), ([x], []), ([], [y]), ([], [])]
    crossed = segments([a, x, b], [b, y, a], {a: a, b: b}, [a, b])
    assert len(crossed) == 2  # one of the two crossing anchors is left out


@pytest.mark.parametrize(
    ("text", "what", "name", "shape"),
    [
        ("layer1.0.conv1", "module", "layer1.0.conv1", None),
        ("_orig_mod.layer1.0.conv1", "module", "layer1.0.conv1", None),
        ("{'Module': 'top.conv1', 'TrainableParams': {'weight': [64, 3]}, 'Inputs': [[8, 3]]}", "module", "top.conv1", (8, 3)),
        ("layer:bn1", "module", "bn1", None),
        ("conv1, sizes = [[8, 3, 224, 224]]", "module", "conv1", (8, 3, 224, 224)),
        ("Conv2d", "class", "Conv2d", None),
        ("nn.Module: BatchNorm2d_3", "class", "BatchNorm2d", None),
        ("aten::conv2d, op_id = 1, sizes = [[8, 64], [64, 64]]", "operator", "conv2d", (8, 64)),
        ("aten::relu_, seq = 12", "operator", "relu", None),
        ("{'mod': 'torch.nn.functional', 'op': 'conv2d', 'args': []}", "operator", "conv2d", None),
    ],
)  # fmt: skip
def test_dialects_of_range_names(text: str, what: str, name: str, shape: tuple[int, ...] | None) -> None:
    found = range_name(text)
    assert found is not None and (found.what, found.name, found.shape, found.phase) == (what, name, shape, False)


@pytest.mark.parametrize("text", ["ExecutionContext::enqueue", "inference 3", "", "{'a': 1}", "a b", "{" * 500])
def test_what_names_nothing_of_a_model(text: str) -> None:
    assert range_name(text) is None


@given(st.text(max_size=300))
def test_any_range_name_is_read(text: str) -> None:
    found = range_name(text)
    assert found is None or found.name


@pytest.mark.parametrize("phase", ["forward", "iteration_3", "step", "warmup", "postprocess"])
def test_phases_of_a_program_are_no_modules(phase: str) -> None:
    found = range_name(phase)
    assert found is not None and found.phase


def test_kinds_of_names() -> None:
    words = {
        "Conv": "convolution", "ConvTranspose2d": "convolution", "CaskGemmConvolution": "gemm", "Linear": "gemm",
        "node_conv2d": "convolution", "aten_ops.relu.default": "activation", "BatchNorm2d": "normalisation", "ReduceMean": "reduction",
        "Convert": "layout", "TiledPooling": "pooling", "aten::add_": "add", "kgen": None,
        "MultiheadAttention": "attention", "Erf": "activation",
    }  # fmt: skip
    assert {w: kind_of(w) for w in words} == words
    assert kinds_of_kernel("nvjet_sm90_hsh_64x256_64x5_1x4_h_bz_TNN", "gemm") == {"gemm", "convolution"}
    assert is_batch_norm(["void cudnn::bn_fw_inf_1C11_kernel_NCHW<float>()"]) and not is_batch_norm(
        ["vectorized_layer_norm_kernel"]
    )


@pytest.mark.parametrize(
    ("kernel", "listed"),
    [
        ("triton_poi_fused__native_batch_norm_legit_no_training_add_relu_3", ("batch_norm", "add", "relu")),
        (
            "triton_per_fused__native_batch_norm_legit_no_training_add_mean_relu_17",
            ("batch_norm", "add", "relu", "mean"),
        ),
        ("triton_red_fused_addmm_native_layer_norm_3", ("layer_norm",)),  # the product ran in a library before it
        ("triton_tem_fused_addmm_relu_1", ("relu", "addmm")),
        ("__myl_FcAddRelu_myl0_26", ("Fc", "Add", "Relu")),
        ("__myl_CastConc_0x07870b57a4013e50ef4e12395645bd62", ("Cast", "Conc")),
        ("__myl_MaxPool_myl0_2", ("MaxPool",)),
        ("sm80_xmma_gemm_f16f16", ()),
    ],
)
def test_what_generated_kernels_list(kernel: str, listed: tuple[str, ...]) -> None:
    assert fused_operators(kernel) == listed


def test_a_prefix_on_both_sides_stays() -> None:
    paths = frozenset(f"features.{n}.conv" for n in range(9)) | {"classifier.1"}
    assert [names.prefix for names in shared_names(paths | {"features"}, paths | {""})] == ["", ""]
