"""A body that is larger than any we take is not taken to its end."""

import pytest

from config import body_limit
from config.asgi import application_for
from config.body_limit import limited

pytestmark = [pytest.mark.db, pytest.mark.django_db]

CHUNK = 1024 * 1024


async def answer_to(application, path, *, chunks):
    """The status that a POST of so many chunks of 1 MB gets, and how many of them were taken."""
    sent, taken = [], 0

    async def receive():
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": b"x" * CHUNK, "more_body": taken < chunks}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"transfer-encoding", b"chunked")],
    }
    await application(scope, receive, send)
    return sent[0]["status"], taken


@pytest.mark.parametrize(
    ("role", "path"), [("web", "/plivo/answer/"), ("web", "/admin/login/"), ("stream", "/healthz")]
)
async def test_a_body_without_end_is_cut_off(role, path):
    status, taken = await answer_to(application_for(role), path, chunks=10_000)
    assert status == 413
    assert taken == body_limit.MAX_BODY // CHUNK + 1


async def test_a_body_as_large_as_we_take_reaches_the_application():
    seen = []

    async def application(_scope, receive, send):
        more = True
        while more:
            message = await receive()
            seen.append(message["body"])
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})

    assert await answer_to(limited(application, 3 * CHUNK), "/", chunks=3) == (200, 3)
    assert len(b"".join(seen)) == 3 * CHUNK
