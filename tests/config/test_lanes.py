"""So many requests at once: the others wait, and none of those that must not wait does."""

import asyncio

import pytest

from config.lanes import Lane, in_lanes


class Work:
    """An application whose requests last until they are let go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.enough = asyncio.Event()
        self.responds = asyncio.Event()
        self.taken = asyncio.Event()
        self.responds.set()
        self.taken.set()

    async def __call__(self, scope, receive, send) -> None:
        while (message := await receive()).get("more_body"):
            pass
        if message["type"] == "http.disconnect":
            return
        self.begun.append(scope["path"])
        if scope["path"] == "/broken/":
            raise ZeroDivisionError
        if "/slow/" in scope["path"]:
            await self.enough.wait()
        await send({"type": "http.response.start", "status": 200})
        await self.taken.wait()


@pytest.fixture
def work():
    return Work()


async def until_idle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def ask(
    application, path: str, *, body: asyncio.Event | None = None, hangs_up: asyncio.Event | None = None
) -> asyncio.Task:
    asked = False

    async def receive():
        nonlocal asked
        if asked:
            await (hangs_up or asyncio.Event()).wait()
            return {"type": "http.disconnect"}
        if body is not None:
            await body.wait()
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message):
        pass

    return asyncio.create_task(application({"type": "http", "path": path}, receive, send))


async def test_more_than_so_many_wait_and_none_is_lost(work):
    application = in_lanes(work, exempt=(), pages=2)
    asked = [ask(application, "/slow/") for _ in range(5)]
    await until_idle()
    assert len(work.begun) == 2
    work.enough.set()
    await asyncio.gather(*asked)
    assert len(work.begun) == 5


async def test_callers_do_not_wait_for_reports_nor_reports_for_pages_nor_health_for_anybody(work):
    application = in_lanes(work, exempt=["/healthz"], pages=1, reports=1, answers=1)
    slow = ask(application, "/slow/")
    await until_idle()
    work.taken.clear()
    report = ask(application, "/plivo/calls/1/slow/hangup/")
    await until_idle()
    work.taken.set()
    await ask(application, "/plivo/calls/2/answer/")
    await ask(application, "/healthz")
    assert work.begun == ["/slow/", "/plivo/calls/1/slow/hangup/", "/plivo/calls/2/answer/", "/healthz"]
    work.enough.set()
    await asyncio.gather(slow, report)


async def test_a_body_that_is_slow_to_come_keeps_nobody_waiting(work):
    application = in_lanes(work, exempt=(), pages=1)
    body = asyncio.Event()
    slow = ask(application, "/upload/", body=body)
    await until_idle()
    await ask(application, "/page/")
    assert work.begun == ["/page/"]
    body.set()
    await slow


async def test_a_response_that_is_slow_to_be_taken_keeps_nobody_waiting(work):
    application = in_lanes(work, exempt=(), pages=1)
    work.taken.clear()
    slow = ask(application, "/recording/")
    await until_idle()
    second = ask(application, "/page/")
    await until_idle()
    assert work.begun == ["/recording/", "/page/"]
    work.taken.set()
    await asyncio.gather(slow, second)


async def test_a_request_that_breaks_or_is_given_up_leaves_its_place(work):
    application = in_lanes(work, exempt=(), pages=1)
    with pytest.raises(ZeroDivisionError):
        await ask(application, "/broken/")
    gone = ask(application, "/slow/")
    await until_idle()
    waits = ask(application, "/slow/")
    await until_idle()
    for task in (waits, gone):
        task.cancel()
    await asyncio.gather(gone, waits, return_exceptions=True)
    await ask(application, "/page/")
    assert work.begun[-1] == "/page/"


async def test_whoever_hangs_up_while_they_wait_is_not_worked_on(work):
    application = in_lanes(work, exempt=(), pages=1)
    slow, hangs_up = ask(application, "/slow/"), asyncio.Event()
    await until_idle()
    impatient = ask(application, "/impatient/", hangs_up=hangs_up)
    patient = ask(application, "/patient/")
    await until_idle()
    hangs_up.set()
    await impatient
    work.enough.set()
    await asyncio.gather(slow, patient)
    assert work.begun == ["/slow/", "/patient/"]
    await asyncio.gather(*(ask(application, "/page/") for _ in range(3)))
    assert len(work.begun) == 5, "no place was lost"


async def test_a_place_that_is_given_to_somebody_who_is_given_up_at_that_moment_is_not_lost():
    lane = Lane(1)
    never = asyncio.Event()
    assert await lane.enter(never.wait)
    waits = asyncio.create_task(lane.enter(never.wait))
    await until_idle()
    lane.leave()
    waits.cancel()
    await asyncio.gather(waits, return_exceptions=True)
    assert await asyncio.wait_for(lane.enter(never.wait), 1)


async def test_who_came_last_is_first(work):
    application = in_lanes(work, exempt=(), pages=1)
    asked = []
    for path in ("/slow/", "/second/", "/third/", "/fourth/"):
        asked.append(ask(application, path))
        await until_idle()
    work.enough.set()
    await asyncio.gather(*asked)
    assert work.begun == ["/slow/", "/fourth/", "/third/", "/second/"]
