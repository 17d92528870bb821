"""V3 signatures: Plivo's own vectors, every shape of request, and what must be refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plivo.utils import validate_v3_signature

from calls.telephony.signatures import base_string, sign, verify_handshake, verify_webhook

pytestmark = pytest.mark.pure

TOKEN = "Y2Q2ZDgxZmY5YWRiOTI5YmQ1Njg0MTAxZWIyOTc4"
NONCE = "31627761595286130198"
URL = "https://plivobin.non-prod.plivops.com/api/v1/validate_signature03.xml/?a=b&c=d"
CALL = "3e82ae9d-2c78-4d85-b1a4-6eae7dbafb36"
SIP = "PlivoSignature382029104058171078704104"
FIELDS = [
    ("Direction", "outbound"),
    ("From", "19792014278"),
    ("ALegUUID", CALL),
    ("ALegRequestUUID", CALL),
    ("CallUUID", CALL),
    ("RequestUUID", CALL),
    ("CallStatus", "in-progress"),
    ("BillRate", "0.002"),
    ("ParentAuthID", "MANWVLYTK4ZWU1YTY4QA"),
    ("To", f"sip:{SIP}@phone-qa.voice.plivodev.com"),
    ("SIP-H-To", f"<sip:{SIP}@52.9.11.55;transport=udp>;tag=1"),
    ("SessionStart", "2020-04-08 11:34:33.238707"),
    ("Event", "StartApp"),
]
POST_SIGNATURE = "k7Pusd4OxCIjR5IfA9iedDNu/h/gbdYqdzG/MiYtd1c="
GET_SIGNATURE = "UBq8jAtd32wR8EK9VgxbBn4n5rpI/l1H9iN4WfSEHFQ="


def headers(signature="", main="", nonce=NONCE):
    found = {
        "x-plivo-signature-v3": signature,
        "x-plivo-signature-ma-v3": main,
        "x-plivo-signature-v3-nonce": nonce,
    }
    return {name: value for name, value in found.items() if value}


def verdict(*, method="POST", url=URL, params=FIELDS, tokens=(TOKEN,), **sent):
    return verify_webhook(method=method, url=url, params=params, headers=headers(**sent), tokens=tokens)


def test_plivos_own_vector_of_a_post_is_accepted():
    assert verdict(signature=POST_SIGNATURE).ok


def test_plivos_own_vector_of_a_get_is_accepted():
    assert verdict(method="GET", signature=GET_SIGNATURE).ok


@pytest.mark.parametrize(
    ("method", "url", "params", "base"),
    [
        ("POST", "https://h.example/answer/", [("To", "2"), ("From", "+1")], "https://h.example/answer/?From+1To2"),
        (
            "POST",
            "https://h.example/answer/?b=2&a=1",
            [("To", "2"), ("From", "+1")],
            "https://h.example/answer/?a=1&b=2.From+1To2",
        ),
        ("POST", "https://h.example/answer/", [], "https://h.example/answer/"),
        ("POST", "https://h.example/answer/?b=2&a=1", [], "https://h.example/answer/?a=1&b=2"),
        ("GET", "https://h.example/answer/?x=a%20b+c&y=", [], "https://h.example/answer/?x=a b c&y="),
        ("GET", "https://h.example:8443/answer/", [], "https://h.example:8443/answer/"),
        ("GET", "https://h.example/answer/#ct=1000&rc=2", [], "https://h.example/answer/"),
        ("POST", "https://h.example/a/", [("d", ""), ("d", "b"), ("d", "a")], "https://h.example/a/?ddadb"),
        ("GET", "https://h.example/a/?%C3%A9=%E2%82%AC", [], "https://h.example/a/?é=€"),
        ("POST", "https://h.example/a/", [("name", "Żółć")], "https://h.example/a/?nameŻółć"),
    ],
)
def test_the_base_string_is_built_as_plivo_builds_it(method, url, params, base):
    assert base_string(method=method, url=url, params=params) == base


@given(
    method=st.sampled_from(["GET", "POST"]),
    query=st.sampled_from(["", "?a=1", "?b=2&a=1&a=", "?x=a%20b+c&y="]),
    fields=st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=8),
        st.text(st.characters(codec="utf-8"), max_size=12),
    ),
    nonce=st.text("0123456789", min_size=1, max_size=20),
)
def test_what_we_sign_plivos_own_library_accepts(method, query, fields, nonce):
    if method == "GET":
        fields = {}
    url = f"https://h.example:8443/plivo/answer/{query}"
    signature = sign(base=base_string(method=method, url=url, params=list(fields.items())), nonce=nonce, token=TOKEN)
    assert validate_v3_signature(method, url, nonce, TOKEN, signature, dict(fields))


def test_a_list_with_blanks_is_searched_for_a_fitting_signature():
    assert verdict(signature=f"bm90IHRoaXMgb25l , {POST_SIGNATURE} ,").ok


def test_the_main_accounts_header_alone_is_enough():
    assert verdict(main=f"x, {POST_SIGNATURE}").ok


def test_any_token_of_several_may_fit():
    assert verdict(signature=POST_SIGNATURE, tokens=("another", "", TOKEN)).ok


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ({}, "missing_headers"),
        ({"signature": POST_SIGNATURE, "nonce": ""}, "missing_headers"),
        ({"signature": " , ,"}, "missing_headers"),
        ({"signature": POST_SIGNATURE, "tokens": ()}, "no_token"),
        ({"signature": POST_SIGNATURE, "tokens": ("",)}, "no_token"),
        ({"signature": GET_SIGNATURE}, "bad_signature"),
        ({"signature": POST_SIGNATURE, "nonce": NONCE + "1"}, "bad_signature"),
        ({"signature": POST_SIGNATURE, "tokens": ("another",)}, "bad_signature"),
        ({"signature": POST_SIGNATURE, "url": URL.replace("https", "http")}, "bad_signature"),
        ({"signature": POST_SIGNATURE, "params": [*FIELDS, ("Extra", "")]}, "bad_signature"),
        ({"signature": POST_SIGNATURE, "params": FIELDS[:-1]}, "bad_signature"),
        ({"signature": "\udcff\x00é"}, "bad_signature"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_reason(sent, reason):
    found = verdict(**sent)
    assert not found.ok
    assert found.reason == reason


def test_a_signature_beyond_the_listed_maximum_is_not_searched_for():
    assert not verdict(signature=",".join(["eA=="] * 500 + [POST_SIGNATURE])).ok


STREAM = "wss://voice.example.com:8443/stream/0123456789abcdef0123456789abcdef/?x=1"


@pytest.mark.parametrize(
    ("signed", "form"),
    [
        (STREAM.replace("wss://", "http://"), "http://"),
        (STREAM.replace("wss://", "https://"), "https://"),
        ("http://voice.example.com:8443/stream/0123456789abcdef0123456789abcdef/websocket?x=1", "http://…/websocket"),
        ("http://voice.example.com:8443/stream/0123456789abcdef0123456789abcdef//websocket?x=1", "http://…//websocket"),
    ],
)
def test_a_handshake_is_accepted_in_every_form_that_plivo_signs(signed, form):
    signature = sign(base=base_string(method="GET", url=signed, params=()), nonce=NONCE, token=TOKEN)
    found = verify_handshake(stream_url_with_path=STREAM, headers=headers(signature), tokens=[TOKEN])
    assert (found.ok, found.form) == (True, form)


@pytest.mark.parametrize(
    "signed", [STREAM, STREAM.replace("wss", "http").replace(":8443", ""), STREAM.replace("wss", "http") + "&y=2"]
)
def test_a_handshake_signed_for_another_address_is_refused_with_the_forms_tried(signed):
    signature = sign(base=base_string(method="GET", url=signed, params=()), nonce=NONCE, token=TOKEN)
    found = verify_handshake(stream_url_with_path=STREAM, headers=headers(signature), tokens=[TOKEN])
    assert not found.ok
    assert found.reason == "bad_signature"
    assert len(found.forms_tried) == 4


def test_an_unsigned_handshake_is_refused():
    found = verify_handshake(stream_url_with_path=STREAM, headers={}, tokens=[TOKEN])
    assert (found.ok, found.reason) == (False, "missing_headers")
