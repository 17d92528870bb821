"""REST on what an account has: itself, its numbers, applications and recordings; and the recordings' files.

Mounted by sandbox.plivo.routes. Field names, texts and statuses are Plivo's.
"""

from __future__ import annotations

import base64
import re
from typing import Any

from aiohttp import web

from sandbox.plivo.numbers import APPLICATION_METHOD_FIELDS, APPLICATION_URL_FIELDS, Application, Number
from sandbox.plivo.recordings import Recording
from sandbox.plivo.rest import EXCHANGE, ROOT, ApiError, Request, Result, endpoint, paged

_APPLICATION_FIELDS = (
    *APPLICATION_URL_FIELDS,
    *APPLICATION_METHOD_FIELDS,
    "app_name",
    "default_number_app",
    "default_endpoint_app",
    "subaccount",
    "log_incoming_messages",
    "public_uri",
)


async def show_account(request: Request) -> Result:
    """GET /v1/Account/{auth_id}/."""
    account = request.account
    return Result(
        200,
        {
            "account_type": "developer" if not account.parent else "subaccount",
            "address": "",
            "auth_id": account.auth_id,
            "auto_recharge": False,
            "billing_mode": "prepaid",
            "cash_credits": "100.00000",
            "city": "",
            "name": "Sandbox",
            "resource_uri": f"/v1/Account/{account.auth_id}/",
            "state": "",
            "timezone": "UTC",
        },
    )


def _main(request: Request) -> str:
    return request.exchange.registry.main_of(request.account.auth_id).auth_id


def _visible(request: Request, number: Number) -> bool:
    mine = request.account.auth_id
    return number.subaccount == mine if request.account.parent else number.auth_id == mine


def _number(request: Request) -> Number:
    number = request.exchange.registry.numbers.get(request.path["number"].removeprefix("+"))
    if number is None or not _visible(request, number):
        raise ApiError(404, "number not found")
    return number


async def list_numbers(request: Request) -> Result:
    """GET /Number/."""
    prefix = str(request.fields.get("number_startswith") or "")
    alias = request.fields.get("alias")
    numbers = [
        number.to_json()
        for number in request.exchange.registry.numbers.values()
        if _visible(request, number) and number.number.startswith(prefix) and alias in (None, number.alias)
    ]
    return paged(request, numbers)


async def show_number(request: Request) -> Result:
    """GET /Number/{number}/."""
    return Result(200, _number(request).to_json())


async def change_number(request: Request) -> Result:
    """POST /Number/{number}/: its application, alias or subaccount."""
    number, fields = _number(request), request.fields
    registry = request.exchange.registry
    if fields.get("app_id"):
        app_id = str(fields["app_id"])
        application = registry.applications.get(app_id)
        if application is None or application.auth_id != _main(request):
            raise ApiError(404, "application not found")
    else:
        app_id = "" if "app_id" in fields else number.app_id
    subaccount = number.subaccount
    if "subaccount" in fields:
        subaccount = str(fields["subaccount"] or "")
        known = registry.accounts.get(subaccount)
        if subaccount and (known is None or known.parent != _main(request)):
            raise ApiError(404, "subaccount not found")
    number.app_id, number.subaccount = app_id, subaccount
    number.alias = str(fields.get("alias", number.alias) or "")
    return Result(202, {"message": "changed"})


def _application(request: Request) -> Application:
    application = request.exchange.registry.applications.get(request.path["app_id"])
    if application is None or application.auth_id != _main(request):
        raise ApiError(404, "application not found")
    return application


def _application_fields(request: Request) -> dict[str, Any]:
    fields = {name: request.fields[name] for name in _APPLICATION_FIELDS if name in request.fields}
    for name in APPLICATION_URL_FIELDS:
        if fields.get(name):
            fields[name] = request.url(name)
    for name in APPLICATION_METHOD_FIELDS:
        if name in fields:
            fields[name] = request.method(name)
    return fields


async def create_application(request: Request) -> Result:
    """POST /Application/."""
    name = str(request.fields.get("app_name") or "")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,60}", name):
        raise ApiError(400, "app_name may have letters, digits, - and _ only" if name else "app_name not present")
    names = {known.fields.get("app_name") for known in _applications(request)}
    if name in names:
        raise ApiError(400, f"an application with the name {name} exists")
    request.url("answer_url", required=True)
    application = request.exchange.registry.create_application(_main(request), _application_fields(request))
    return Result(201, {"message": "created", "app_id": application.app_id})


def _applications(request: Request) -> list[Application]:
    main = _main(request)
    return [known for known in request.exchange.registry.applications.values() if known.auth_id == main]


async def list_applications(request: Request) -> Result:
    """GET /Application/."""
    wanted = request.fields.get("app_name")
    objects = [known.to_json() for known in _applications(request) if wanted in (None, known.fields.get("app_name"))]
    return paged(request, objects)


async def show_application(request: Request) -> Result:
    """GET /Application/{id}/."""
    return Result(200, _application(request).to_json())


async def change_application(request: Request) -> Result:
    """POST /Application/{id}/."""
    _application(request).fields.update(_application_fields(request))
    return Result(202, {"message": "changed"})


async def delete_application(request: Request) -> Result:
    """DELETE /Application/{id}/."""
    application = _application(request)
    registry = request.exchange.registry
    for number in registry.numbers.values():
        if number.app_id == application.app_id:
            number.app_id = ""
    del registry.applications[application.app_id]
    return Result(204)


def _recordings(request: Request) -> list[Recording]:
    mine = request.account.auth_id
    return [known for known in request.exchange.recordings.values() if known.auth_id == mine and known.available]


async def list_recordings(request: Request) -> Result:
    """GET /Recording/."""
    fields, base = request.fields, request.exchange.base_url
    found = []
    for recording in reversed(_recordings(request)):
        shown = recording.to_json(base)
        filters = ("call_uuid", "from_number", "to_number")
        if all(str(shown[name]) == str(fields[name]) for name in filters if fields.get(name)):
            found.append(shown)
    return paged(request, found)


def _recording(request: Request) -> Recording:
    for recording in _recordings(request):
        if recording.recording_id == request.path["recording_id"]:
            return recording
    raise ApiError(404, "recording not found")


async def show_recording(request: Request) -> Result:
    """GET /Recording/{id}/."""
    return Result(200, _recording(request).to_json(request.exchange.base_url))


async def delete_recording(request: Request) -> Result:
    """DELETE /Recording/{id}/."""
    del request.exchange.recordings[_recording(request).recording_id]
    return Result(204)


async def recording_file(request: web.Request) -> web.Response:
    """The file itself, as media.plivo.com serves it: open, or with Basic authentication when that is switched on."""
    exchange = request.app[EXCHANGE]
    auth_id = request.match_info["auth_id"]
    if exchange.settings.recording_auth and not _may_fetch(request, auth_id):
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="recordings"'})
    recording = exchange.recordings.get(request.match_info["recording_id"])
    if recording is None or recording.auth_id != auth_id or not recording.available:
        return web.Response(status=404)
    return web.Response(body=recording.content, content_type="audio/wav")


def _may_fetch(request: web.Request, auth_id: str) -> bool:
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return False
    login = request.app[EXCHANGE].registry.login(user, password)
    return scheme.lower() == "basic" and login is not None and login.auth_id == auth_id


def add_routes(app: web.Application) -> None:
    """Put the account's resources on the application."""
    router = app.router
    router.add_get(f"{ROOT}/", endpoint(show_account))
    router.add_get(f"{ROOT}/Number/", endpoint(list_numbers))
    router.add_get(f"{ROOT}/Number/{{number}}/", endpoint(show_number))
    router.add_post(f"{ROOT}/Number/{{number}}/", endpoint(change_number))
    router.add_get(f"{ROOT}/Application/", endpoint(list_applications))
    router.add_post(f"{ROOT}/Application/", endpoint(create_application))
    router.add_get(f"{ROOT}/Application/{{app_id}}/", endpoint(show_application))
    router.add_post(f"{ROOT}/Application/{{app_id}}/", endpoint(change_application))
    router.add_delete(f"{ROOT}/Application/{{app_id}}/", endpoint(delete_application))
    router.add_get(f"{ROOT}/Recording/", endpoint(list_recordings))
    router.add_get(f"{ROOT}/Recording/{{recording_id}}/", endpoint(show_recording))
    router.add_delete(f"{ROOT}/Recording/{{recording_id}}/", endpoint(delete_recording))
    router.add_get("/media/v1/Account/{auth_id}/Recording/{recording_id}.wav", recording_file)
