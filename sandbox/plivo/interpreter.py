"""Runs Plivo XML on a call: fetches documents, walks their elements, follows transfers, and says why the call ended.

One per conversation, started by the engine. The elements themselves are in sandbox.plivo.verbs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.plivo.call import Call, EndCallError, HangupCause, cause
from sandbox.plivo.callback_url import is_http_url
from sandbox.plivo.exchange import Exchange
from sandbox.plivo.verbs import VERBS
from sandbox.plivo.xml import Element, XmlError, parse_document

# Where a document came from -> the codes for: not reached, invalid URL, invalid XML.
_CODES = {
    "answer": (7011, 7011, 8011),
    "action": (7012, 7022, 8012),
    "transfer": (7013, 7013, 8013),
    "redirect": (7014, 7024, 8014),
}
_NOT_ANSWERING = ("PreAnswer", "Hangup", "Wait", "Redirect")
MAX_DOCUMENTS = 200  # a call that fetches more is going round in circles


class Interpreter:
    """The XML of one call. `answer` is called when an element needs the call to be answered."""

    def __init__(self, exchange: Exchange, call: Call, answer: Callable[[], None]) -> None:
        """Nothing is fetched before run()."""
        self.exchange, self.call = exchange, call
        self._answer = answer
        self._documents = 0

    async def run(self) -> HangupCause:
        """Fetch the answer document and follow it to its end; why the call is to be hung up."""
        try:
            elements: tuple[Element, ...] | None = await self._first_document()
            while elements is not None:
                elements = await self._walk(elements)
        except EndCallError as end:
            return end.why
        if any(stream.status != "stopped" for stream in self.call.streams):
            await self.exchange.pause(self.exchange.settings.after_xml_s)
        return cause(4010, "Plivo")

    async def _first_document(self) -> tuple[Element, ...]:
        urls, call = self.call.urls, self.call
        extra = {"Event": "StartApp"}
        try:
            return await self.fetch(urls.answer, urls.answer_method, "answer", extra)
        except EndCallError as error:
            if not urls.fallback or error.why.code != 7011:
                raise
            call.note("fallback")
            return await self.fetch(urls.fallback, urls.fallback_method, "answer", extra)

    async def fetch(self, url: str, method: str, origin: str, extra: Mapping[str, Any]) -> tuple[Element, ...]:
        """Ask a URL for XML. Raises EndCallError with the code for its origin."""
        unreached, invalid_url, invalid_xml = _CODES[origin]
        call = self.call
        self._documents += 1
        if self._documents > MAX_DOCUMENTS:
            call.violation("too_many_documents", url)
            raise EndCallError(cause(invalid_xml, "Error"))
        if not is_http_url(url):
            call.violation("invalid_url", url)
            raise EndCallError(cause(invalid_url, "Error"))
        params = call.base_params() | dict(extra)
        sending = self.exchange.spawn(
            self.exchange.send(
                call,
                url,
                method,
                params,
                event=str(extra.get("Event", "Redirect")),
                read_ms=self.exchange.settings.answer_read_ms,
            )
        )
        if origin == "answer":
            call.answer_asked.set()
        # Shielded: a call that ends while Plivo waits for the reply does not take the request back.
        reply = await asyncio.shield(sending)
        if not reply.ok:
            call.note("document_unreachable", status=reply.status, error=reply.error)
            raise EndCallError(cause(unreached, "Error"))
        try:
            document = parse_document(reply.body, reply.content_type)
        except XmlError as error:
            call.violation("invalid_xml", str(error))
            raise EndCallError(cause(invalid_xml, "Error")) from error
        for warning in document.warnings:
            call.violation("ignored_attribute", warning)
        call.note("document", origin=origin, elements=[element.verb for element in document.elements])
        return document.elements

    async def _walk(self, elements: tuple[Element, ...]) -> tuple[Element, ...] | None:
        """Run elements in order; the next document's, or None when there is nothing left."""
        for element in elements:
            if element.verb not in _NOT_ANSWERING:
                self._answer()
            self.call.note("element", verb=element.verb)
            following = await self._one(element)
            if self.call.ended.is_set():
                return None
            if self.call.transfer is not None:
                url, method = self.call.transfer
                self.call.transfer = None
                self.call.transfer_asked.clear()
                return await self.fetch(url, method, "transfer", {"Event": "Redirect"})
            if following is not None:
                return following
        return None

    async def _one(self, element: Element) -> tuple[Element, ...] | None:
        """One element; a transfer interrupts it, unless it is a stream that keeps the call alive."""
        work = asyncio.create_task(VERBS[element.verb](self, element))
        if element.verb == "Stream" and element.attributes["keepCallAlive"]:
            return await _owned(work)
        asked = asyncio.create_task(self.call.transfer_asked.wait())
        try:
            await asyncio.wait({work, asked}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            if self.call.media is not None:
                self.call.media.stop_prompts()
            return None
        finally:
            for task in (work, asked):
                task.cancel()
            await asyncio.gather(work, asked, return_exceptions=True)

    async def act(self, element: Element, params: Mapping[str, Any]) -> tuple[Element, ...] | None:
        """Tell an element's action URL, and follow its XML unless redirect is false."""
        attributes = element.attributes
        if not attributes["action"]:
            return None
        if attributes["redirect"]:
            return await self.fetch(attributes["action"], attributes["method"], "action", params)
        body = self.call.base_params() | dict(params)
        self.exchange.spawn(
            self.exchange.send(self.call, attributes["action"], attributes["method"], body, event="action")
        )
        return None


async def _owned(work: asyncio.Task[tuple[Element, ...] | None]) -> tuple[Element, ...] | None:
    """Wait for a task that must not outlive the waiter."""
    try:
        return await work
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
