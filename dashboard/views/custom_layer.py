"""Custom layer: our own activation as a TensorRT plugin, against eager PyTorch, torch.compile and TensorRT's own fusion."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import data
from dashboard.data import Selection
from dashboard.show import chart, folded, show_error
from dashboard.sources import Source
from dashboard.tables import show_table
from profiler.analysis.custom_layer.cost import IDLE, Exchange, RunCost, exchange
from profiler.analysis.custom_layer.measurement import Measurement
from profiler.charts.latency import latency_bars
from profiler.charts.traffic import bandwidth_lines
from profiler.errors import ProfilerError
from profiler.plugins.names import EAGER, KERNEL
from profiler.text import duration, markdown, number, number_of_bytes, plural, signed_duration, times

TITLE = "Custom layer"
ICON = ":material/extension:"
URL = "custom-layer"

EAGER_RUN, COMPILED, PLUGIN, OPERATORS = (
    "PyTorch eager",
    "PyTorch compiled",
    "TensorRT with the plugin",
    "TensorRT without it (stock operators)",
)
ROLES = (EAGER_RUN, COMPILED, PLUGIN, OPERATORS)


def render(selection: Selection) -> None:
    del selection  # this page is about one layer in several runs, not about the chosen two
    st.title("Custom layer")
    st.caption(
        "QuickGELU, x · sigmoid(1.702 x), in place of the model's ReLUs: as PyTorch operators, as this project's CUDA kernel in a "
        "TensorRT plugin, and as stock ONNX operators that TensorRT fuses by itself. A plugin runs operations that TensorRT has no layer "
        "for, but prevents TensorRT from fusing the activation into the preceding convolution."
    )
    groups = _groups()
    if not groups:
        st.info(
            "No run here replaces the activation. Record some with python -m profiler study --activation quickgelu --plugin FILE.so, "
            "then enter the folder in the sidebar under “Open your own traces”.",
            icon=":material/info:",
        )
    else:
        name = st.selectbox("Runs", list(groups), key="custom_layer_group")
        _runs(name, groups[name])
    for found in data.measurements():
        if isinstance(found, ProfilerError):
            show_error(found)
        else:
            _measurement(found)


def _groups() -> dict[str, list[Source]]:
    """Runs of models with a replaced activation that can be compared, by what they share; the largest group first."""
    found: dict[str, list[Source]] = {}
    for source in data.all_sources().values():
        manifest = source.manifest
        if manifest is None or manifest.activation is None:
            continue
        shared = [manifest.model_label, (manifest.precision or "").upper(), f"batch {manifest.batch}", manifest.gpu]
        where = "" if source.origin == "bundled" else " (your folder)"
        found.setdefault(", ".join(str(part) for part in shared if part) + where, []).append(source)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def role_of(source: Source) -> str | None:
    """Which of the four runs a source is; None for other modes."""
    manifest = source.manifest
    if manifest is None:
        return None
    if manifest.framework == "PyTorch":
        return {"eager": EAGER_RUN, "compile": COMPILED}.get(manifest.mode or "")
    parameters = manifest.extra.get("parameters")
    return PLUGIN if isinstance(parameters, dict) and parameters.get("plugins") else OPERATORS


def chosen(group: Sequence[Source]) -> dict[str, Source]:
    """One source a role: for TensorRT the mode that both engines were recorded in, CUDA graph before stream."""
    by_role: dict[str, dict[str, Source]] = {}
    for source in group:
        role = role_of(source)
        if role is not None and source.manifest is not None:
            by_role.setdefault(role, {}).setdefault(source.manifest.mode or "", source)
    engines = [set(by_role[r]) for r in (PLUGIN, OPERATORS) if r in by_role]
    common = set.intersection(*engines) if engines else set()
    mode = next((m for m in ("graph", "stream") if m in common), None)
    found = {}
    for role in ROLES:
        modes = by_role.get(role, {})
        if modes:
            found[role] = modes.get(mode or "") or next(iter(modes.values()))
    return found


def _runs(name: str, group: list[Source]) -> None:
    roles = chosen(group)
    missing = [role for role in ROLES if role not in roles]
    sides = {role: data.load(source) for role, source in roles.items()}
    for side in sides.values():
        if side.error is not None:
            show_error(side.error)
    readable = {role: side for role, side in sides.items() if side.analysis is not None}
    costs = data.run_costs(list(readable.values()), group)
    if isinstance(costs, ProfilerError):
        show_error(costs)
        return
    by_role = dict(zip(readable, costs, strict=True))
    found = exchange(by_role[OPERATORS], by_role[PLUGIN]) if {OPERATORS, PLUGIN} <= set(by_role) else None
    if found is not None:
        _verdict(found, by_role)
    elif PLUGIN not in by_role or OPERATORS not in by_role:
        st.info(
            "Both engines, with and without the plugin, are needed to compare the plugin with TensorRT's own fusion.",
            icon=":material/info:",
        )
    if missing:
        st.caption(f"Not recorded, and so not shown: {'; '.join(missing)}.")
    _table(by_role)
    _latencies(group, name)
    if found is not None:
        _exchange(found, by_role)
    _activations(by_role)
    names = "; ".join(f"{role}: {markdown(s.key)}" for role, s in roles.items())
    st.caption(f"Runs: {names}. Each manifest states how the run was recorded.")


def _verdict(found: Exchange, runs: dict[str, RunCost]) -> None:
    plugin, operators = runs[PLUGIN], runs[OPERATORS]
    more = plural(abs(found.kernels), "more kernel" if found.kernels >= 0 else "fewer kernel")
    moved = (
        ""
        if found.bytes is None
        else f" and at least {number_of_bytes(abs(found.bytes))} {'more' if found.bytes >= 0 else 'less'} to move (computed)"
    )
    if found.latency_ns is None:
        text = f"The plugin's engine runs {more}{moved} per inference; its latency without a profiler was not measured."
    else:
        costs = found.latency_ns >= 0
        text = (
            f"**Compared with TensorRT's own fusion, the plugin {'costs' if costs else 'saves'} "
            f"{duration(abs(found.latency_ns))} per inference** "
            f"({number(operators.latency_ms, 'ms')} → {number(plugin.latency_ms, 'ms')}, medians without a profiler), with {more}{moved}."
        )
    (st.warning if (found.latency_ns or 0) >= 0 else st.success)(text, icon=":material/balance:")
    eager = runs.get(EAGER_RUN)
    if eager is not None and eager.known and plugin.own_time_ns:
        st.markdown(
            f"Compared with eager PyTorch, the plugin pays off: {plural(len(plugin.costs), 'activation')} took "
            f"{plural(eager.own_kernels, 'kernel')} and {duration(eager.own_time_ns)} of GPU time in PyTorch, and "
            f"{plural(plugin.own_kernels, 'kernel')} and {duration(plugin.own_time_ns)} with the plugin "
            f"({times(eager.own_time_ns / plugin.own_time_ns)})."
        )


def _table(runs: dict[str, RunCost]) -> None:
    st.subheader("The activation in each run, per inference")
    rows = []
    for role in ROLES:
        run = runs.get(role)
        if run is None:
            continue
        n, known = len(run.costs), run.known
        sampled = run.analysis.sampled_bytes
        total = None if sampled.read_bytes is None else sampled.read_bytes + (sampled.written_bytes or 0)
        rows.append(
            {
                "run": role,
                "latency p50, ms": run.latency_ms,
                "kernels": run.kernels,
                "own kernels": run.own_kernels if known else None,
                "per activation": run.own_kernels / n if known else None,
                "kB per activation": run.own_bytes / n / 1e3 if known and run.own_bytes is not None else None,
                "own kernels, µs": run.own_time_ns / 1e3 if known else None,
                "in another kernel": run.shared if known else None,
                "bytes, MB": run.own_bytes / 1e6 if known and run.own_bytes is not None else None,
                "DRAM of the inference (sampled), MB": None if total is None else total / 1e6,
                "how we know": run.how,
            }
        )
    show_table(
        st,
        pd.DataFrame(rows),
        hide_index=True,
        key="custom_layer_runs",
        placeholder="unknown",
        column_config={"per activation": st.column_config.NumberColumn(format="%.3g")},
    )
    st.caption(
        "Own kernels compute only the activation. Their bytes are computed: inputs read once and output written once. An activation "
        "inside another kernel moves no bytes of its own, because that kernel reads and writes its tensors anyway; its share of that "
        "kernel's time cannot be read from a trace. Sampled DRAM bytes are counters over the whole inference and are lower where tensors "
        "stay in the L2 cache. Latency is measured with CUDA events, without a profiler; kernels and times come from the traces."
    )


def _latencies(group: Sequence[Source], about: str) -> None:
    rows = []
    for source in group:
        manifest = source.manifest
        latency = manifest.latency if manifest else None
        if manifest and latency and latency.measured:
            measured = {"p50_ms": latency.p50_ms, "p99_ms": latency.high_ms, "mean_ms": latency.mean_ms}
            rows.append(
                {
                    "label": source.title,
                    "framework": manifest.framework,
                    **measured,
                }
            )
    if rows:
        table = pd.DataFrame(rows).sort_values("p50_ms", ascending=False)
        figure = latency_bars(table["label"].tolist(), table, "Latency without a profiler")
        chart(figure, "custom_layer_latencies", about=[about])


def _exchange(found: Exchange, runs: dict[str, RunCost]) -> None:
    st.subheader("What the plugin adds and removes")
    table = pd.DataFrame(
        {
            "part of the GPU span": [p.label for p in found.parts],
            "without, µs": [p.operators_ns / 1e3 for p in found.parts],
            "with, µs": [p.plugin_ns / 1e3 for p in found.parts],
            "added, µs": [p.added_ns / 1e3 for p in found.parts],
        }
    )
    columns: dict[str, Any] = {name: st.column_config.NumberColumn(format="%,.1f") for name in table.columns[1:]}
    columns[table.columns[0]] = st.column_config.TextColumn(width=130)  # so that what is added is in view on a phone
    show_table(st, table, hide_index=True, key="custom_layer_exchange", placeholder="", column_config=columns)
    idle = next(p.added_ns for p in found.parts if p.label == IDLE)
    text = (
        "Means over the recorded inferences; the rows sum to the span from the first GPU work to the last. "
        f"The change in GPU work is {signed_duration(found.busy_ns)}, and in idle time {signed_duration(idle)} with nsys attached, which "
        "adds time at each kernel."
    )
    if found.latency_ns is not None:
        rest = found.latency_ns - found.busy_ns
        text += (
            f" Without nsys, the latency changes by {signed_duration(found.latency_ns)}, so about {signed_duration(rest)} is gaps between "
            "more kernels and memory sets (a difference of two measurements, not itself measured)."
        )
    st.caption(text)
    st.subheader("When does a plugin pay off?")
    _break_even(found, runs)
    _cached(found, runs)


def _break_even(found: Exchange, runs: dict[str, RunCost]) -> None:
    n = found.activations
    st.markdown(
        "Per activation, the plugin pays off when\n\n"
        "**plugin kernel + gap before it < extra time of the convolution with the activation fused + TensorRT's own pointwise kernels**\n\n"
        f"Here the plugin's kernel takes **{duration(found.plugin_ns)}** on average and TensorRT's own fusion "
        f"**{duration(found.fused_ns)}**: with the activations fused, the convolutions take {duration(_products(found))} longer (without "
        "them, the auto-tuner may choose other kernels), and separate pointwise kernels take "
        f"{duration(runs[OPERATORS].own_time_ns)}, over {plural(n, 'activation')}."
    )
    even, latency = found.break_even_ns, found.latency_ns
    if even is None or latency is None:
        return
    shortest = duration(found.shortest_ns)
    reach = f"even the shortest takes {shortest}" if even < found.shortest_ns else f"the shortest takes {shortest}"
    sum_ = f"{duration(found.plugin_ns)} {'−' if latency >= 0 else '+'} {duration(abs(latency))} ÷ {n}"
    st.markdown(
        f"**Break-even:** the plugin's kernel {'would have to' if latency >= 0 else 'could'} take {sum_} = "
        f"**{duration(even)}** on average, with everything else as measured; {reach}."
    )
    st.markdown(
        "A plugin pays off for an operation that TensorRT cannot fuse: as k kernels that read and write m tensors of s bytes, it costs "
        "about m · s ÷ bandwidth and k gaps, where the plugin moves 2 tensors and has 1 gap. Eager PyTorch above is such a case (k = 3, "
        "m = 7). Other batch sizes were not measured."
    )


def _cached(found: Exchange, runs: dict[str, RunCost]) -> None:
    """How much of the computed traffic reached the DRAM."""
    plugin, operators = (runs[role].analysis.sampled_bytes for role in (PLUGIN, OPERATORS))
    sums = [None if s.read_bytes is None else s.read_bytes + (s.written_bytes or 0.0) for s in (plugin, operators)]
    if found.bytes is None or sums[0] is None or sums[1] is None:
        return
    difference = sums[0] - sums[1]
    st.caption(
        f"The plugin's engine moves {number_of_bytes(abs(found.bytes))} {'more' if found.bytes >= 0 else 'less'} (computed); the DRAM "
        f"counters measured {number_of_bytes(abs(difference))} {'more' if difference >= 0 else 'less'} (sampled, whole percents of the "
        "peak). The rest was served by the L2 cache."
    )


def _products(found: Exchange) -> float:
    part = found.parts[0]
    return part.operators_ns - part.plugin_ns


def _activations(runs: dict[str, RunCost]) -> None:
    known = {role: run for role, run in runs.items() if run.known}
    if not known:
        return
    first = next(iter(known.values()))
    table: dict[str, list[object]] = {
        "activation": [c.activation.unit.label for c in first.costs],
        "shape": [" × ".join(map(str, c.activation.shape)) for c in first.costs],
    }
    for role, run in known.items():
        table[f"{role}: kernels"] = [c.kernels for c in run.costs]
        table[f"{role}: µs"] = [c.time_ns / 1e3 if c.kernels else None for c in run.costs]
    if PLUGIN in known:
        table["plugin, GB/s"] = [c.bytes / c.time_ns if c.bytes and c.time_ns else None for c in known[PLUGIN].costs]
    if OPERATORS in known:
        table["without the plugin, in"] = [c.within for c in known[OPERATORS].costs]

    def draw() -> None:
        show_table(st, pd.DataFrame(table), hide_index=True, key="custom_layer_activations", placeholder="")
        st.caption(
            "Without a time: no kernel of its own. GB/s: computed bytes ÷ the kernel's time; above the DRAM's peak where tensors are in "
            "the L2 cache."
        )

    folded(f"All {plural(len(first.costs), 'activation')}", "all_activations", draw)


def _agreement(table: pd.DataFrame) -> pd.DataFrame:
    cells: list[tuple[str | None, str | None, str | None]] = [
        (
            None if pd.isna(error) else f"{error:.3g}",
            None if pd.isna(bound) else f"{bound:g}",
            None if pd.isna(bound) else "yes" if within else "NO",
        )
        for error, bound, within in zip(table["max_error"], table["bound"], table["within"], strict=True)
    ]
    shown = table.rename(columns={"form": "computed by", "max_error": "largest error"})
    shown[["largest error", "bound", "within"]] = pd.DataFrame(cells, index=table.index, dtype=object)
    return shown


def _measurement(found: Measurement) -> None:
    st.subheader("The kernel alone")
    source = f"From {markdown(found.name)}, measured on one {markdown(found.gpu)}" + (
        f", {markdown(found.recorded[:10])}." if found.recorded else "."
    )
    ours = found.agreement[found.agreement["form"] == KERNEL]
    st.markdown("**Agreement with float64**, largest error of each set of inputs")
    show_table(
        st,
        _agreement(found.agreement),
        hide_index=True,
        key="custom_layer_agreement",
        placeholder="—",
    )
    outside = ours[~ours["within"]]
    cases = int(found.edges["cases"].fillna(0).sum())
    wrong = int(found.edges["wrong"].fillna(0).sum())
    st.caption(
        f"{source} {'All errors are within bounds' if outside.empty else plural(len(outside), 'set') + ' out of bounds'}. Edge cases "
        f"(sizes that do not fill a vector, unaligned memory, in place, more than 2³¹ elements): {plural(cases, 'case')}, {wrong} wrong. "
        "Errors are relative, for subnormal results relative to the smallest normal number, and for INT8 in steps of the output's scale. "
        "PyTorch's operators guarantee no bound: in FP32 their sigmoid reaches 0 before the product does."
    )
    kernels = found.bandwidth[found.bandwidth["form"] == KERNEL]
    eager = found.bandwidth[found.bandwidth["form"] == EAGER]
    series = {f"{str(p).upper()} kernel": part.sort_values("size_mib") for p, part in kernels.groupby("precision")}
    series |= {
        f"{str(p).upper()} PyTorch's operators": part.sort_values("size_mib") for p, part in eager.groupby("precision")
    }
    figure = bandwidth_lines(series, "Bandwidth against a copy of the same tensor")
    chart(figure, "custom_layer_bandwidth", about=[found.gpu])
    st.caption(
        "One read and one write of the tensor per unit of time for every curve; what PyTorch's three kernels move in between is not "
        "counted. 100 % is the faster of two copies, in a CUDA graph (like the kernels) and without one. The 1 GiB copy was slower in a "
        "graph, for an unknown reason, so the copy without one is used there; small copies without a graph are limited by their launches. "
        "Sizes up to about 16 MiB fit in the L2 cache, where both exceed the DRAM's bandwidth."
    )
    folded("All bandwidths", "all_bandwidths", partial(_bandwidths, found))


def _bandwidths(found: Measurement) -> None:
    show_table(st, found.bandwidth, hide_index=True, key="custom_layer_bandwidths", placeholder="—")
    if not found.others.empty:
        st.caption(
            "Other variants of the kernels were timed as well. The library uses “one-vector” for FP32 and FP16 and “auto” for INT8 "
            "(four vectors per thread for large tensors, one for small ones); the figures above are for those. The others:"
        )
        show_table(st, found.others, hide_index=True, key="custom_layer_others", placeholder="—")
