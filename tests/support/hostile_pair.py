"""Names that want to be more than names, in a pair of traces."""

from __future__ import annotations

from pathlib import Path

from tests.support.make_trace import simple

NAMES = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(2)>",
    "<!--<script>",
    "]]>&lt;&amp;\"'`",
    "[click](javascript:alert(1)) **bold** `code` | pipe\n# heading",
    "@octocat #12 https://example.invalid www.example.invalid $x$ ~~s~~ _e_",
    "=HYPERLINK(1)",
    "\u202e\u2028\x1b[31mred",
    "x" * 50_000,
)


def write_pair(folder: Path) -> tuple[Path, Path]:
    """Two traces whose kernels and ranges have those names."""
    paths = []
    for side in ("before", "after"):
        maker = simple()
        for inference in range(3):
            begin = 1_000 + inference * 10_000
            for place, name in enumerate(NAMES):
                at = begin + 5_000 + place * 300
                maker.range(name, at, at + 200)
                maker.kernel(at + 100, 50, name, launched=at + 10)
        paths.append(maker.write(folder / f"{side} <b>&.sqlite"))
    return paths[0], paths[1]
