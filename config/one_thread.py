"""Keeps a request's middleware in the one thread of its view. Last in ``MIDDLEWARE``, since it decides for all of them.

Django's own can be run as coroutines, and then hand their work to a thread and back twice each: twenty times for a view
that is a plain function, as all of ours are.
"""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase


def one_thread(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    """No middleware of its own: one that is no coroutine, so that those around it need not be any either."""
    return get_response
