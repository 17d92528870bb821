"""Documents for Plivo: explicit attributes, safe texts, and what is read back is what was meant."""

import pytest
from defusedxml import ElementTree
from hypothesis import given
from hypothesis import strategies as st

from calls.telephony.xml import MAX_BYTES, MAX_SPOKEN, Document, clean

pytestmark = pytest.mark.pure

anything = st.text(st.characters(exclude_categories=[]), max_size=80)


def read(document):
    return ElementTree.fromstring(document.render())


@given(text=anything, url=anything, number=anything, caller=anything)
def test_what_is_read_back_is_what_was_meant(text, url, number, caller):
    document = Document().speak(text, language="en-US").redirect(url)
    document.dial(number, action_url=url, caller_id=caller).hang_up()
    root = read(document)
    spoken = clean(text).strip()
    assert [child.tag for child in root] == (["Speak"] if spoken else []) + ["Redirect", "Dial", "Hangup"]
    if spoken:
        assert normal(root.find("Speak").text) == normal(spoken)
    assert normal(root.find("Redirect").text or "") == normal(clean(url))
    # The normalisation of attributes that XML prescribes: line ends and tabs are written as references, so they stay.
    assert root.find("Dial").get("action") == clean(url)
    assert normal(root.find("Dial/Number").text or "") == normal(clean(number).lstrip("+"))
    assert len(list(root.iter())) == (6 if spoken else 5)


def normal(text):
    """Line ends as a parser of XML must read them."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


@given(st.text())
def test_a_spoken_text_can_never_make_a_document_too_large_or_unreadable(text):
    document = Document().speak(text * 200, language="en-US").hang_up()
    assert len(document.render()) < MAX_BYTES
    spoken = read(document).find("Speak")
    assert spoken is None or len(spoken.text) <= MAX_SPOKEN


def test_every_attribute_of_a_conversations_stream_is_spelled_out():
    document = Document().stream(
        "wss://h.example/stream/0f/",
        content_type="audio/x-mulaw;rate=8000",
        two_way=True,
        timeout_s=720,
        status_url="https://h.example/s/?a=1&b=2",
    )
    stream = read(document).find("Stream")
    assert stream.text == "wss://h.example/stream/0f/"
    assert stream.attrib == {
        "bidirectional": "true",
        "keepCallAlive": "true",
        "contentType": "audio/x-mulaw;rate=8000",
        "audioTrack": "inbound",
        "streamTimeout": "720",
        "statusCallbackUrl": "https://h.example/s/?a=1&b=2",
        "statusCallbackMethod": "POST",
        "noiseCancellation": "false",
    }


def test_the_other_elements_spell_out_theirs_too():
    document = Document().record_call(callback_url="https://h/r/", max_length_s=720).wait(2)
    document.dial("+15551234567", action_url="https://h/d/", caller_id="+15557654321").redirect("https://h/a/")
    record, wait, dial, redirect = read(document)
    assert record.attrib == {
        "recordSession": "true",
        "maxLength": "720",
        "redirect": "false",
        "playBeep": "false",
        "startOnDialAnswer": "false",
        "fileFormat": "mp3",
        "recordChannelType": "stereo",
        "callbackUrl": "https://h/r/",
        "callbackMethod": "POST",
    }
    assert wait.attrib == {"length": "2", "silence": "false", "beep": "false"}
    assert dial.attrib == {
        "action": "https://h/d/",
        "method": "POST",
        "redirect": "true",
        "timeout": "30",
        "timeLimit": "14400",
        "hangupOnStar": "false",
        "callerId": "15557654321",
    }
    assert redirect.attrib == {"method": "POST"}


def test_a_listening_stream_goes_one_way():
    document = Document().stream(
        "wss://h.example/", content_type="audio/x-l16;rate=16000", two_way=False, timeout_s=60, status_url="https://h/"
    )
    stream = read(document).find("Stream")
    assert (stream.get("bidirectional"), stream.get("keepCallAlive"), stream.get("audioTrack")) == (
        "false",
        "false",
        "inbound",
    )


def test_noise_cancellation_has_a_level_only_when_it_is_on():
    document = Document().stream(
        "wss://h/", content_type="x", two_way=True, timeout_s=1, status_url="https://h/", noise_cancellation=85
    )
    stream = read(document).find("Stream")
    assert (stream.get("noiseCancellation"), stream.get("noiseCancellationLevel")) == ("true", "85")


def test_the_declaration_is_the_first_thing_of_the_document():
    assert Document().hang_up().render().startswith(b"<?xml")


@pytest.mark.parametrize(
    ("language", "voice", "spoken_in"),
    [
        ("en-GB", "WOMAN", "en-GB"),
        ("hi-IN", "Polly.Aditi", "hi-IN"),
        ("en-IN", "Polly.Raveena", "en-IN"),
        ("xx-YY", "WOMAN", "en-US"),
    ],
)
def test_the_voice_is_one_that_plivo_has_for_the_language(language, voice, spoken_in):
    speak = read(Document().speak("Hello", language=language)).find("Speak")
    assert (speak.get("voice"), speak.get("language")) == (voice, spoken_in)


def test_numbers_are_dialled_without_their_plus():
    dial = read(Document().dial("+15551234567", action_url="https://h/", caller_id="+15557654321")).find("Dial")
    assert (dial.find("Number").text, dial.get("callerId")) == ("15551234567", "15557654321")


def test_a_document_beyond_plivos_limit_is_an_error_of_ours():
    document = Document()
    for _ in range(60):
        document.speak("x" * MAX_SPOKEN, language="en-US")
    with pytest.raises(ValueError, match="larger"):
        document.render()
