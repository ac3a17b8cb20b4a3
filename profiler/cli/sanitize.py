"""``sanitize``: a copy of a trace that can be shared."""

from __future__ import annotations

import argparse
from pathlib import Path

from profiler.cli.output import FORMATS, emit
from profiler.cli.verb import add_nvtx, add_trace
from profiler.report.share import share
from profiler.runtime.arguments import positive
from profiler.text import plural, shorten

DESCRIPTION = (
    "Write a copy of a trace that can be shared. Host and user names, command line, environment, paths, standard output, process and "
    "thread names, GPU UUID and bus location are left out. The copy is a new file, so nothing survives in free pages, and its bytes "
    "are searched for every removed value. All figures of the copy are compared with those of the trace; if one differs, no copy is "
    "kept. The trace itself is not changed. Names of kernels and ranges and TensorRT's layer descriptions stay, without paths: they "
    "are counted, anything that looks like a secret is shown, and --format json lists them all."
)


_SHOWN = 20
_LOOKS = {
    "token": "an access token", "assignment": "a password or key", "email": "an e-mail address", "uuid": "an identifier (UUID)",
    "address": "a network address", "link": "a link", "path": "a path", "key": "a key",
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_trace(parser)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="COPY", help="NAME.sqlite, or NAME.sqlite.xz to compress it"
    )
    parser.add_argument(
        "--inferences", type=positive, metavar="N", help="keep only the first N inferences and what they launched"
    )
    parser.add_argument("--drop-unused", action="store_true", help="leave out tables that no figure here needs")
    add_nvtx(parser)
    parser.add_argument("-f", "--force", action="store_true", help="replace COPY if it exists")
    parser.add_argument(
        "--format", choices=FORMATS, default="table", help="how to print what was removed (default: table)"
    )


def run(args: argparse.Namespace) -> None:
    target: Path = args.output
    report, compared = share(Path(args.trace), target, args.inferences, args.drop_unused, args.nvtx, args.force)
    document = {"trace": args.trace, "copy": str(target), "figures_compared": compared, **report.as_dict()}
    rows = [{"removed": kind, "count": n} for kind, n in report.removed.items()]
    rows += [
        {"removed": "tables left out", "count": len(report.tables_dropped)},
        {"removed": "tables emptied", "count": len(report.tables_emptied)},
        {"removed": "columns", "count": len(report.columns_dropped)},
        {"removed": "rows", "count": report.rows_dropped},
        {"removed": "texts that nothing refers to any more", "count": report.strings_dropped},
        {"removed": "texts from which a path or a name was cut", "count": report.texts_changed},
    ]
    width = max(len(str(row["removed"])) for row in rows)
    lines = [
        f"{target}: {report.bytes_before:,} → {report.bytes_after:,} bytes"
        + (f", the first {plural(report.inferences, 'inference')}" if report.inferences is not None else ""),
        "",
        "removed" if report.removed else "removed (the trace held nothing that names a machine or a person)",
        *(f"  {row['removed']:<{width}}  {row['count']:>9,}" for row in rows if row["count"]),
        "",
        f"checked: {compared} figures and series are the same in the copy ({plural(report.kernels, 'kernel')} one by one); "
        f"{report.values_searched:,} removed values were searched for in its bytes and not found"
        + (f", {report.values_too_short:,} are too short to be searched for" if report.values_too_short else ""),
        "",
        "kept as free text: "
        + ", ".join(f"{len(texts):,} {kind}" for kind, texts in report.kept_texts.items() if texts),
        *(
            f"  looks like {_LOOKS[kind]}: {shorten(text, 100)}"
            for text, kind in list(report.suspicious.items())[:_SHOWN]
        ),
        "Read these names before you share the copy; --format json lists all of them.",
    ]
    emit(argparse.Namespace(format=args.format, output=None, force=False), document, "\n".join(lines), rows)
