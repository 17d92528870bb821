"""A request's middleware and its view run in one thread, one after the other."""

import threading

import pytest
from django.conf import settings as django_settings
from django.http import HttpResponse
from django.test import AsyncClient
from django.urls import path

pytestmark = [pytest.mark.db, pytest.mark.django_db]

THREADS: list[int] = []


def outermost(get_response):
    def middleware(request):
        THREADS.append(threading.get_ident())
        return get_response(request)

    return middleware


def view(_request):
    THREADS.append(threading.get_ident())
    return HttpResponse("here")


urlpatterns = [path("here/", view)]


async def test_no_middleware_is_a_coroutine(settings, monkeypatch):
    """Asked of each that could be one: Django calls ``__acall__`` of those."""
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = ["tests.config.test_one_thread.outermost", *django_settings.MIDDLEWARE]

    def coroutine(self, _request):
        raise AssertionError(f"{type(self).__name__} runs as a coroutine")

    monkeypatch.setattr("django.utils.deprecation.MiddlewareMixin.__acall__", coroutine)
    THREADS.clear()
    response = await AsyncClient().get("/here/")
    assert response.content == b"here"
    assert len(set(THREADS)) == 1
