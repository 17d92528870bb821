"""Tables that somebody uploads, CSV or XLSX, as rows of text: whatever wrote them, and whatever is wrong with them.

Pure but for the file. Rows are read one after the other, so that a large file needs no large memory; a formula is kept
as its text and never calculated.
"""

import codecs
import csv
import datetime
import io
import itertools
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import msgspec

MAX_ROWS = 200_000
MAX_COLUMNS = 100
MAX_CELL = 2000  # characters
MAX_UNPACKED = 400 * 1024 * 1024  # bytes; 100,000 rows of ten columns are some 80 MB
PROBED = 256 * 1024  # bytes from which delimiter and encoding are told
PROBED_ROWS = 20
DELIMITERS = ",;\t|"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

Row = tuple[int, list[str]]  # its number in the file, from 1, and its cells


class TableError(ValueError):
    """The file is no table; its text says why, for an operator."""


class Form(msgspec.Struct, frozen=True):
    """How a file is written. ``encoding`` and ``delimiter`` are empty for XLSX."""

    kind: str
    encoding: str = ""
    delimiter: str = ""


def probe(file: IO[bytes]) -> Form:
    """How the file is written; leaves it at its beginning.

    Raises:
        TableError: it is empty, or nothing that can be read.
    """
    file.seek(0)
    head = file.read(PROBED)
    file.seek(0)
    if not head.strip():
        raise TableError("The file is empty.")
    if head.startswith(b"PK\x03\x04"):
        return Form("xlsx")
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        raise TableError("This is an old Excel file (.xls): save it as .xlsx or .csv.")
    encoding = _encoding(file, head)
    text = head.decode(encoding, errors="ignore")
    if "\x00" in text:
        raise TableError("This is neither a CSV nor an XLSX file.")
    return Form("csv", encoding, _delimiter(text))


@contextmanager
def rows(file: IO[bytes], form: Form) -> Iterator[Iterator[Row]]:
    """The rows that hold something, one by one; the first is the header, each as wide as that.

    Raises:
        TableError: also while rows are read: the file is damaged, or larger than any that is taken.
    """
    file.seek(0)
    if form.kind == "xlsx":
        with _workbook(file) as cells:
            yield _even(cells)
    else:
        text = io.TextIOWrapper(file, form.encoding, errors="replace", newline="")
        try:
            yield _even(_of_csv(text, form.delimiter))
        finally:
            text.detach()  # else the file would be closed with it


def headers(first: list[str]) -> list[str]:
    """A name for each column: its header, told apart from others of the same name."""
    names: list[str] = []
    for at, cell in enumerate(first, 1):
        name = cell or f"Column {at}"
        again = 2
        while name in names:
            name = f"{cell or 'Column'} ({again})"
            again += 1
        names.append(name)
    return names


def _encoding(file: IO[bytes], head: bytes) -> str:
    """UTF-8 if all of it is, else what Windows writes; a mark at the beginning decides."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while block := file.read(1 << 20):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "cp1252"
    finally:
        file.seek(0)
    return "utf-8"


def _delimiter(text: str) -> str:
    """The one by which the most of the first rows have as many cells as the header, and more than one."""

    def fit(delimiter: str) -> tuple[int, int]:
        try:
            first = list(itertools.islice(csv.reader(text.splitlines(), delimiter=delimiter), PROBED_ROWS))
        except csv.Error:
            return (0, 0)
        widths = [len(row) for row in first if row]
        if not widths or widths[0] < 2:
            return (0, 0)
        return (widths.count(widths[0]), widths[0])

    return max(DELIMITERS, key=fit)


def _of_csv(text: IO[str], delimiter: str) -> Iterator[Row]:
    reader = csv.reader((line.replace("\x00", "") for line in text), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise TableError(f"Line {reader.line_num} cannot be read: {error}.") from error


@contextmanager
def _workbook(file: IO[bytes]) -> Iterator[Iterator[Row]]:
    """The first sheet of a workbook."""
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        with zipfile.ZipFile(file) as archive:
            if sum(each.file_size for each in archive.infolist()) > MAX_UNPACKED:
                raise TableError("This workbook is too large once unpacked: save the sheet as .csv.")
        file.seek(0)
        book = openpyxl.load_workbook(file, read_only=True, data_only=False, keep_links=False)
    except TableError:
        raise
    except (zipfile.BadZipFile, InvalidFileException, KeyError, ValueError, OSError, EOFError) as error:
        raise TableError("This is no XLSX workbook, or a damaged one.") from error
    try:
        if not book.worksheets:
            raise TableError("This workbook has no sheet.")
        yield _of_sheet(book.worksheets[0])
    finally:
        book.close()


def _of_sheet(sheet: Any) -> Iterator[Row]:
    try:
        # A sheet may claim to be a million columns wide.
        for at, row in enumerate(sheet.iter_rows(values_only=True, max_col=MAX_COLUMNS), 1):
            yield at, [_text(cell) for cell in row]
    except (KeyError, ValueError, TypeError, zipfile.BadZipFile, EOFError, SyntaxError) as error:
        raise TableError("The workbook is damaged.") from error


def _text(cell: Any) -> str:
    """As somebody reads it in the sheet: a number has no ".0", a date is ISO 8601."""
    match cell:
        case None:
            return ""
        case bool():
            return "yes" if cell else "no"
        case float() if cell.is_integer() and abs(cell) < 1e16:
            return str(int(cell))
        case datetime.datetime() if cell.time() == datetime.time():
            return cell.date().isoformat()
        case datetime.datetime() | datetime.date() | datetime.time():
            return cell.isoformat()
        case _:
            return str(cell)


def _even(found: Iterator[Row]) -> Iterator[Row]:
    """Rows that hold something, trimmed, and as wide as the first."""
    width = 0
    count = 0
    for number, cells in found:
        row = [" ".join(cell.split()) for cell in cells]
        if any(len(cell) > MAX_CELL for cell in row):
            raise TableError(f"Row {number} has a cell of more than {MAX_CELL} characters.")
        if not any(row):
            continue
        if not width:
            while row and not row[-1]:
                row.pop()
            width = len(row)
            if width > MAX_COLUMNS:
                raise TableError(f"The table has more than {MAX_COLUMNS} columns.")
        count += 1
        if count > MAX_ROWS + 1:
            raise TableError(f"The table has more than {MAX_ROWS} rows: split it.")
        yield number, (row + [""] * width)[:width]
