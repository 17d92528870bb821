"""The addresses of the API, for ``config.urls``: what is not there, and the wrong method, are answered in JSON too."""

import functools
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import re_path

from calls.api import errors
from calls.api.endpoints import api

View = Callable[..., HttpResponse]


def _in_json(view: View) -> View:
    @functools.wraps(view)
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = view(request, *args, **kwargs)
        if isinstance(response, HttpResponseNotAllowed):
            allowed = response["Allow"]
            response = errors.answer(405, "method_not_allowed", f"This address takes {allowed or 'GET'} only.")
            response["Allow"] = allowed
        return response

    return answered


def _patterns() -> tuple[list[Any], str, str]:
    patterns, app_name, namespace = api.urls
    for pattern in patterns:
        view: Any = pattern.callback
        pattern.callback = _in_json(view)
    return [*patterns, re_path("", errors.not_found)], app_name, namespace


urls = _patterns()
