"""What a person sees when there is no page: a sentence that says what to do, in the house's clothes."""

import pytest
from django.conf import settings
from django.test import Client, RequestFactory
from django.urls import reverse
from django.views.defaults import bad_request, server_error

from tests import factories

pytestmark = [pytest.mark.db, pytest.mark.django_db]

WAY_OUT = '<a href="/admin/">To the start page</a>'


def as_member(path: str, *permissions: str, **options: bool):
    client = Client(**options)
    client.force_login(factories.UserFactory(permissions=list(permissions)))
    return client.post(path) if options else client.get(path)


@pytest.mark.parametrize("path", ["/nowhere/", "/admin/nowhere/"])
def test_an_address_without_a_page_leads_back_to_the_start(path):
    response = as_member(path)
    assert response.status_code == 404
    assert WAY_OUT in response.content.decode()


def test_who_may_not_do_something_is_told_which_permission_to_ask_for_where_that_is_known():
    agent = factories.AgentFactory()
    talk = as_member(reverse("talk_to_agent", args=[agent.pk]))
    assert talk.status_code == 403
    assert "ask for the permission &#x27;Can talk to an agent&#x27;" in talk.content.decode()
    log = as_member(reverse("admin:calls_call_changelist"))
    assert log.status_code == 403
    assert "Your account lacks the permission" in log.content.decode()


def test_a_form_that_was_open_for_too_long_says_that_nothing_was_changed():
    response = as_member(reverse("admin:logout"), enforce_csrf_checks=True)
    assert response.status_code == 403
    assert "Nothing was changed" in response.content.decode()


@pytest.mark.parametrize(("view", "status"), [(server_error, 500), (lambda request: bad_request(request, None), 400)])
def test_a_fault_needs_no_database_to_be_explained(view, status, django_assert_num_queries):
    with django_assert_num_queries(0):
        response = view(RequestFactory().get("/"))
    assert response.status_code == status
    assert WAY_OUT in response.content.decode()


def test_who_is_locked_out_is_told_for_how_long_and_who_can_help():
    client = Client()
    for _ in range(settings.AXES_FAILURE_LIMIT):
        response = client.post(reverse("admin:login"), {"username": "guess", "password": "wrong"})
    assert response.status_code == 429
    assert "locked out for 15 minutes" in response.content.decode()
    assert "Failed log-ins" in response.content.decode()
