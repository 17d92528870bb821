"""The results of a campaign in the admin: figures for those who may see it, tables for those who may download them."""

import csv
import io
import re

import openpyxl
import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import AsyncRequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from calls.admin.campaign_pages import download
from calls.campaigns import exports, results
from calls.models import Call, CallSummary, Campaign, CampaignContact, ContactList, Price, Usage
from tests.calls.admin.test_campaigns import page, staff, text_of
from tests.calls.campaigns.conftest import NOON, make, rung  # noqa: F401  (make is a fixture)

pytestmark = [pytest.mark.db, pytest.mark.django_db]


def table(campaign: Campaign, what: str, kind: str) -> str:
    return reverse("admin:calls_campaign_table", args=[campaign.pk, what, kind])


def body(response) -> bytes:
    return b"".join(response.streaming_content)


def read(response) -> list[list[str]]:
    return list(csv.reader(io.StringIO(body(response).decode("utf-8-sig"), newline="")))


@pytest.fixture
def campaign(make) -> Campaign:  # noqa: F811
    campaign = make.campaign(make.people(2, name="=Jane"))
    person = campaign.people.order_by("pk").first()
    call = rung(person, duration_s=42, end_reason="agent_ended")
    CallSummary.objects.create(
        call=call, status="ready", summary="Wants a call on Monday.", success=True, extracted={"reason": "#N/A"}
    )
    CampaignContact.objects.filter(pk=person.pk).update(attempts=1, outcome="completed", state="done", next_due=None)
    return campaign


def test_a_campaign_without_calls_has_a_page_that_says_so(admin_page, make):  # noqa: F811
    html = admin_page.get(page(make.campaign(launched=False), "results")).content.decode()
    assert "No call is over yet" in html
    assert "<table" not in html


def test_the_figures_are_tables_with_headings_that_are_read_out(admin_page, campaign):
    response = admin_page.get(page(campaign, "results"))
    html, shown = response.content.decode(), text_of(response.content.decode())
    assert "Called at least once 50 % 1" in shown
    assert "Talked longer than 30 s 50 % 1" in shown
    assert "took 42 s in the mean and 42 s in the median, over 1 call." in shown
    assert html.count("<caption") == html.count("<table") == 4
    assert not re.search(r"<t[hd]>", html.replace("<td>", "")), "every heading has a scope"
    assert f'href="{page(campaign, "results")}"' in admin_page.get(page(campaign)).content.decode()


def test_from_which_length_a_call_is_a_talk_is_the_readers_choice(admin_page, campaign):
    shown = text_of(admin_page.get(page(campaign, "results") + "?talked_s=42").content.decode())
    assert "Talked longer than 42 s 0 % 0" in shown
    wrong = admin_page.get(page(campaign, "results") + "?talked_s=-1")
    assert (wrong.status_code, "greater than or equal to 0" in wrong.content.decode()) == (422, True)


def test_what_it_has_cost_is_shown_for_all_and_for_each_who_came_so_far(make):  # noqa: F811
    campaign = make.campaign(make.people(4))
    first, second, third, _ = campaign.people.order_by("pk")
    for person, outcome in ((first, "completed"), (second, "completed"), (third, "busy")):
        rung(person, outcome=outcome, carrier_cost="1.50")
    CallSummary.objects.create(call=Call.objects.earliest("pk"), status="ready", success=True)
    viewer = staff("view_campaign")
    shown = text_of(viewer.get(page(campaign, "results")).content.decode())
    assert "It has cost 4.50 USD so far" in shown
    assert "In the campaign 100 % 4 1.1250 Called at least once 75 % 3 1.5000" in shown
    assert "Answered by a person 50 % 2 2.2500" in shown
    assert "A success by the call&#x27;s summary 25 % 1 4.5000" in shown
    assert "prices are missing" not in shown
    Campaign.objects.update(status="finished")
    call = rung(campaign.people.last(), at=timezone.now(), outcome="busy", carrier_cost="0.50")
    Usage.objects.create(call=call, stage="llm", provider="openai", model="gpt-x", output_tokens=5)
    for address in (page(campaign, "results"), page(campaign, "standing")):
        shown = text_of(viewer.get(address).content.decode())
        assert "5.00" in shown
        assert "prices are missing" in shown
        assert "No price for openai gpt-x by a million output tokens" in shown


def test_nobody_who_came_so_far_costs_nothing_that_could_be_said(admin_page, make):  # noqa: F811
    campaign = make.campaign()
    rung(campaign.people.get(), outcome="busy", carrier_cost="1.50")
    shown = text_of(admin_page.get(page(campaign, "results")).content.decode())
    assert "Answered by a person 0 % 0 -" in shown


def test_the_page_takes_as_many_queries_however_many_were_called(admin_page, make, django_assert_num_queries):  # noqa: F811
    campaign = make.campaign(make.people(20))
    first, *others = campaign.people.all()
    rung(first)
    admin_page.get(page(campaign, "results"))  # which sums up what was spent
    with CaptureQueriesContext(connection) as few:
        admin_page.get(page(campaign, "results"))
    for person in others:
        rung(person)
    with django_assert_num_queries(len(few)):
        admin_page.get(page(campaign, "results"))


def test_people_are_downloaded_with_whole_numbers_only_for_those_who_may_see_them(campaign):
    person = campaign.people.order_by("pk").first()
    exporter = staff("view_campaign", "export_campaign")
    header, first, second = read(exporter.get(table(campaign, "people", "csv")))
    found = dict(zip(header, first, strict=True))
    assert (found["Name"], found["Number"]) == ("'=Jane", f"{person.number[:5]}•••••{person.number[-2:]}")
    assert (found["State"], found["Outcome"], found["Attempts"], found["Talked (s)"]) == (
        "Done",
        "completed",
        "1",
        "42",
    )
    assert (found["Success"], found["Summary"], found["reason"]) == ("yes", "Wants a call on Monday.", "#N/A")
    assert re.fullmatch(r"2026-11-26T17:00:00[+-]\d\d:\d\d", found["Last called"])
    assert second[8:] == ["", "", "", "", "", ""]
    whole = staff("view_campaign", "export_campaign", "view_numbers").get(table(campaign, "people", "csv"))
    assert person.number in body(whole).decode()
    for what in ("people", "calls"):
        assert staff("view_campaign").get(table(campaign, what, "csv")).status_code == 403
        assert staff("export_campaign").get(table(campaign, what, "xlsx")).status_code == 403


def test_every_call_is_a_row_with_what_counted_before_it_was_corrected(campaign):
    person = campaign.people.order_by("pk").first()
    rung(person, attempt=2, outcome="completed", corrected_outcome="machine")
    Call.objects.create(direction="outbound", campaign=campaign, status="ringing", to_number="+14155550000")
    header, *rows = read(staff("view_campaign", "export_campaign").get(table(campaign, "calls", "csv")))
    first, second, going_on = (dict(zip(header, row, strict=True)) for row in rows)
    assert (first["Attempt"], first["Outcome"], first["Outcome before correction"]) == ("1", "completed", "")
    assert (first["Why it ended"], first["Talked (s)"]) == ("Agent ended the call", "42")
    assert (second["Attempt"], second["Outcome"], second["Outcome before correction"]) == ("2", "machine", "completed")
    assert (going_on["Status"], going_on["Outcome"], going_on["Name"]) == ("Ringing", "", "")


def test_each_call_has_its_cost_and_each_person_that_of_all_their_calls(campaign):
    person = campaign.people.order_by("pk").first()
    Call.objects.update(carrier_cost="0.0123")
    Price.objects.create(
        provider="plivo", model="US", unit="minute", usd="1234.5", valid_from=NOON.date(), source="a list"
    )
    second = rung(person, attempt=2, duration_s=61, outcome="busy")
    Usage.objects.create(call=second, stage="llm", provider="openai", model="gpt-x", output_tokens=5)
    Call.objects.create(direction="outbound", campaign=campaign, status="ringing", to_number="+14155550000")
    exporter = staff("view_campaign", "export_campaign")
    about = "no price for openai gpt-x by a million output tokens on 26 Nov 2026: add one; partly an estimate"
    for what, expected in (
        ("calls", [("0.012300", ""), ("2469.000000", about), ("", "")]),
        ("people", [("2469.012300", about), ("", "")]),
    ):
        header, *rows = read(exporter.get(table(campaign, what, "csv")))
        at = header.index("Cost (USD)")
        assert header[at + 1] == "About the cost"
        assert [tuple(row[at : at + 2]) for row in rows] == expected
    rung(campaign.people.order_by("pk").last(), outcome="busy", duration_s=0)
    header, *rows = read(exporter.get(table(campaign, "people", "csv")))
    assert rows[1][header.index("Cost (USD)")] == "0.000000", "a call that cost nothing is no unknown cost"


def test_the_page_tells_what_the_tables_hold_besides(campaign):
    exporter = staff("view_campaign", "export_campaign")
    shown = text_of(exporter.get(page(campaign, "results")).content.decode())
    assert "Both hold what it cost, and what the agent takes down: reason." in shown


@pytest.mark.parametrize("what", ["people", "calls"])
def test_a_workbook_holds_the_same_as_texts_and_nothing_that_calculates(campaign, what):
    exporter = staff("view_campaign", "export_campaign")
    response = exporter.get(table(campaign, what, "xlsx"))
    assert f"campaign-{campaign.pk}-{what}.xlsx" in response["Content-Disposition"]
    sheet = openpyxl.load_workbook(io.BytesIO(body(response))).worksheets[0]
    cells = [[cell.value or "" for cell in row] for row in sheet.rows]
    assert cells == read(exporter.get(table(campaign, what, "csv")))
    assert {cell.data_type for row in sheet.rows for cell in row if cell.value is not None} == {"s"}


def test_each_download_is_noted(campaign):
    exporter = staff("view_campaign", "export_campaign")
    body(exporter.get(table(campaign, "people", "csv")))
    body(exporter.get(table(campaign, "calls", "xlsx")))
    noted = LogEntry.objects.order_by("pk").values_list("change_message", flat=True)
    assert list(noted) == [
        "Downloaded the results of all people as CSV.", "Downloaded the results of all calls as XLSX.",
    ]  # fmt: skip


def test_more_rows_than_a_sheet_holds_are_refused_with_what_to_do(campaign, monkeypatch):
    monkeypatch.setattr(exports, "MOST_ROWS", 2)
    client = staff("view_campaign", "export_campaign")
    html = client.get(table(campaign, "people", "xlsx"), follow=True).content.decode()
    assert "download them as CSV" in html
    assert not LogEntry.objects.exists()


def test_there_is_no_other_table(admin_page, campaign):
    assert admin_page.get(table(campaign, "people", "pdf")).status_code == 404
    assert admin_page.get(table(campaign, "secrets", "csv")).status_code == 404


def test_tables_of_many_take_few_queries(make, django_assert_max_num_queries):  # noqa: F811
    campaign = make.campaign(make.people(40))
    for person in campaign.people.all():
        rung(person)
    for made in results.TABLES.values():
        with django_assert_max_num_queries(9):
            assert len(list(made(campaign, whole_numbers=True))) == 41


def test_a_group_is_copied_into_a_new_list_from_the_page(campaign):
    copier = staff("view_campaign", "add_contactlist", "view_contactlist")
    html = copier.get(page(campaign, "results")).content.decode()
    assert "last outcome: Completed (1)" in html
    sent = {"group": "outcome:completed", "name": "Again"}
    shown = text_of(copier.post(page(campaign, "copy"), sent, follow=True).content.decode())
    assert f"1 of 1 people were copied ({campaign}, last outcome: Completed)." in shown
    assert ContactList.objects.get(name="Again").contacts.get().name == "=Jane"
    assert LogEntry.objects.get().change_message.startswith("Copied from")
    again = copier.post(page(campaign, "copy"), sent)
    assert again.status_code == 422
    assert "There is a list called “Again” already" in again.content.decode()
    assert 'value="Again"' in again.content.decode()
    assert copier.post(page(campaign, "copy"), sent | {"group": "outcome:busy"}).status_code == 422


def test_copying_is_for_those_who_may_add_lists(campaign):
    viewer = staff("view_campaign")
    assert "Copy into a new list" not in viewer.get(page(campaign, "results")).content.decode()
    assert viewer.post(page(campaign, "copy"), {"group": "outcome:completed", "name": "A"}).status_code == 403
    assert staff("add_contactlist").post(page(campaign, "copy")).status_code == 403
    assert ContactList.objects.count() == 1


def test_people_are_chosen_from_the_list_and_copied(campaign):
    copier = staff("view_campaigncontact", "add_contactlist", "view_contactlist")
    address, people = reverse("admin:calls_campaigncontact_changelist"), campaign.people.all()
    chosen = {"action": "copy_into_list", "_selected_action": [str(people[0].pk)]}
    assert "1 person is copied" in copier.post(address, chosen).content.decode()
    shown = copier.post(address, chosen | {"name": "Chosen"}, follow=True).content.decode()
    assert "1 of 1 people were copied (chosen one by one)." in shown
    everybody = chosen | {"select_across": "1", "name": "Chosen"}
    refused = copier.post(address, everybody)
    assert (refused.status_code, "already: choose another name" in refused.content.decode()) == (422, True)
    copier.post(address, everybody | {"name": "All"})
    assert ContactList.objects.get(name="All").contacts.count() == 2
    viewer = staff("view_campaigncontact")
    assert "copy_into_list" not in viewer.get(address).content.decode()
    viewer.post(address, chosen | {"name": "No"})
    assert not ContactList.objects.filter(name="No").exists()


async def test_under_asgi_a_table_is_sent_as_it_is_read():
    read_so_far = []

    def rows():
        for at in range(20_000):
            read_so_far.append(at)
            yield ["Jane", "Doe"]

    response = download(AsyncRequestFactory().get("/"), rows(), name="people", kind="csv")
    parts = response.__aiter__()
    first = await anext(parts)
    assert len(read_so_far) < 10_000
    assert (first + b"".join([part async for part in parts])).count(b"Jane,Doe\r\n") == 20_000


async def test_under_asgi_a_workbook_is_whole():
    response = download(AsyncRequestFactory().get("/"), [["Jane", "Doe"]], name="people", kind="xlsx")
    data = b"".join([part async for part in response])
    assert [cell.value for cell in next(openpyxl.load_workbook(io.BytesIO(data)).worksheets[0].rows)] == ["Jane", "Doe"]
