import pytest
from plivo import plivoxml

from sandbox.plivo.xml import XmlError, parse_document

pytestmark = pytest.mark.pure


def parse(body: str | bytes, content_type: str = "application/xml"):
    return parse_document(body.encode() if isinstance(body, str) else body, content_type)


def test_what_the_sdk_writes_is_understood():
    response = plivoxml.ResponseElement()
    response.add(
        plivoxml.RecordElement(record_session=True, max_length=14400, redirect=False, action="http://p/rec?a=1&b=2")
    )
    response.add(
        plivoxml.StreamElement(
            "wss://p.example/stream/x/",
            bidirectional=True,
            keepCallAlive=True,
            contentType="audio/x-mulaw;rate=8000",
            statusCallbackUrl="https://p.example/s/",
        )
    )
    response.add(plivoxml.RedirectElement("https://p.example/after/"))
    document = parse(response.to_string())
    assert [element.verb for element in document.elements] == ["Record", "Stream", "Redirect"]
    assert document.elements[0].attributes["action"] == "http://p/rec?a=1&b=2"
    assert document.elements[1].attributes["keepCallAlive"] is True
    assert document.elements[1].attributes["streamTimeout"] == 86400
    assert document.warnings == ()


def test_an_unknown_attribute_is_a_warning():
    assert parse('<Response><Record recordingFormat="wav"/></Response>').warnings == (
        "<Record> has no attribute recordingFormat",
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("<Response><Say>hi</Say></Response>", "no Plivo element"),
        ("<Response><Reject/></Response>", "no Plivo element"),
        ("<response/>", "not <Response>"),
        ("<Response><Speak>hi</Response>", "not well-formed"),
        ("\n<?xml version='1.0'?><Response/>", "not well-formed"),
        ("<Response><Redirect>http://p/?a=1&b=2</Redirect></Response>", "not well-formed"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><Response/>", "document type"),
        ("<Response><Speak></Speak></Response>", "empty"),
        ('<Response><Speak language="hi-IN">hi</Speak></Response>', "no voice"),
        ("<Response><Number>15550001111</Number></Response>", "not allowed here"),
        ("<Response><GetDigits><Dial/></GetDigits></Response>", "not allowed here"),
        ("<Response><GetInput/></Response>", "needs action"),
        ("<Response><Dial/></Response>", "without a number"),
        ("<Response><Conference>a</Conference></Response>", "not in this sandbox"),
        ('<Response><Wait length="0"/></Response>', "from 1"),
        ('<Response><Hangup reason="tired"/></Response>', "rejected, busy"),
        ("<Response><Stream>https://p.example/</Stream></Response>", "ws or wss"),
        (f"<Response><Stream>wss://p.example/{'a' * 2048}</Stream></Response>", "2048"),
        ('<Response><Stream bidirectional="yes">wss://p.example/</Stream></Response>', "true or false"),
        ('<Response><Stream contentType="audio/x-mulaw">wss://p.example/</Stream></Response>', "one of"),
        ('<Response><Stream bidirectional="true" audioTrack="both">wss://p/</Stream></Response>', "audioTrack"),
        (f'<Response><Stream extraHeaders="a={"b" * 520}">wss://p/</Stream></Response>', "512 bytes"),
        ('<Response><Stream extraHeaders="token">wss://p/</Stream></Response>', "key=value"),
        ('<Response><Stream streamTimeout="0">wss://p/</Stream></Response>', "from 1"),
        (f"<Response><!--{'x' * 102400}--></Response>", "bytes"),
    ],
)
def test_what_plivo_refuses_is_refused(body, said):
    with pytest.raises(XmlError, match=said):
        parse(body)


def test_a_page_that_is_not_xml_by_its_type_is_refused():
    with pytest.raises(XmlError, match="text/html"):
        parse("<Response/>", "text/html")
