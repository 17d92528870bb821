"""The Content-Security-Policy: strict everywhere but in the admin, which cannot do without evaluation."""

from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest
from django.http.response import HttpResponseBase

ADMIN = "/admin/"


class ContentPolicyMiddleware(CSPMiddleware):
    """``CONTENT_SECURITY_POLICY``; under ``/admin/`` with 'unsafe-eval' for unfold's Alpine."""

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        """The parts that django-csp makes the header of."""
        parts = super().get_policy_parts(request, response, report_only)
        if request.path_info.startswith(ADMIN):
            parts.update = {**(parts.update or {}), "script-src": ["'unsafe-eval'"]}
        return parts
