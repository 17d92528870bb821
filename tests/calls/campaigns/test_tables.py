"""Tables as people's programs write them, and files that are none."""

import csv
import datetime
import io
import zipfile

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.campaigns import tables
from calls.campaigns.tables import Form, TableError, headers, probe, rows

pytestmark = pytest.mark.pure

PEOPLE = [["Name", "Phone"], ["Zoë", "+14155552671"], ["Ömer", "+4930123456"]]


def read(data: bytes) -> list[list[str]]:
    file = io.BytesIO(data)
    with rows(file, probe(file)) as found:
        return [cells for _, cells in found]


def written(delimiter: str, table=PEOPLE, end: str = "\r\n") -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator=end).writerows(table)
    return out.getvalue()


def workbook(*table, **sheets) -> bytes:
    book = openpyxl.Workbook()
    for row in table:
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_csv_file_is_read_whatever_wrote_it(encoding: str, delimiter: str, end: str) -> None:
    assert read(written(delimiter, end=end).encode(encoding)) == PEOPLE


def test_a_character_at_the_edge_of_a_block_does_not_make_utf_8_something_else() -> None:
    table = [["Name", "Phone"], *[["é" * 1999, "1"]] * 600]
    assert probe(io.BytesIO(b"x" + written(",", table).encode())).encoding == "utf-8"


def test_the_delimiter_is_the_one_that_makes_a_table_and_not_the_most_frequent() -> None:
    table = [["Name", "Phone"], ["Doe, Jane, Dr, PhD", "+14155552671"], ["Roe, Max", "+4930123456"]]
    data = "\n".join(";".join(row) for row in table).encode()
    assert read(data) == table


def test_quoted_cells_hold_delimiters_and_line_breaks() -> None:
    table = [["Name", "Note"], ['Jane "JD" Doe', "one, two\nthree"]]
    assert read(written(",", table).encode()) == [["Name", "Note"], ['Jane "JD" Doe', "one, two three"]]


@pytest.mark.parametrize("text", ['a,b\n1,"x\n2,y\n3,"z\n', 'a,b\n1,x\n2,"y\n'])
def test_a_quote_that_swallows_rows_is_an_error_and_not_fewer_rows(text: str) -> None:
    with pytest.raises(TableError, match=r"Line \d cannot be read"):
        read(text.encode())


def test_a_single_column_is_a_table() -> None:
    assert read(b"phone\n+14155552671\n+4930123456\n") == [["phone"], ["+14155552671"], ["+4930123456"]]


def test_empty_rows_are_left_out_and_rows_keep_their_number_in_the_file() -> None:
    file = io.BytesIO(b"\n\nphone,name\n\n,\n+14155552671,Jane\n")
    with rows(file, probe(file)) as found:
        assert list(found) == [(3, ["phone", "name"]), (6, ["+14155552671", "Jane"])]


def test_rows_are_as_wide_as_the_header() -> None:
    assert read(b"a,b,,\n1\n1,2,3,4\n") == [["a", "b"], ["1", ""], ["1", "2"]]


def test_a_workbook_is_read_as_it_looks() -> None:
    data = workbook(
        ["Phone", "When", "At", "Since", "Paid", "Amount", "Formula"],
        [
            14155552671,
            datetime.date(2026, 5, 3),
            datetime.datetime.fromisoformat("2026-05-03T10:30"),
            None,
            True,
            12.5,
            "=1+1",
        ],
    )
    assert read(data)[1] == ["14155552671", "2026-05-03", "2026-05-03T10:30:00", "", "yes", "12.5", "=1+1"]


def test_columns_without_a_name_or_with_the_same_one_are_told_apart() -> None:
    assert headers(["Phone", "", "Phone", ""]) == ["Phone", "Column 2", "Phone (2)", "Column 4"]
    assert headers(["Column 2", ""]) == ["Column 2", "Column (2)"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b" \r\n\t", "empty"),
        (b"\xd0\xcf\x11\xe0" + bytes(100), "old Excel"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "neither"),
        (b"PK\x03\x04" + bytes(50), "XLSX"),
        (b"PK\x03\x04 a text that begins like a workbook", "XLSX"),
        (b"a,b\n" + b"x" * 3000 + b",1\n", "2000 characters"),
        (",".join(f"c{n}" for n in range(101)).encode() + b"\n", "100 columns"),
    ],
)
def test_what_is_no_table_is_named(data: bytes, why: str) -> None:
    with pytest.raises(TableError, match=why):
        read(data)


def test_another_zip_file_is_no_workbook() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("holiday.jpg", b"x")
    with pytest.raises(TableError, match="XLSX"):
        read(out.getvalue())


def test_a_workbook_that_unpacks_to_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_UNPACKED", 1_000_000)
    out = io.BytesIO(workbook(["Phone"], ["1"]))
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/bomb.xml", b" " * 2_000_000)
    assert len(out.getvalue()) < 20_000
    with pytest.raises(TableError, match="too large"):
        read(out.getvalue())


def test_an_entity_bomb_is_not_expanded() -> None:
    source = io.BytesIO(workbook(["Phone"], ["1"]))
    out = io.BytesIO()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "xl/worksheets/sheet1.xml":
                data = data.replace(
                    b"<worksheet", b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><worksheet', 1
                )
            new.writestr(name, data)
    with pytest.raises((TableError, ValueError)):
        read(out.getvalue())


def test_a_table_of_too_many_rows_is_refused_while_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_ROWS", 3)
    assert len(read(b"phone\n1\n2\n3\n")) == 4
    with pytest.raises(TableError, match="more than 3 rows"):
        read(b"phone\n1\n2\n3\n4\n")


@given(st.binary(max_size=400))
def test_whatever_is_uploaded_is_a_table_or_is_refused_in_words(data: bytes) -> None:
    try:
        found = read(data)
    except TableError:
        return
    assert all(len(row) == len(found[0]) for row in found)


@given(
    st.lists(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Z"]), min_size=1, max_size=5),
            min_size=2,
            max_size=2,
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from(",;\t|"),
)
def test_every_table_is_read_back_as_it_was_written(table: list[list[str]], delimiter: str) -> None:
    file = io.BytesIO(written(delimiter, table).encode())
    with rows(file, Form("csv", "utf-8", delimiter)) as found:
        assert [cells for _, cells in found] == table
