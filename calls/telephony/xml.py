"""Plivo XML: the documents that tell Plivo what to do with a call.

Built element by element with ElementTree (never from strings), with every attribute spelled out, because Plivo's own
pages disagree about the defaults. The SDK's classes cannot write noise cancellation, hence not the SDK.
"""

import re
from dataclasses import dataclass, field
from xml.etree import ElementTree

MAX_BYTES = 100_000  # Plivo's limit of a document
LONGEST_CALL_S = 14_400  # Plivo's longest, unless it was dialled with another
MAX_SPOKEN = 3000  # characters; Plivo's limit of one Speak
CONTENT_TYPE = "application/xml"

# What XML 1.0 cannot hold, and what no voice can say.
_UNSPEAKABLE = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\x7f-\x9f]")

# Languages of Plivo's basic voice; a pair that it lacks is error 8011 and the end of the call. Hindi and Indian English
# have Polly voices; anything else is read by the English voice, which is better than a dead line.
_BASIC_LANGUAGES = frozenset(
    {
        *("da-DK", "nl-NL", "en-AU", "en-GB", "en-US", "fr-FR", "fr-CA", "de-DE"),
        *("it-IT", "pl-PL", "pt-PT", "pt-BR", "ru-RU", "es-ES", "es-US", "sv-SE"),
    }
)
_POLLY = {"hi-IN": "Polly.Aditi", "en-IN": "Polly.Raveena"}


def clean(text: str) -> str:
    """The text without characters that XML cannot hold."""
    return _UNSPEAKABLE.sub("", text)


@dataclass
class Document:
    """A ``<Response>`` under construction; every method adds one element and returns the document."""

    root: ElementTree.Element = field(default_factory=lambda: ElementTree.Element("Response"))

    def speak(self, text: str, *, language: str) -> "Document":
        """Says a text with the carrier's own voice; an empty text adds nothing."""
        spoken = clean(text).strip()[:MAX_SPOKEN]
        if spoken:
            basic = language if language in _BASIC_LANGUAGES else "en-US"
            voice, spoken_in = (_POLLY[language], language) if language in _POLLY else ("WOMAN", basic)
            self._add("Speak", spoken, voice=voice, language=spoken_in, loop="1")
        return self

    def get_digits(
        self, text: str, *, language: str, action_url: str, digits: int, wait_s: int, times: int
    ) -> "Document":
        """Says a text, which a key interrupts, and has the keys sent to ``action_url``; the document there follows.

        Args:
            digits: how many keys at most.
            wait_s: for the first key, in s, before the text is said again; 3 s between keys.
            times: how often it is said at most; when no key comes the next element follows.
        """
        self._add(
            "GetDigits",
            action=action_url,
            method="POST",
            redirect="true",
            numDigits=str(digits),
            timeout=str(wait_s),
            digitTimeout="3",
            finishOnKey="#",
            retries=str(times),
            playBeep="false",
            validDigits="0123456789",
            log="false",
        )
        inner = Document(root=self.root[-1])
        inner.speak(text, language=language)
        return self

    def wait(self, seconds: int) -> "Document":
        """Does nothing for some seconds, with the line open."""
        return self._add("Wait", length=str(max(1, seconds)), silence="false", beep="false")

    def record_call(self, *, callback_url: str, max_length_s: int) -> "Document":
        """Records the whole call at the carrier, in the background; must stand before a stream, or waits for it."""
        return self._add(
            "Record",
            recordSession="true",
            maxLength=str(max_length_s),
            redirect="false",
            playBeep="false",
            startOnDialAnswer="false",
            fileFormat="mp3",
            recordChannelType="stereo",
            callbackUrl=callback_url,
            callbackMethod="POST",
        )

    def stream(
        self,
        url: str,
        *,
        content_type: str,
        two_way: bool,
        timeout_s: int,
        status_url: str,
        noise_cancellation: int | None = None,
    ) -> "Document":
        """Opens a WebSocket.

        Args:
            two_way: a conversation: nothing after it runs before the stream ends. One way (listening) it is forked
                off and the next element runs at once.
            noise_cancellation: level 60-100, or None for none.
        """
        options = {"noiseCancellation": "false"}
        if noise_cancellation is not None:
            options = {"noiseCancellation": "true", "noiseCancellationLevel": str(noise_cancellation)}
        return self._add(
            "Stream",
            url,
            bidirectional=_flag(two_way),
            keepCallAlive=_flag(two_way),
            contentType=content_type,
            audioTrack="inbound",
            streamTimeout=str(timeout_s),
            statusCallbackUrl=status_url,
            statusCallbackMethod="POST",
            **options,
        )

    def redirect(self, url: str) -> "Document":
        """Goes on with the document at another address; nothing after it is reached."""
        return self._add("Redirect", url, method="POST")

    def dial(self, number: str, *, action_url: str, caller_id: str, timeout_s: int = 30) -> "Document":
        """Connects the caller to an E.164 number; ``action_url`` is asked when that call is over."""
        attributes = {"callerId": caller_id.lstrip("+")} if caller_id else {}
        self._add(
            "Dial",
            action=action_url,
            method="POST",
            redirect="true",
            timeout=str(timeout_s),
            timeLimit=str(LONGEST_CALL_S),
            hangupOnStar="false",
            **attributes,
        )
        ElementTree.SubElement(self.root[-1], "Number").text = clean(number).lstrip("+")
        return self

    def hang_up(self) -> "Document":
        """Ends the call."""
        return self._add("Hangup")

    def render(self) -> bytes:
        """The document as UTF-8.

        Raises:
            ValueError: it is larger than Plivo takes.
        """
        text: bytes = ElementTree.tostring(self.root, encoding="utf-8", xml_declaration=True)
        if len(text) >= MAX_BYTES:
            raise ValueError("the document is larger than Plivo takes")
        return text

    def _add(self, tag: str, text: str | None = None, **attributes: str) -> "Document":
        cleaned = {name: clean(value) for name, value in attributes.items()}
        ElementTree.SubElement(self.root, tag, cleaned).text = None if text is None else clean(text)
        return self


def _flag(value: bool) -> str:
    return "true" if value else "false"
