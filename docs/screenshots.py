"""Takes the pictures of the README and of the documentation from the dashboard as it is: ``python -m docs.screenshots``.

Needs playwright (requirements-test.txt) and a Chromium on the PATH. Run from the repository's root.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from dashboard.sources import OPENING
from tests.support.serving import CHROMIUM_FLAGS, chromium, serving

FOLDER = Path(__file__).resolve().parent / "images"
MAX_BYTES = 200_000
_PAIR = "before={}&after={}".format(*OPENING)  # named, so that the first-run guide does not show
_SETTLE_MS = 6000
# page in the address, its heading, height in pixels
PICTURES = {
    "overview": ("", "kernels per inference. Same model, same precision.", 900),
    "fusion": ("fusion", "Fusion", 1000),
    "timeline": ("timeline", "Timeline", 900),
}


def take(page: Any, address: str, name: str) -> bytes:
    """One picture, as the bytes of a PNG with a palette of 256 colours."""
    path, heading, height = PICTURES[name]
    page.set_viewport_size({"width": 1440, "height": height})
    page.goto(f"{address}/{path}?{_PAIR}")
    page.get_by_role("heading", name=heading, level=1).wait_for(timeout=60_000)
    page.locator('[data-testid="stStatusWidget"]').wait_for(state="hidden", timeout=60_000)
    page.wait_for_timeout(_SETTLE_MS)  # charts are drawn after the page has settled
    if page.locator('[data-testid="stException"]').count():
        raise RuntimeError(f"{name}: the page shows an exception")
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    small = image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    data = io.BytesIO()
    small.save(data, "PNG", optimize=True)
    return data.getvalue()


def main() -> int:
    """Take all pictures; the exit status is 1 when there is no browser or one of them is too large."""
    executable = chromium()
    if executable is None:
        print("error: no Chromium or Chrome on the PATH.", file=sys.stderr)
        return 1
    too_large = False
    FOLDER.mkdir(exist_ok=True)
    with serving() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(CHROMIUM_FLAGS))
        page = browser.new_context(color_scheme="light").new_page()
        for name in PICTURES:
            data = take(page, address, name)
            (FOLDER / f"{name}.png").write_bytes(data)
            print(f"{name}.png  {len(data) / 1000:.0f} kB")
            too_large |= len(data) > MAX_BYTES
        browser.close()
    if too_large:
        print(f"error: a picture is larger than {MAX_BYTES / 1000:.0f} kB.", file=sys.stderr)
    return int(too_large)


if __name__ == "__main__":
    sys.exit(main())
