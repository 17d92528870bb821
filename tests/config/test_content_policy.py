"""Which scripts a browser may run: nothing inline anywhere, evaluation in the admin alone."""

import pytest
from django.conf import settings
from django.test import Client

pytestmark = [pytest.mark.db, pytest.mark.django_db]


def policy(client: Client, address: str) -> dict[str, list[str]]:
    header = client.get(address)["Content-Security-Policy"]
    return {name: words for name, *words in (directive.split() for directive in header.split("; "))}


@pytest.mark.parametrize(
    "address", ["/", "/favicon.ico", "/plivo/nothing/", "/recordings/nothing/", "/administration/"]
)
def test_no_page_outside_the_admin_may_evaluate_text(address):
    assert policy(Client(), address)["script-src"] == ["'self'"]


def test_the_pages_of_the_admin_may_evaluate_expressions_and_still_run_nothing_inline(admin_page):
    for client, address in ((Client(), "/admin/login/"), (admin_page, "/admin/"), (admin_page, "/admin/agents/agent/")):
        assert policy(client, address)["script-src"] == ["'self'", "'unsafe-eval'"]


def test_apart_from_that_one_word_the_admin_has_the_policy_of_all_pages(admin_page):
    elsewhere = policy(Client(), "/")
    assert elsewhere["object-src"] == elsewhere["frame-ancestors"] == ["'none'"]
    assert elsewhere["connect-src"] == ["'self'", settings.STREAM_URL]
    assert policy(admin_page, "/admin/") == elsewhere | {"script-src": ["'self'", "'unsafe-eval'"]}
