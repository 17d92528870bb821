"""Tables that people download: what others have typed must not become a formula in their spreadsheet."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

_STARTS_FORMULA = "=+-@\t\r\n|%"
# A phone number is none, and is read back as it is; masked ones neither.
_PLAIN_NUMBER = re.compile(r"[+-]?[0-9][0-9 ().•\-]*", re.ASCII)


def neutral(cell: str) -> str:
    """The cell as text that no spreadsheet calculates (OWASP ASVS 1.2.10); also in its full-width forms."""
    if not cell or _PLAIN_NUMBER.fullmatch(cell):
        return cell
    return f"'{cell}" if unicodedata.normalize("NFKC", cell)[:1] in _STARTS_FORMULA else cell


def csv_lines(table: Iterable[Sequence[str]]) -> Iterator[bytes]:
    """The rows as CSV in UTF-8 with a mark, by which Excel knows it; one by one."""
    out = io.StringIO()
    writer = csv.writer(out)
    yield "\ufeff".encode()
    for row in table:
        writer.writerow([neutral(cell) for cell in row])
        yield out.getvalue().encode()
        out.seek(0)
        out.truncate()
