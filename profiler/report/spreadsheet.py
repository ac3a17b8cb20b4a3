"""Texts for spreadsheets: a cell that starts like a formula is run as one by Excel, LibreOffice and Google Sheets, also from a CSV file.

Such a text gets an apostrophe in front, which says "text" to all three (https://owasp.org/www-community/attacks/CSV_Injection).
"""

from __future__ import annotations

import re

FORMULA = re.compile(r"[\s\x00]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
QUANTITY = re.compile(r"[+-]?[0-9][0-9,.]*(?:e[+-]?[0-9]+)?(?: ?[A-Za-z0-9_µ%×/]{1,12})?")
"""Both mean the same in JavaScript, which takes them from the HTML report for its own “Save as CSV”."""


def cell(text: str) -> str:
    """The text, with an apostrophe in front if a spreadsheet would take it for a formula; a signed quantity is none."""
    return f"'{text}" if FORMULA.match(text) and not QUANTITY.fullmatch(text) else text
