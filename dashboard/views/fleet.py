"""Fleet: many traces (ranks, nodes, runs) compared, from a result of ``python -m profiler fleet``."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any

import pandas as pd
import streamlit as st

from dashboard import fleet_results, settings
from dashboard.data import Selection
from dashboard.show import card, cards, chart, show_error
from dashboard.tables import show_table
from profiler.analysis.names.classify import CATEGORY_LABELS
from profiler.charts.fleet import across_traces, excess_bars
from profiler.errors import ProfilerError
from profiler.fleet.cluster import INSTALL
from profiler.fleet.outliers import METRICS, OutlierRule, judge
from profiler.fleet.results import NAMES, FleetResult
from profiler.text import duration, markdown, number, plural

TITLE = "Fleet"
ICON = ":material/hub:"
URL = "fleet"

_COMMAND = "python -m profiler fleet DIR -o RESULT"
_NEEDED = ("distributed", "cryptography")
_KEY = "fleet_result"
_CAUSES = 12
_LEAST_NS = 0.5  # less than the resolution of a trace is nothing
_MAX_KERNELS = 500
_UNITS = {"ns": ("ms", 1e-6), "%": ("%", 1.0), "kernels": ("kernels per inference", 1.0)}


def render(selection: Selection) -> None:
    del selection  # this page is about many traces, not about two
    st.title("Fleet")
    st.caption(
        "Many traces of the same program (ranks, nodes, repetitions) compared: which one is slow, and in which kernels. "
        "Durations only; the clocks of different nodes cannot be compared."
    )
    _upload()
    source = _choose()
    if source is None:
        return
    loaded = fleet_results.load(source)
    if isinstance(loaded, ProfilerError):
        show_error(loaded)
        return
    _head(source, loaded)
    traces = loaded.frame("traces")
    if len(traces):
        group = _group(loaded)
        mine = {
            name: frame[frame["group"] == group]
            for name, frame in ((n, loaded.frame(n)) for n in ("traces", "groups", "outliers", "excess", "merged"))
        }
        _distribution(loaded, group, mine)
        _stragglers(mine)
        _kernels(mine["merged"])
        _traces(mine["traces"], group)
    _errors(loaded)
    _downloads(source)


def _upload() -> None:
    with st.expander("Open a result", icon=":material/upload_file:"):
        st.caption(
            f"Made by `{_COMMAND}`. Results below the folder of the sidebar are found; or upload all files of one."
        )
        number_of_upload = st.session_state.get("fleet_upload_round", 0)
        files = st.file_uploader(
            "Upload the files of a result",
            accept_multiple_files=True,
            type=["json", "parquet"],
            key=f"fleet_uploader_{number_of_upload}",
        )
        if files:
            try:
                fleet_results.keep_upload(fleet_results.take_upload(files))
            except ProfilerError as error:
                show_error(error)
                return
            st.session_state[_KEY] = fleet_results.UPLOAD_KEY
            st.session_state["fleet_upload_round"] = number_of_upload + 1
            st.rerun()


def _choose() -> fleet_results.ResultSource | None:
    found = fleet_results.sources()
    if not found:
        st.info(
            "No fleet result was found. Create one and enter the folder that holds it in the sidebar under “Open your own traces”, or "
            "upload its files above.",
            icon=":material/info:",
        )
        st.code(
            f"{_COMMAND}\n\n# try it with the bundled runs:\npython -m profiler fleet traces -o fleet-result\n"
            f"{settings.FOLDER_VARIABLE}=fleet-result streamlit run dashboard",
            language="bash",
            wrap_lines=True,
        )
        if any(find_spec(package) is None for package in _NEEDED):
            st.warning(
                f"The command fleet needs packages that are not installed. Install them: `{INSTALL}`",
                icon=":material/download:",
            )
        return None
    keys = list(found)
    if st.session_state.get(_KEY) not in keys:
        wanted = st.query_params.get("result")
        if wanted is not None and wanted not in keys:
            st.warning(f"The link refers to a result that is not available: {markdown(wanted[:100])}.")
        st.session_state[_KEY] = wanted if wanted in keys else keys[0]
    key = st.selectbox("Result", keys, format_func=lambda k: found[k].title, key=_KEY)
    st.query_params["result"] = key
    return found[key]


def _head(source: fleet_results.ResultSource, result: FleetResult) -> None:
    document, outliers = result.document, result.frame("outliers")
    row = cards("fleet")
    card(row, "Traces read", number(len(result.frame("traces"))))
    card(row, "Not read", number(len(result.frame("errors"))))
    card(row, "Groups of equal runs", number(len(result.frame("groups"))))
    card(row, "Stragglers", number(outliers.loc[outliers["straggler"], "trace"].nunique()))
    settings = document.get("settings")
    rule = settings if isinstance(settings, dict) else {}
    st.caption(
        f"Result {markdown(source.title)} of the folder {markdown(str(document.get('folder')))}, made "
        f"{markdown(str(document.get('created_utc')))}. A trace is an outlier when its modified z-score "
        f"({markdown(str(document.get('score')))}) is beyond ±{markdown(str(rule.get('threshold')))} and the difference is at least "
        f"{markdown(str(rule.get('min_effect_pct')))} %; a straggler when it is so in its latency or its kernel time."
    )


def _group(result: FleetResult) -> str:
    groups = result.frame("groups").sort_values(["stragglers", "traces", "group"], ascending=[False, False, True])
    labels = {
        str(g["group"]): f"{g['group']}: {plural(g['traces'], 'trace')}, "
        + (f"{g['stragglers']} stragglers" if g["judged"] else "too few to judge")
        for g in groups.to_dict("records")
    }
    return str(st.selectbox("Group of equal runs", list(labels), format_func=labels.__getitem__, key="fleet_group"))


def _distribution(result: FleetResult, group: str, mine: dict[str, pd.DataFrame]) -> None:
    traces, outliers = mine["traces"], mine["outliers"]
    about = mine["groups"].iloc[0]
    if not about["judged"]:
        st.info(markdown(str(about["reason"])), icon=":material/info:")
    known = [m for m in METRICS if traces[m.column].notna().any()]
    if not known:
        st.warning("No figure of these traces can be compared.")
        return
    columns = [m.column for m in known]
    loudest = outliers.sort_values(["straggler", "score"], ascending=False)[
        "metric"
    ]  # what there is to see comes first
    column = st.selectbox(
        "Figure",
        columns,
        index=next((columns.index(m) for m in loudest if m in columns), 0),
        format_func={m.column: m.label.capitalize() for m in known}.__getitem__,
        key=f"fleet_metric_{group}",
    )
    metric = next(m for m in known if m.column == column)
    shown = traces[traces[metric.column].notna()]
    unit, scale = _UNITS[metric.unit]
    judged = judge(traces, metric, OutlierRule.of(result.document.get("settings")))
    band = None
    if judged is not None:
        middle, reach = judged.scores.median * scale, judged.reach * scale
        band = (middle - reach, middle, middle + reach)
    flagged = outliers[outliers["metric"] == metric.column]
    kind = {o.trace: "straggler" if o.straggler else "outlier" for o in flagged.itertuples()}
    chart(
        across_traces(
            _labels(shown),
            shown[metric.column].astype(float) * scale,
            [kind.get(t, "usual") for t in shown["trace"]],
            band,
            f"{metric.label.capitalize()} of each trace: {group}",
            unit,
        ),
        key="fleet_distribution",
    )
    left_out = len(traces) - len(shown)
    st.caption(
        f"{markdown(group)}. {plural(len(shown), 'trace')}"
        + (f"; {left_out} more do not have this figure" if left_out else "")
        + (
            ". Within the grey band a trace is not an outlier."
            if band
            else ". There are too few traces to detect an outlier."
        )
    )


def _labels(traces: pd.DataFrame) -> list[str]:
    """What the chart calls each trace: its node and rank, where these tell all of them apart; else its file."""
    ranks = [
        " ".join(
            [
                *([node] if isinstance(node, str) else []),
                *([f"rank {int(rank)}"] if pd.notna(rank) else []),
            ]
        )
        for node, rank in zip(traces["node"].tolist(), traces["rank"].tolist())
    ]
    return ranks if all(ranks) and len(set(ranks)) == len(ranks) else [str(t) for t in traces["trace"]]


def _stragglers(mine: dict[str, pd.DataFrame]) -> None:
    outliers = mine["outliers"]
    slow = outliers[outliers["straggler"]]
    if len(slow):
        st.subheader("Stragglers")
        names = slow["trace"].drop_duplicates().tolist()
        labels = dict(zip(mine["traces"]["trace"], _labels(mine["traces"])))
        name = st.selectbox(
            "Straggler",
            names,
            format_func=lambda n: f"{labels[n]} ({n})" if labels[n] != n else n,
            key="fleet_straggler",
        )
        for row in slow[slow["trace"] == name].to_dict("records"):
            many = (
                f" {int(row['slow_inferences'])} of its {int(row['inferences'])} inferences are slow."
                if pd.notna(row["slow_inferences"]) and pd.notna(row["inferences"])
                else ""
            )
            because = f" {markdown(row['because'])}." if row["because"] else ""
            st.markdown(
                f"**{markdown(row['label'].capitalize())}**: {duration(row['value'])}, where the median of {int(row['traces'])} traces is "
                f"{duration(row['median'])} (score {number(row['score'])}, {row['scale']} {duration(row['spread'])}).{many}{because}"
            )
        _causes(mine["excess"][mine["excess"]["trace"] == name], labels[name])
    rest = outliers[~outliers["straggler"]]
    if len(rest):
        st.subheader("Other outliers")
        show_table(
            st,
            pd.DataFrame(
                {
                    "trace": rest["trace"],
                    "figure": rest["label"],
                    "value": [_shown(v, u) for v, u in zip(rest["value"], rest["unit"])],
                    "median": [_shown(v, u) for v, u in zip(rest["median"], rest["unit"])],
                    "score": rest["score"],
                    "is": rest["direction"],
                    "traces": rest["traces"],
                }
            ),
            hide_index=True,
            key="fleet_outliers",
        )


def _shown(value: float, unit: str) -> str:
    return duration(value) if unit == "ns" else number(value, unit if unit == "%" else "")


def _causes(rows: pd.DataFrame, label: str) -> None:
    for levels, heading in (
        (["part"], "Where its extra latency is"),
        (["kernel"], "Kernels that account for its excess"),
    ):
        part = rows[rows["level"].isin(levels) & (rows["excess_ns"].abs() >= _LEAST_NS)]
        part = part.reindex(part["excess_ns"].abs().sort_values(ascending=False).index).head(_CAUSES)
        if not len(part):
            continue
        chart(
            excess_bars(
                part["name"].astype(str).tolist(),
                (part["excess_ns"] / 1e3).tolist(),
                [_note(r) for r in part.to_dict("records")],
                f"{heading}: {label}",
            ),
            key=f"fleet_excess_{levels[0]}",
        )


def _note(row: Mapping[Hashable, Any]) -> str:
    said = [] if pd.isna(row["value_ns"]) else [f"{duration(row['value_ns'])}, the others {duration(row['median_ns'])}"]
    if pd.notna(row["per_inference"]):
        said.append(f"{number(row['per_inference'])} per inference, the others {number(row['median_per_inference'])}")
    return "; ".join(said)


def _kernels(merged: pd.DataFrame) -> None:
    st.subheader("Kernels across the traces")
    kernels = merged[merged["level"] == "kernel"]
    if not len(kernels):
        st.caption("None of these traces contains kernels.")
        return
    shown = kernels.head(_MAX_KERNELS)
    show_table(
        st,
        pd.DataFrame(
            {
                "kernel": shown["name"],
                "kind": shown["category"].map(lambda c: CATEGORY_LABELS.get(c, c)),
                "Tensor Cores": shown["tensor_cores"],
                "in traces": shown["traces_with"],
                "executions": shown["count"],
                "kernel time, %": shown["share_of_kernel_time_pct"],
                "mean, µs": shown["mean_ns"] / 1e3,
                "min. trace, µs": shown["time_min_ns"] / 1e3,
                "median trace, µs": shown["time_median_ns"] / 1e3,
                "max. trace, µs": shown["time_max_ns"] / 1e3,
                "CV, %": shown["time_cv_pct"],
                "slowest trace": shown["slowest_trace"],
            }
        ),
        hide_index=True,
        key="fleet_kernels",
        placeholder="—",
    )
    st.caption(
        f"{len(shown)} of {plural(len(kernels), 'name')}, by total time. Time per inference of each trace: smallest, median and "
        "largest of the traces, 0 where a trace lacks the kernel; CV is its standard deviation ÷ its mean."
    )


def _traces(traces: pd.DataFrame, group: str) -> None:
    st.subheader("Traces of this group")
    table = pd.DataFrame(
        {
            "trace": traces["trace"],
            "node": traces["node"],
            "rank": traces["rank"],
            "inferences": traces["inferences"],
            "latency p50, ms": traces["latency_p50_ns"] / 1e6,
            "latency p99, ms": traces["latency_p99_ns"] / 1e6,
            "kernels per inference": traces["kernels_per_inference"],
            "kernel time, ms": traces["kernel_time_mean_ns"] / 1e6,
            "GPU idle, ms": traces["gpu_idle_mean_ns"] / 1e6,
            "launches": traces["launches_per_inference"],
            "Tensor Cores by name, %": traces["tensor_cores_yes_pct"],
            "Tensor Active sampled, %": traces["tensor_active_pct"],
            "warnings": ["; ".join(w) for w in traces["warnings"]],
            "no kernel figures because": traces["no_kernels_reason"],
        }
    ).dropna(axis="columns", how="all")
    show_table(st, table, hide_index=True, key="fleet_traces", placeholder="—")
    st.caption(f"{markdown(group)}. Figures are per inference; each is the one that the pages for one trace show.")


def _errors(result: FleetResult) -> None:
    errors = result.frame("errors")
    if len(errors):
        st.subheader("Not read")
        show_table(st,
            errors[["trace", "message", "hint"]], hide_index=True, key="fleet_errors", placeholder="",
            column_config={c: st.column_config.TextColumn(width="large") for c in ("message", "hint")},
        )  # fmt: skip
    skipped = result.document.get("skipped")
    if isinstance(skipped, list) and skipped:
        with st.expander(f"{plural(len(skipped), 'file')} skipped"):
            show_table(
                st, pd.DataFrame([s for s in skipped if isinstance(s, dict)]), hide_index=True, key="fleet_skipped"
            )


def _downloads(source: fleet_results.ResultSource) -> None:
    with st.expander("Download the tables", icon=":material/download:"):
        columns = st.columns(5)
        for place, name in enumerate(NAMES):
            columns[place % 5].download_button(
                name, data=partial(source.content, name), file_name=name, key=f"fleet_download_{name}"
            )
