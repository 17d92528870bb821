"""What goes wrong, as programs read it: ``{"error": {"code", "message"}}`` with the status that fits."""

import datetime
from typing import Any

import structlog
from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

log = structlog.get_logger(__name__)

MOST_FAULTS = 10
TOO_LARGE = "The body is larger than 1 MB."


class ApiError(Exception):
    """A request that is not carried out, in the words of ``calls/api/schemas.Problem``."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        next_allowed: datetime.datetime | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        self.status, self.code, self.message = status, code, message
        self.next_allowed, self.retry_after_s = next_allowed, retry_after_s
        super().__init__(code)


def answer(status: int, code: str, message: str, *, next_allowed: datetime.datetime | None = None) -> JsonResponse:
    """The answer to a request that is not carried out."""
    found: dict[str, Any] = {"code": code, "message": message}
    if next_allowed is not None:
        found["next_allowed"] = next_allowed.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")
    return JsonResponse({"error": found}, status=status, headers={"Cache-Control": "no-store"})


def register(api: NinjaAPI) -> None:
    """Has every failure of the API answered so."""

    @api.exception_handler(ApiError)
    def refused(_request: HttpRequest, error: ApiError) -> HttpResponse:
        response = answer(error.status, error.code, error.message, next_allowed=error.next_allowed)
        if error.retry_after_s is not None:
            response["Retry-After"] = str(error.retry_after_s)
        return response

    @api.exception_handler(AuthenticationError)
    def unknown(_request: HttpRequest, _error: AuthenticationError) -> HttpResponse:
        message = "Send a key of this installation that was not revoked: Authorization: Bearer parley_..."
        response = answer(401, "unauthorized", message)
        response["WWW-Authenticate"] = "Bearer"
        return response

    @api.exception_handler(ValidationError)
    def invalid(_request: HttpRequest, error: ValidationError) -> HttpResponse:
        """Names each fault and its place; never repeats what was sent."""
        faults = [f"{_place(fault)}: {fault['msg']}" for fault in error.errors[:MOST_FAULTS]]
        if len(error.errors) > MOST_FAULTS:
            faults.append(f"and {len(error.errors) - MOST_FAULTS} more")
        return answer(422, "invalid", "; ".join(faults))

    @api.exception_handler(RequestDataTooBig)
    def too_large(_request: HttpRequest, _error: RequestDataTooBig) -> HttpResponse:
        return answer(413, "too_large", TOO_LARGE)

    @api.exception_handler(Http404)
    def missing(_request: HttpRequest, _error: Http404) -> HttpResponse:
        return not_found()

    @api.exception_handler(HttpError)
    def malformed(_request: HttpRequest, error: HttpError) -> HttpResponse:
        return answer(error.status_code, "malformed", "The body is no JSON.")

    @api.exception_handler(Exception)
    def broken(_request: HttpRequest, error: Exception) -> HttpResponse:
        log.error("api_failed", exc_info=error)
        return answer(500, "internal", "Parley has a fault: its log says more. Nothing is known to have been done.")


def not_found(*_args: Any, **_kwargs: Any) -> HttpResponse:
    """Also the view of every address that the API does not have."""
    return answer(404, "not_found", "There is nothing here.")


def _place(fault: dict[str, Any]) -> str:
    """As people.0.number: without the source and the parameter's name."""
    source, *rest = fault["loc"]
    return ".".join(map(str, rest[1:] if source == "body" and len(rest) > 1 else rest)) or str(source)
