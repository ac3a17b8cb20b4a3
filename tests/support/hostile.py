"""A run whose every name is an attack: on HTML, Markdown, spreadsheets, terminals, and on readers."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

from tests.support.make_trace import PID, TID, TraceMaker, simple

MARK = "XATTACKX"
ATTACKS = (
    f'<script>document.title="{MARK}"</script>',
    f'<img src="http://evil.invalid/{MARK}.png" onerror="document.title=\'{MARK}\'">',
    f"[{MARK}](javascript:document.title='{MARK}') [{MARK}](http://evil.invalid)",
    f"![{MARK}](http://evil.invalid/{MARK}.png)",
    f"http://evil.invalid/{MARK} www.evil.invalid {MARK}@evil.invalid",
    f"**{MARK}** _{MARK}_ `{MARK}` ~~{MARK}~~ # {MARK}",
    f"${MARK}^2$ $$\\frac{{{MARK}}}{{2}}$$",
    f":material/delete: :red[{MARK}] :streamlit: :red-background[{MARK}] :blue-badge[{MARK}]",
    f"=cmd|' /C calc'!{MARK}",
    f"@SUM(1+1)*{MARK}",
    f"+{MARK}",
    f"-2+3+{MARK}",
    f"\t={MARK}",
    f"\r={MARK}",
    f"\uff1d{MARK}",
    f"\x1b]0;{MARK}\x07\x1b[31m{MARK}\x1b[2J\x9b31m",
    f"\u202e{MARK}\u202c\u2066{MARK}\u2069\u200b\u061c",
    f"first line\n{MARK}\r\nthird\u2028fourth",
    f"'; DROP TABLE StringIds; -- {MARK}",
    f'" OR 1=1 -- {MARK}',
    f"../../../../etc/passwd\0{MARK}",
    f"%s%n{{0}}{{{MARK}!r}}",
    f"</span></td></table><a href='http://evil.invalid'>{MARK}</a>",
    f"&lt;b&gt;{MARK}&#60;i&#62;",
    f"</script><img src=x onerror=\"document.title='{MARK}'\">",
    f"<!--<script>{MARK}",
    f"]]>&lt;&amp;\"'`{MARK}",
    f"[{MARK}](javascript:alert(1)) **bold** `code` | pipe\n# heading",
    f"@octocat #12 {MARK} $x$ ~~s~~ _e_",
    MARK * 6_250,
)


def hostile_run(folder: Path) -> Path:
    """Write a trace with its manifest, engine description and build log; every text that is free in them is an attack."""
    folder.mkdir(parents=True, exist_ok=True)
    maker = TraceMaker()
    everything = " ".join(ATTACKS[:-1])
    maker.gpu(everything)
    maker.add("META_DATA_EXPORT", name="EXPORT_PRODUCT_VERSION", value=everything)
    maker.add("META_DATA_EXPORT", name="EXPORT_SCHEMA_VERSION", value=everything)
    maker.add("META_DATA_CAPTURE", name="PROCESS_0:CUDA_GRAPH_TRACE_OPTIONS:MODE", value=everything)
    maker.add("META_DATA_CAPTURE", name="PROCESS_0:ENVIRONMENT_VARIABLE", value=f"TOKEN={MARK}")
    maker.add("NVTX_EVENTS", start=0, end=None, eventType=75, globalTid=TID, domainId=3, text=everything)
    maker.add("NVTX_EVENTS", start=0, end=None, eventType=75, globalTid=TID, domainId=4, text="TensorRT")
    for severity, attack in enumerate(ATTACKS):
        maker.add("DIAGNOSTIC_EVENT", timestamp=severity, severity=3, text=f"dropped {attack}")
    for metric, attack in enumerate(("", *ATTACKS[:-1])):
        name = f"Tensor Active {attack}[Throughput %]" if metric else "Tensor Active [Throughput %]"
        maker.metric(name, [(1_000 + 500 * i, i % 100) for i in range(60)], metric_id=metric)
    layers = []
    for i in range(3):
        begin = 1_000 + i * 100_000
        maker.range(f"iter{i}", begin, begin + 90_000)
        maker.range("ExecutionContext::enqueue", begin + 10, begin + 80_000, domainId=4)
        for k, attack in enumerate(ATTACKS):
            at = begin + 1_000 + k * 2_000
            module = f"layer1.{k % 3}/conv{1 + k // 3}"  # of ResNet-50, where there are so many
            layer = {
                "Name": f"/layer1/{module}/Conv + {attack}", "LayerType": attack, "TacticName": attack,
                "Metadata": f"[ONNX Layer: {attack}]",
                "Inputs": [{"Name": attack, "Dimensions": [1, 3, 8, 8], "Format/Datatype": f"FP16 {attack}"}],
                "Outputs": [{"Name": f"{attack}o", "Dimensions": [1, 3, 8, 8], "Format/Datatype": f"FP16 {attack}"}],
                "Weights": {"Type": "Half", "Count": 8},
            }  # fmt: skip
            if i == 0:
                layers.append(layer)
            maker.range(attack, at, at + 1_500, domainId=3 if k % 2 else 0)
            maker.range(f"/{attack}/Conv", at + 100, at + 1_400, domainId=4, jsonTextId=maker.string(json.dumps(layer)))
            maker.kernel(at + 5_000, 1_900, attack, launched=at + 300)
            maker.launch(at + 500, name=attack)
        maker.add(
            "CUPTI_ACTIVITY_KIND_MEMCPY",
            start=begin + 100,
            end=begin + 200,
            bytes=64,
            copyKind=1,
            correlationId=1,
            globalPid=PID,
        )
    trace = maker.write(folder / "trace.sqlite")
    attack = everything
    manifest = {
        "format": "profiler-run/1", "trace": "trace.sqlite", "title": attack, "framework": attack, "framework_version": attack,
        "model": attack, "weights": attack, "precision": attack, "mode": attack, "gpu": attack, "recorded": attack, "source": attack,
        "default": attack, "batch": 8, "input_shape": [8, 3], "layers": "layers.json", "build_log": "x.build.log.xz",
        "bench": {"latency_ms": {"p50": 1.0, "n": attack}}, "latency_without_profiler": {"value_ms": 1.0, "how": attack},
        "calibration": attack, attack: attack, "parameters": {"activation": "quickgelu", "plugins": [attack]},
        "modules": [{"name": attack, "type": "QuickGELU", "call": attack, "outputs": [[8, 3]], "dtype": "float16"}],
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "layers.json").write_text(json.dumps({"Layers": layers}))
    (folder / "x.build.log.xz").write_bytes(lzma.compress(_build_log().encode("utf-8", "replace")))
    return trace


def hostile_pair(folder: Path) -> tuple[Path, Path]:
    """Write two plain traces whose kernels and ranges have those names, in files whose names are no better."""
    paths = []
    for side in ("before", "after"):
        maker = simple()
        for inference in range(3):
            begin = 1_000 + inference * 10_000
            for place, attack in enumerate(ATTACKS):
                at = begin + 5_000 + place * 100
                maker.range(attack, at, at + 80)
                maker.kernel(at + 40, 50, attack, launched=at + 10)
        paths.append(maker.write(folder / f"{side} <b>&.sqlite"))
    return paths[0], paths[1]


def _build_log() -> str:
    lines = []
    for attack in (a.replace("\n", " ").replace("\r", " ") for a in ATTACKS[:-1]):
        lines += [
            f"[V] [TRT] *************** Autotuning format combination: Half(1,2) {attack.replace('*', '')} -> Half(1,2) ***************",
            f"[V] [TRT] --------------- Timing Runner: {attack} (CaskConvolution)",
            f"[V] [TRT] {attack} Set Tactic Name: {attack} Tactic: 0x0000000000000001",
            "[V] [TRT] Tactic: 0x0000000000000001 Time: 0.31",
            f"[V] [TRT] {attack} Set Tactic Name: {attack} Tactic: 0x0000000000000002",
            "[V] [TRT] Tactic: 0x0000000000000002 Time: 0.25",
            "[V] [TRT] Fastest Tactic: 0x0000000000000002 Time: 0.25",
            "[V] [TRT] >>>>>>>>>>>>>>> Chose Runner Type: CaskConvolution Tactic: 0x0000000000000002",
            f"[V] [TRT] Skipping CaskX: No valid tactics for {attack}",
        ]
    lines += [
        f"[V] [TRT] Layer(CaskConvolution): {a}, Tactic: 0x2, x (Half[1,2]) -> y (Half[1,2])"
        for a in ATTACKS[:-1]
        if "\n" not in a
    ]
    return "\n".join(lines)
