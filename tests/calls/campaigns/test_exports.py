"""Tables for download: what people typed stays text in a spreadsheet."""

import csv
import io
import unicodedata

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.campaigns.exports import csv_lines, neutral, neutral_in_csv, xlsx_file

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    "cell",
    ["=1+1", "+cmd|' /C calc'!A0", "-2+3+cmd", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1+1", "\uff0b1+1", "|x", "%0A=1"],
)
def test_what_a_spreadsheet_would_calculate_is_made_text(cell: str) -> None:
    assert neutral(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "Jane", "+14155552671", "+1 (415) 555-2671", "-12.5", "+1415•••••71", "a=b"])
def test_what_is_harmless_stays_as_it_is(cell: str) -> None:
    assert neutral(cell) == cell


@given(st.text(max_size=20))
def test_nothing_begins_like_a_formula(cell: str) -> None:
    found = unicodedata.normalize("NFKC", neutral(cell))[:1]
    assert found not in {"=", "@"}
    if found in {"+", "-"}:
        assert cell[1:2].isdigit()


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=9), min_size=2, max_size=2)))
def test_every_row_is_read_back_from_the_file(table: list[list[str]]) -> None:
    data = b"".join(csv_lines(table)).decode("utf-8-sig")
    assert list(csv.reader(io.StringIO(data, newline=""))) == [[neutral_in_csv(cell) for cell in row] for row in table]


@pytest.mark.parametrize("cell", ["x;=cmd|'/C calc'!A0;y", "a;  +1+cmd", "a\t@SUM(A1)", "a;\uff1d1"])
def test_where_a_spreadsheet_divides_cells_at_semicolons_no_part_is_calculated(cell: str) -> None:
    (line,) = b"".join(csv_lines([[cell]])).decode("utf-8-sig").splitlines()
    parts = [part.strip().strip('"') for part in line.replace("\t", ";").split(";")]
    assert not [part for part in parts if unicodedata.normalize("NFKC", part)[:1] in {"=", "+", "-", "@"}]


def test_a_workbook_holds_texts_alone_whatever_they_look_like() -> None:
    row = ["=1+1", "#N/A", "12", "2026-05-03", "\ufffe=1", "a\x01\ud800b", "", "x" * 40_000]
    with xlsx_file([row]) as file:
        cells = next(openpyxl.load_workbook(file).worksheets[0].rows)
    texts = ["'=1+1", "#N/A", "12", "2026-05-03", "'=1", "ab", None, "x" * 32_767]
    assert [cell.value for cell in cells] == texts
    assert {cell.data_type for cell in cells if cell.value} == {"s"}
