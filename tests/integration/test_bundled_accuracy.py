"""The bundled runs on labelled images: what the documentation says of them."""

from __future__ import annotations

from profiler.report.accuracy import read_study
from tests.support.traces import TRACES


def test_every_bundled_way_to_quantise_is_within_half_a_point() -> None:
    study = read_study(TRACES)
    assert study is not None and study.sensitivity is not None and study.trained is not None
    quantised = {run.name: run.difference for run in study.runs if run.precision in ("int8", "fp8")}
    assert {"trt86-int8-max-graph-b8", "trt86-int8-modelopt-graph-b8", "rtx-fp8-graph-b8"} <= set(quantised)
    assert {d.verdict for d in quantised.values() if d is not None} == {
        "within 0.5 points"
    } and None not in quantised.values()
    costliest = max(study.sensitivity.layers, key=lambda layer: layer.noise_pct or 0)
    assert costliest.layer == "/fc/Gemm" and 9 < (costliest.noise_pct or 0) < 10
    assert all(layer.alone_agreement_pct == 100 for layer in study.sensitivity.layers)


def test_the_images_on_which_runs_differ_are_there() -> None:
    study = read_study(TRACES)
    assert study is not None
    named = {image for run in study.runs if run.difference for image, *_ in run.difference.images}
    assert named and all((study.images_folder / name).is_file() for name in named)
