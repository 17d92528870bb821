"""What each element of Plivo XML does on a call.

Every function takes the interpreter and the checked element, and returns the elements of the next document, or None to
go on with the next element. They end when they are cancelled: by a hang-up or a transfer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from sandbox.plivo.call import Call, EndCallError, cause
from sandbox.plivo.dial import dial_out
from sandbox.plivo.media import CallMedia
from sandbox.plivo.media_format import FORMATS
from sandbox.plivo.prompts import played, spoken
from sandbox.plivo.recordings import Recording, announce
from sandbox.plivo.stream_client import StreamClient
from sandbox.plivo.stream_protocol import StreamSpec
from sandbox.plivo.xml import Element

if TYPE_CHECKING:
    from sandbox.plivo.exchange import Exchange
    from sandbox.plivo.interpreter import Interpreter

Next = tuple[Element, ...] | None
_MAX_LOOPS = 1000


def media_of(call: Call) -> CallMedia:
    """The media of an answered call."""
    assert call.media is not None  # noqa: S101 (the interpreter has answered before)
    return call.media


async def prompt(interpreter: Interpreter, element: Element) -> Next:
    """`<Speak>` and `<Play>`: heard by the caller in real time."""
    call, exchange = interpreter.call, interpreter.exchange
    if element.verb == "Speak":
        samples = await spoken(exchange, element.text)
    else:
        fetched = await played(exchange, element.text)
        if fetched is None:
            call.violation("play_failed", element.text)
            return None
        samples = fetched
    loops = element.attributes["loop"] or _MAX_LOOPS
    for _ in range(loops):
        if call.media is None:  # before the answer: early media, which nobody records
            await asyncio.sleep(samples.size / 8000 * exchange.settings.time_scale)
        else:
            await asyncio.sleep(call.media.speak(samples))
    return None


async def wait(interpreter: Interpreter, element: Element) -> Next:
    """`<Wait>`: scaled; with silence, until the far party has been quiet for minSilence."""
    call = interpreter.call
    length = element.attributes["length"]
    if element.attributes["silence"] and call.media is not None:
        media, start = call.media, call.media.now_ms()
        while media.now_ms() - start < length * 1000:
            quiet_since = max(start, media.last_said_ms)
            if media.now_ms() - quiet_since >= element.attributes["minSilence"]:
                break
            await asyncio.sleep(0.02)
        return None
    await interpreter.exchange.pause(length)
    return None


async def dtmf(interpreter: Interpreter, element: Element) -> Next:
    """`<DTMF>`: the far party is sent digits."""
    interpreter.call.digits_from_agent.append({"digits": element.text, "by": "xml"})
    return None


async def hangup(interpreter: Interpreter, element: Element) -> Next:
    """`<Hangup>`: now, or in `schedule` seconds while what follows runs. A reason counts only before the answer."""
    call = interpreter.call
    reason = {"busy": 3010, "rejected": 3020}.get(element.attributes["reason"], 4000)
    why = cause(reason if call.answered_at is None else 4000, "Answer XML")
    if element.attributes["schedule"]:

        async def later() -> None:
            await interpreter.exchange.pause(element.attributes["schedule"])
            call.hang_up(cause(6000, "Answer XML"))

        interpreter.exchange.spawn(later())
        return None
    raise EndCallError(why)


async def redirect(interpreter: Interpreter, element: Element) -> Next:
    """`<Redirect>`: another document; what follows is dead."""
    return await interpreter.fetch(element.text, element.attributes["method"], "redirect", {"Event": "Redirect"})


async def pre_answer(interpreter: Interpreter, element: Element) -> Next:
    """`<PreAnswer>`: its children, before the call is answered."""
    for child in element.children:
        following = await VERBS[child.verb](interpreter, child)
        if following is not None:
            return following
    return None


async def get_digits(interpreter: Interpreter, element: Element) -> Next:
    """`<GetDigits>`: prompts that a key interrupts, then the keys; without any, the next element."""
    attributes = element.attributes
    for _ in range(attributes["retries"]):
        digits = await _collect(
            interpreter,
            element,
            first_s=attributes["timeout"],
            next_s=attributes["digitTimeout"],
        )
        if digits:
            if set(digits) <= set(attributes["validDigits"]):
                return await interpreter.act(element, {"Event": "Redirect", "Digits": digits})
            interpreter.call.note("invalid_digits", digits=digits)
    return None


async def get_input(interpreter: Interpreter, element: Element) -> Next:
    """`<GetInput>`: keys or words; the words are those of the caller's lines."""
    attributes = element.attributes
    media = media_of(interpreter.call)
    start = media.now_ms()
    kinds = attributes["inputType"].split()
    digits = ""
    patience, pause = attributes["executionTimeout"], attributes["digitEndTimeout"] or 2
    if "dtmf" in kinds:
        keys = asyncio.create_task(_collect(interpreter, element, first_s=patience, next_s=pause))
    else:
        keys = asyncio.create_task(_only_prompts(interpreter, element))
    words = asyncio.create_task(_hear_words(interpreter, start, attributes)) if "speech" in kinds else None
    try:
        waiting = {task for task in (keys, words) if task is not None}
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if keys in done:
                digits = keys.result()
            speech = words.result() if words is not None and words.done() else ""
            if digits or speech:
                break
        else:
            return None
    finally:
        for task in (keys, words):
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in (keys, words) if task is not None), return_exceptions=True)
    params = {"Event": "Redirect", "InputType": "dtmf" if digits else "speech", "Digits": digits, "Speech": speech}
    if speech and not digits:
        params["SpeechConfidenceScore"] = "0.9"
    return await interpreter.act(element, params | {"BilledAmount": "0.02000"})


async def _only_prompts(interpreter: Interpreter, element: Element) -> str:
    for child in element.children:
        await VERBS[child.verb](interpreter, child)
    return ""


async def _hear_words(interpreter: Interpreter, start_ms: float, attributes: Any) -> str:
    call = interpreter.call
    media, caller = media_of(call), call.caller
    pause_ms = (attributes["speechEndTimeout"] or 1) * 1000
    while media.now_ms() - start_ms < attributes["executionTimeout"] * 1000:
        await asyncio.sleep(0.05)
        text = caller.spoken_between(start_ms, media.now_ms()) if caller else ""
        if text and media.now_ms() - media.last_said_ms >= pause_ms:
            return text
    return ""


async def _collect(interpreter: Interpreter, element: Element, *, first_s: float, next_s: float) -> str:
    """Keys while and after the prompts are played, until a key, a count or a pause ends them."""
    call, attributes = interpreter.call, element.attributes
    finish = attributes["finishOnKey"]
    while not call.digits.empty():
        call.digits.get_nowait()
    prompts = asyncio.create_task(_only_prompts(interpreter, element))
    digits = ""
    try:
        key = asyncio.create_task(call.digits.get())
        await asyncio.wait({prompts, key}, return_when=asyncio.FIRST_COMPLETED)
        if key.done():
            prompts.cancel()
            media_of(call).stop_prompts()
        while True:
            try:
                pressed = await asyncio.wait_for(key, timeout=next_s if digits else first_s)
            except TimeoutError:
                return digits
            if pressed == finish or (finish == "any" and pressed not in attributes.get("validDigits", "0123456789*#")):
                return digits
            digits += pressed
            if len(digits) >= attributes["numDigits"]:
                return digits
            key = asyncio.create_task(call.digits.get())
    finally:
        for task in (prompts, key):
            task.cancel()
        await asyncio.gather(prompts, key, return_exceptions=True)


def begin_recording(
    exchange: Exchange,
    call: Call,
    *,
    max_s: float,
    stereo: bool,
    file_format: str,
    rest: bool,
    callback_url: str,
    callback_method: str,
) -> Recording:
    """A recording of an answered call, from now on."""
    if file_format == "mp3":
        call.note("recorded_as_wav", asked="mp3")
    recording = Recording(
        recording_id=exchange.new_id(),
        call=call,
        auth_id=call.auth_id,
        start_ms=media_of(call).now_ms(),
        max_s=max_s,
        stereo=stereo,
        rest=rest,
        callback_url=callback_url,
        callback_method=callback_method,
    )
    exchange.recordings[recording.recording_id] = recording
    return recording


async def record(interpreter: Interpreter, element: Element) -> Next:
    """`<Record>`: the whole session in the background, or now until silence, a key or the longest length."""
    attributes, call, exchange = element.attributes, interpreter.call, interpreter.exchange
    media = media_of(call)
    recording = begin_recording(
        exchange,
        call,
        max_s=attributes["maxLength"],
        stereo=attributes["recordChannelType"] == "stereo",
        file_format=attributes["fileFormat"],
        rest=False,
        callback_url=attributes["callbackUrl"],
        callback_method=attributes["callbackMethod"],
    )
    event = {"Event": "Record"}
    if attributes["recordSession"]:
        params = recording.callback_params(exchange.base_url, exchange.new_id())
        return await interpreter.act(element, params | event)
    digit = ""
    while not call.digits.empty():
        call.digits.get_nowait()
    while media.now_ms() - recording.start_ms < attributes["maxLength"] * 1000:
        if media.now_ms() - max(recording.start_ms, media.last_said_ms) >= attributes["timeout"] * 1000:
            break
        if not call.digits.empty():
            digit = call.digits.get_nowait()
            if digit in attributes["finishOnKey"] or attributes["finishOnKey"] == "any":
                break
        await asyncio.sleep(0.02)
    recording.finish(media.now_ms())
    exchange.spawn(announce(exchange, recording))
    params = recording.callback_params(exchange.base_url, exchange.new_id()) | {"Digits": digit}
    return await interpreter.act(element, params | event)


async def stream(interpreter: Interpreter, element: Element) -> Next:
    """`<Stream>`: with keepCallAlive until it ends, otherwise in the background."""
    attributes, call, exchange = element.attributes, interpreter.call, interpreter.exchange
    if any(known.status != "stopped" for known in call.streams):
        call.violation("second_stream", element.text)
        return None
    tracks = ("inbound", "outbound") if attributes["audioTrack"] == "both" else (attributes["audioTrack"],)
    spec = StreamSpec(
        url=element.text,
        bidirectional=attributes["bidirectional"],
        media_format=FORMATS[attributes["contentType"]],
        tracks=tracks,
        timeout_s=attributes["streamTimeout"],
        extra_headers=attributes["extraHeaders"],
        status_url=attributes["statusCallbackUrl"],
        status_method=attributes["statusCallbackMethod"],
        keep_alive=attributes["keepCallAlive"],
    )
    client = StreamClient(exchange, call, spec, exchange.new_id())
    call.streams.append(client)
    if spec.keep_alive:
        await client.run()
    else:
        exchange.spawn(client.run())
    return None


async def dial(interpreter: Interpreter, element: Element) -> Next:
    """`<Dial>`: the sandbox's own dialling, in sandbox.plivo.dial."""
    return await interpreter.act(element, await dial_out(interpreter, element))


VERBS: dict[str, Callable[[Interpreter, Element], Coroutine[Any, Any, Next]]] = {
    "Speak": prompt,
    "Play": prompt,
    "Wait": wait,
    "DTMF": dtmf,
    "Hangup": hangup,
    "Redirect": redirect,
    "PreAnswer": pre_answer,
    "GetDigits": get_digits,
    "GetInput": get_input,
    "Record": record,
    "Stream": stream,
    "Dial": dial,
}
