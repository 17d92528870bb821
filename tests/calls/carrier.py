"""Plivo's side of the webhooks, signed by Plivo's own library rather than by our code."""

import itertools
import uuid
from urllib.parse import urlencode

from defusedxml import ElementTree
from django.conf import settings
from django.test import Client
from plivo.utils.signature_v3 import construct_get_url, construct_post_url, get_signature_v3

_nonces = itertools.count(10**19)


class Carrier:
    """Sends webhooks of one account; ``last`` is what was sent last, to be sent again or altered."""

    def __init__(self, account, *, http=None):
        self.account = account
        self.token = account.auth_token
        self.http = http or Client(raise_request_exception=False)
        self.last = None

    def send(self, path, **request):
        """Signs and sends; see ``sign``."""
        self.sign(path, **request)
        return self.again()

    def sign(self, path, *, method="POST", nonce=None, header="X-Plivo-Signature-V3", token=None, **fields):
        """Makes a request without sending it; ``fields`` are the form (GET: the query)."""
        nonce = nonce or str(next(_nonces))
        fields = {name: str(value) for name, value in fields.items()}
        url = settings.PUBLIC_URL + path
        token = (token or self.token).encode()
        if method == "GET":
            query = urlencode(fields)
            path = f"{path}?{query}" if query else path
            base = construct_get_url(settings.PUBLIC_URL + path, {})
            body = b""
        else:
            base = construct_post_url(url, fields)
            body = urlencode(fields).encode()
        signature = get_signature_v3(token, base.decode(), nonce.encode()).decode()
        self.last = (method, path, body, {header: signature, "X-Plivo-Signature-V3-Nonce": nonce})
        return self.last

    def again(self, *, path=None, body=None, headers=None):
        """Sends the last request again, the same or altered."""
        method, last_path, last_body, last_headers = self.last
        return self.http.generic(
            method,
            path or last_path,
            last_body if body is None else body,
            content_type="application/x-www-form-urlencoded",
            headers=last_headers if headers is None else headers,
        )

    def ring(self, number, *, call_uuid=None, caller="15557654321", path="/plivo/answer/", **fields):
        """Somebody rings one of our numbers."""
        self.call_uuid = call_uuid or str(uuid.uuid4())
        form = {
            "CallUUID": self.call_uuid,
            "From": caller,
            "To": str(number).lstrip("+"),
            "CallStatus": "ringing",
            "Direction": "inbound",
            "Event": "StartApp",
            "ParentAuthID": self.account.auth_id,
            "CallerName": caller,
            "BillRate": "0.0085",
            "SessionStart": "2026-01-02 03:04:05.123456",
        }
        return self.send(path, **form | fields)

    def hang_up(self, *, call_uuid=None, path="/plivo/hangup/", **fields):
        """The call is over."""
        form = {
            "CallUUID": call_uuid or self.call_uuid,
            "CallStatus": "completed",
            "Event": "Hangup",
            "Direction": "inbound",
            "Duration": "42",
            "BillDuration": "60",
            "HangupCause": "NORMAL_CLEARING",
            "HangupCauseName": "Normal Hangup",
            "HangupCauseCode": "4000",
            "HangupSource": "Caller",
            "TotalCost": "0.00850",
            "ParentAuthID": self.account.auth_id,
        }
        return self.send(path, **form | fields)


def xml(response):
    """The document of an answer."""
    assert response.status_code == 200, response.status_code
    assert response["Content-Type"] == "application/xml"
    return ElementTree.fromstring(response.content)


def tags(response):
    """The document's elements, in order."""
    return [element.tag for element in xml(response)]


def token_of(response):
    """The stream token in the document's Stream."""
    return xml(response).find("Stream").text.rstrip("/").rpartition("/")[2]
