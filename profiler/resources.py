"""Where the files that come with the code are: the bundled traces and the documentation.

A wheel carries them inside this package; a clone, and an editable install of one, has them beside it.
"""

from __future__ import annotations

from pathlib import Path

IMPORT_ROOT = Path(__file__).resolve().parent.parent
"""The folder on the import path that holds this package: for a child process that must import it too."""
_IN_WHEEL = Path(__file__).resolve().parent / "bundled"


def bundled_traces() -> Path:
    """The folder of the bundled runs."""
    return _folder("traces")


def documentation() -> Path:
    """The folder of the Markdown documents."""
    return _folder("docs")


def _folder(name: str) -> Path:
    packed = _IN_WHEEL / name
    return packed if packed.is_dir() else IMPORT_ROOT / name
