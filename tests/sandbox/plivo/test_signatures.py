import plivo
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.plivo.faults import Faults
from sandbox.plivo.signatures import HEADER, HEADER_MAIN, HEADER_NONCE, handshake_url, sign, signature_headers

pytestmark = pytest.mark.pure

TOKEN = "Y2Q2ZDgxZmY5YWRiOTI5YmQ1Njg0MTAxZWIyOTc4"
NONCE = "31627761595286130198"
URL = "https://plivobin.non-prod.plivops.com/api/v1/validate_signature03.xml/?a=b&c=d"
UUID = "3e82ae9d-2c78-4d85-b1a4-6eae7dbafb36"
FIELDS = {
    "Direction": "outbound",
    "From": "19792014278",
    "ALegUUID": UUID,
    "ALegRequestUUID": UUID,
    "CallUUID": UUID,
    "RequestUUID": UUID,
    "CallStatus": "in-progress",
    "BillRate": "0.002",
    "ParentAuthID": "MANWVLYTK4ZWU1YTY4QA",
    "To": "sip:PlivoSignature382029104058171078704104@phone-qa.voice.plivodev.com",
    "SIP-H-To": "<sip:PlivoSignature382029104058171078704104@52.9.11.55;transport=udp>;tag=1",
    "SessionStart": "2020-04-08 11:34:33.238707",
    "Event": "StartApp",
}


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("POST", "k7Pusd4OxCIjR5IfA9iedDNu/h/gbdYqdzG/MiYtd1c="),
        ("GET", "UBq8jAtd32wR8EK9VgxbBn4n5rpI/l1H9iN4WfSEHFQ="),
    ],
)
def test_plivos_own_vectors_come_out(method, expected):
    assert sign(method, URL, NONCE, TOKEN, FIELDS) == expected


text = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00"), max_size=12)
plain = st.text(st.sampled_from("abcXYZ019-_"), min_size=1, max_size=6)


@given(
    method=st.sampled_from(["GET", "POST"]),
    query=st.dictionaries(plain, plain, max_size=3),
    fields=st.dictionaries(plain, text, max_size=4),
    port=st.sampled_from(["", ":8000"]),
)
def test_plivos_validator_accepts_every_signature(method, query, fields, port):
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    url = f"http://h.example{port}/answer/" + (f"?{asked}" if asked else "")
    if method == "GET":
        fields = {}
    signature = sign(method, url, NONCE, TOKEN, fields)
    assert plivo.utils.validate_v3_signature(method, url, NONCE, TOKEN, signature, fields)
    assert not plivo.utils.validate_v3_signature(method, url, NONCE, TOKEN + "x", signature, fields)


def test_every_active_token_signs_and_the_main_account_signs_too():
    headers = signature_headers("POST", URL, FIELDS, tokens=("one", "two"), main_tokens=("main",))
    nonce = headers[HEADER_NONCE]
    assert len(nonce) == 20
    for token in ("one", "two"):
        assert plivo.utils.validate_v3_signature("POST", URL, nonce, token, headers[HEADER], FIELDS)
    assert plivo.utils.validate_v3_signature("POST", URL, nonce, "main", headers[HEADER_MAIN], FIELDS)


@pytest.mark.parametrize(("fault", "valid"), [("good", True), ("wrong", False), ("list", True), ("list_spaced", False)])
def test_the_signature_faults_are_what_they_are_called(fault, valid):
    headers = signature_headers("POST", URL, FIELDS, tokens=(TOKEN,), main_tokens=(TOKEN,), fault=fault)
    assert (
        plivo.utils.validate_v3_signature("POST", URL, headers[HEADER_NONCE], TOKEN, headers[HEADER], FIELDS) is valid
    )


def test_missing_headers_are_missing():
    assert signature_headers("GET", URL, {}, tokens=(TOKEN,), main_tokens=(TOKEN,), fault="missing") == {}
    headers = signature_headers("GET", URL, {}, tokens=(TOKEN,), main_tokens=(TOKEN,), fault="no_nonce")
    assert set(headers) == {HEADER, HEADER_MAIN}


@pytest.mark.parametrize(
    ("form", "signed"),
    [
        ("http", "http://p.example:8443/stream/t/?a=1"),
        ("https", "https://p.example:8443/stream/t/?a=1"),
        ("wss", "wss://p.example:8443/stream/t/?a=1"),
        ("websocket", "http://p.example:8443/stream/t//websocket?a=1"),
    ],
)
def test_the_handshake_can_be_signed_in_every_reported_form(form, signed):
    assert handshake_url("wss://p.example:8443/stream/t/?a=1#rc=2", form) == signed


def test_faults_are_off_by_default():
    assert Faults().webhook_signature == "good"
    assert Faults().handshake_signature == "good"
