"""Tables that people download: what others have typed must not become a formula in their spreadsheet."""

import csv
import io
import re
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

_STARTS_FORMULA = "=+-@\t\r\n|%"
# Where a list separator other than a comma is usual, Excel divides a cell of a CSV file at it.
_DIVIDED = re.compile(r"([;\t]\s*)(?=[=+\-@|%\uff1d\uff0b\uff0d\uff20])")
# A phone number is none, and is read back as it is; masked ones neither.
_PLAIN_NUMBER = re.compile(r"[+-]?[0-9][0-9 ().•\-]*", re.ASCII)
# Characters that no XML file can hold: XML 1.0, production 2.
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
BLOCK = 64 * 1024  # characters
MOST_ROWS = 1_048_576  # of a sheet


class TooManyRows(ValueError):  # noqa: N818  (as a person would say it)
    """A sheet does not hold so many."""


def neutral(cell: str) -> str:
    """The cell as text that no spreadsheet calculates (OWASP ASVS 1.2.10); also in its full-width forms."""
    if not cell or _PLAIN_NUMBER.fullmatch(cell):
        return cell
    return f"'{cell}" if unicodedata.normalize("NFKC", cell)[:1] in _STARTS_FORMULA else cell


def neutral_in_csv(cell: str) -> str:
    """The same where a cell may be read as several."""
    return _DIVIDED.sub(r"\1'", neutral(cell))


def csv_lines(table: Iterable[Sequence[str]]) -> Iterator[bytes]:
    """The rows as CSV in UTF-8 with a mark, by which Excel knows it; some at a time."""
    out = io.StringIO()
    writer = csv.writer(out)
    out.write("\ufeff")
    for row in table:
        writer.writerow([neutral_in_csv(cell) for cell in row])
        if out.tell() > BLOCK:
            yield out.getvalue().encode()
            out.seek(0)
            out.truncate()
    yield out.getvalue().encode()


def xlsx_file(table: Iterable[Sequence[str]]) -> IO[bytes]:
    """The rows as a workbook of one sheet, every cell a text; a temporary file at its beginning, gone once closed.

    Raises:
        TooManyRows: more than 1,048,576.
    """
    import openpyxl

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Table")
    try:
        for count, row in enumerate(table, 1):
            if count > MOST_ROWS:
                raise TooManyRows("These are more rows than a sheet holds: download them as CSV.")
            sheet.append([_text(sheet, cell) for cell in row])
        file = tempfile.TemporaryFile()  # noqa: SIM115  (whoever reads it closes it)
        book.save(file)
    except BaseException:
        sheet.close()  # else its half-written part stays behind
        raise
    file.seek(0)
    return file


def _text(sheet: Any, text: str) -> Any:
    """As openpyxl writes it as a text: what ``neutral`` gives begins with no "=", which it takes for a formula."""
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ERROR_CODES

    kept = neutral(_NOT_IN_XML.sub("", text))
    if kept not in ERROR_CODES:
        return kept or None
    cell = WriteOnlyCell(sheet, kept)
    cell.data_type = "s"  # "#N/A" is an error of a calculation to it
    return cell
