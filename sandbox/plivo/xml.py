"""Plivo XML: parses a reply and checks every element, nesting, attribute and limit before anything of it runs.

Used by the interpreter. What Plivo would answer with "invalid XML" (8011 and its kin) raises XmlError; what it ignores
without a word, an unknown attribute, comes back as a warning. Defaults and ranges are those of Plivo's XML reference.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from sandbox.plivo import xml_values as kinds
from sandbox.plivo.media_format import DEFAULT_CONTENT_TYPE, FORMATS

MAX_XML = 100 * 1024
XML_TYPES = ("application/xml", "text/xml")
_DTMF = r"[0-9*#wWA-D]+"
_NOT_SIMULATED = ("Conference", "MultiPartyCall", "Message")


class XmlError(ValueError):
    """Plivo would hang up on this document."""


@dataclasses.dataclass(frozen=True)
class Element:
    """A checked element: attribute values by their XML names, defaults filled in."""

    verb: str
    attributes: Mapping[str, Any]
    text: str
    children: tuple[Element, ...]


@dataclasses.dataclass(frozen=True)
class Document:
    """What `<Response>` holds, and what would be ignored in it."""

    elements: tuple[Element, ...]
    warnings: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Verb:
    attributes: Mapping[str, tuple[kinds.Check, Any]]
    children: tuple[str, ...] = ()
    text: kinds.Check | None = None
    required: tuple[str, ...] = ()


_ACTION = {"action": (kinds.http_url, ""), "method": (kinds.method, "POST"), "redirect": (kinds.boolean, True)}
_VERBS: dict[str, _Verb] = {
    "Speak": _Verb(
        {
            "voice": (kinds.matching(r"WOMAN|MAN|Polly\.\w+", "WOMAN, MAN or Polly.<Name>"), "WOMAN"),
            "language": (kinds.matching(r"[a-z]{2,3}(-[A-Z]{2,3})?|arb", "a language such as en-US"), "en-US"),
            "loop": (kinds.integer(0, 1000), 1),
        },
        text=kinds.short(3000),
        children=(),
    ),
    "Play": _Verb({"loop": (kinds.integer(0, 1000), 1)}, text=kinds.http_url),
    "Wait": _Verb(
        {
            "length": (kinds.integer(1, 14400), 1),
            "silence": (kinds.boolean, False),
            "minSilence": (kinds.integer(1, 60000), 2000),
            "beep": (kinds.boolean, False),
        }
    ),
    "Record": _Verb(
        {
            **_ACTION,
            "fileFormat": (kinds.choice("mp3", "wav"), "mp3"),
            "timeout": (kinds.integer(1, 600), 15),
            "maxLength": (kinds.integer(1, 86400), 60),
            "finishOnKey": (kinds.matching(r"any|none|[0-9*#,]*", "keys, any or none"), "#"),
            "playBeep": (kinds.boolean, True),
            "recordSession": (kinds.boolean, False),
            "startOnDialAnswer": (kinds.boolean, False),
            "recordChannelType": (kinds.choice("stereo", "mono"), "stereo"),
            "transcriptionType": (kinds.choice("auto", "hybrid"), "auto"),
            "transcriptionUrl": (kinds.http_url, ""),
            "transcriptionMethod": (kinds.method, "POST"),
            "transcriptionReportType": (kinds.anything, ""),
            "callbackUrl": (kinds.http_url, ""),
            "callbackMethod": (kinds.method, "POST"),
        }
    ),
    "GetDigits": _Verb(
        {
            **_ACTION,
            "numDigits": (kinds.integer(1, 99), 99),
            "timeout": (kinds.integer(1, 600), 5),
            "digitTimeout": (kinds.integer(1, 600), 2),
            "finishOnKey": (kinds.matching(r"any|none|[0-9*#]?", "a key, any or none"), "#"),
            "retries": (kinds.integer(1, 99), 1),
            "playBeep": (kinds.boolean, False),
            "validDigits": (kinds.matching(r"[0-9*#]+", "digits"), "1234567890*#"),
            "invalidDigitsSound": (kinds.http_url, ""),
            "log": (kinds.boolean, True),
        },
        children=("Speak", "Play", "Wait"),
    ),
    "GetInput": _Verb(
        {
            **_ACTION,
            "inputType": (kinds.choice("dtmf", "speech", "dtmf speech", "speech dtmf"), "dtmf"),
            "executionTimeout": (kinds.integer(5, 60), 15),
            "digitEndTimeout": (kinds.auto_or(2, 10), 0),
            "speechEndTimeout": (kinds.auto_or(2, 10), 0),
            "finishOnKey": (kinds.matching(r"any|none|[0-9*#]?", "a key, any or none"), "#"),
            "numDigits": (kinds.integer(1, 32), 32),
            "language": (kinds.anything, "en-US"),
            "speechModel": (kinds.anything, "default"),
            "hints": (kinds.short(10000), ""),
            "profanityFilter": (kinds.boolean, False),
            "interimSpeechResultsCallback": (kinds.http_url, ""),
            "interimSpeechResultsCallbackMethod": (kinds.method, "POST"),
            "log": (kinds.boolean, True),
            "retries": (kinds.integer(1, 99), 1),
        },
        children=("Speak", "Play"),
        required=("action",),
    ),
    "Dial": _Verb(
        {
            **_ACTION,
            "timeout": (kinds.integer(1, 600), 30),
            "timeLimit": (kinds.integer(1, 86400), 14400),
            "callerId": (kinds.anything, ""),
            "callerName": (kinds.short(50), ""),
            "hangupOnStar": (kinds.boolean, False),
            "callbackUrl": (kinds.http_url, ""),
            "callbackMethod": (kinds.method, "POST"),
            "confirmSound": (kinds.http_url, ""),
            "confirmKey": (kinds.matching(r"[0-9*#]?", "a key"), ""),
            "confirmTimeout": (kinds.integer(1, 600), 30),
            "dialMusic": (kinds.anything, ""),
            "digitsMatch": (kinds.anything, ""),
            "digitsMatchBLeg": (kinds.anything, ""),
            "sipHeaders": (kinds.anything, ""),
            "callType": (kinds.anything, ""),
        },
        children=("Number", "User"),
    ),
    "Number": _Verb(
        {
            "sendDigits": (kinds.matching(_DTMF, "digits"), ""),
            "sendDigitsMode": (kinds.anything, ""),
            "sendOnPreanswer": (kinds.boolean, False),
        },
        text=kinds.matching(r"\+?\d{3,15}", "a phone number"),
    ),
    "User": _Verb(
        {
            "sipHeaders": (kinds.anything, ""),
            "sipAuthUsername": (kinds.anything, ""),
            "sipAuthPassword": (kinds.anything, ""),
            "sendDigits": (kinds.matching(_DTMF, "digits"), ""),
            "sendOnPreanswer": (kinds.boolean, False),
        },
        text=kinds.matching(r"sip:\S+@\S+", "a sip: address"),
    ),
    "Redirect": _Verb({"method": (kinds.method, "POST")}, text=kinds.http_url),
    "Hangup": _Verb({"reason": (kinds.choice("rejected", "busy"), ""), "schedule": (kinds.integer(1, 86400), 0)}),
    "DTMF": _Verb({"async": (kinds.boolean, True)}, text=kinds.matching(r"[0-9*#wW]+", "digits")),
    "PreAnswer": _Verb({}, children=("Speak", "Play", "Wait", "GetDigits", "Redirect", "DTMF")),
    "Stream": _Verb(
        {
            "bidirectional": (kinds.boolean, False),
            "keepCallAlive": (kinds.boolean, False),
            "contentType": (kinds.choice(*FORMATS), DEFAULT_CONTENT_TYPE),
            "audioTrack": (kinds.choice("inbound", "outbound", "both"), "inbound"),
            "streamTimeout": (kinds.integer(1, 86400), 86400),
            "statusCallbackUrl": (kinds.http_url, ""),
            "statusCallbackMethod": (kinds.method, "POST"),
            "extraHeaders": (kinds.extra_headers, ""),
            "noiseCancellation": (kinds.boolean, False),
            "noiseCancellationLevel": (kinds.integer(60, 100), 85),
        },
        text=kinds.ws_url,
    ),
}
TOP_LEVEL = tuple(verb for verb in _VERBS if verb not in ("Number", "User"))


def parse_document(body: bytes, content_type: str) -> Document:
    """Parse and check a reply. Raises XmlError with the first thing that is wrong."""
    if content_type not in XML_TYPES:
        message = f"Content-Type is {content_type or 'missing'}, not application/xml or text/xml"
        raise XmlError(message)
    if len(body) >= MAX_XML:
        message = f"{len(body)} bytes; less than {MAX_XML} are allowed"
        raise XmlError(message)
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        message = "a document type declaration is not allowed"
        raise XmlError(message)
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 (declarations are refused above)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        message = f"not well-formed: {error}"
        raise XmlError(message) from error
    if root.tag != "Response":
        message = f"the root is <{root.tag}>, not <Response>"
        raise XmlError(message)
    warnings: list[str] = []
    elements = tuple(_element(node, TOP_LEVEL, warnings) for node in root)
    return Document(elements=elements, warnings=tuple(warnings))


def _element(node: ElementTree.Element, allowed: tuple[str, ...], warnings: list[str]) -> Element:
    verb = str(node.tag)
    if verb in _NOT_SIMULATED:
        message = f"<{verb}> exists at Plivo, but not in this sandbox"
        raise XmlError(message)
    if verb not in _VERBS or verb not in allowed:
        message = f"<{verb}> is not allowed here" if verb in _VERBS else f"<{verb}> is no Plivo element"
        raise XmlError(message)
    rules = _VERBS[verb]
    attributes = {name: default for name, (_, default) in rules.attributes.items()}
    for name, raw in node.attrib.items():
        if name not in rules.attributes:
            warnings.append(f"<{verb}> has no attribute {name}")
            continue
        attributes[name] = _value(rules.attributes[name][0], raw, f"<{verb} {name}={raw!r}>")
    for name in rules.required:
        if not attributes[name]:
            message = f"<{verb}> needs {name}"
            raise XmlError(message)
    text = " ".join(" ".join(node.itertext()).split()) if verb == "Speak" else (node.text or "").strip()
    if rules.text is not None:
        if not text:
            message = f"<{verb}> is empty"
            raise XmlError(message)
        _value(rules.text, text, f"the text of <{verb}>")
    nodes = () if verb == "Speak" else tuple(node)  # SSML inside Speak is text here
    children = tuple(_element(child, rules.children, warnings) for child in nodes)
    _check_together(verb, attributes, children)
    return Element(verb=verb, attributes=attributes, text=text, children=children)


def _value(check: kinds.Check, raw: str, where: str) -> Any:
    try:
        return check(raw)
    except ValueError as error:
        message = f"{where}: {error}"
        raise XmlError(message) from error


def _check_together(verb: str, attributes: Mapping[str, Any], children: tuple[Element, ...]) -> None:
    if verb == "Stream" and attributes["bidirectional"] and attributes["audioTrack"] != "inbound":
        message = f"<Stream bidirectional> cannot have audioTrack {attributes['audioTrack']}"
        raise XmlError(message)
    if verb == "Speak" and attributes["voice"] in ("WOMAN", "MAN") and attributes["language"] in ("hi-IN", "en-IN"):
        message = f"<Speak> has no voice {attributes['voice']} for {attributes['language']}"
        raise XmlError(message)
    if verb == "Dial" and not children:
        message = "<Dial> without a number"
        raise XmlError(message)
