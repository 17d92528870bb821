"""The history of what operators edit, as the admin shows it: to be read, never written back.

django-simple-history's page of an older state saves what is posted to it: for whoever may look at the row, and onto
columns that no form offers, as they were then (which version of an agent is published, whether a key is stored).
The way back is a published version, or the row's own page, where the rules are.
"""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import reverse
from simple_history.admin import SimpleHistoryAdmin
from simple_history.models import DeletedObject, ModelChange
from simple_history.template_utils import HistoricalRecordContextHelper

from agents.crypto import UndecryptableError


class _Changes(HistoricalRecordContextHelper):
    def prepare_delta_change_value(self, change: ModelChange, value: Any) -> Any:
        """An empty choice is nothing; django-simple-history takes it for a row that was deleted."""
        if isinstance(value, DeletedObject) and value.pk is None:
            return ""
        return super().prepare_delta_change_value(change, value)


class ReadOnlyHistoryAdmin(SimpleHistoryAdmin):
    """For the admin of every model with a history, in the place of SimpleHistoryAdmin."""

    object_history_form_template = "admin/older_state.html"

    def revert_disabled(self, _request: HttpRequest, _obj: Any = None) -> bool:
        """Takes the button away."""
        return True

    def get_historical_record_context_helper(self, _request: HttpRequest, historical_record: Any) -> _Changes:
        """How the list of states writes what changed."""
        return _Changes(self.model, historical_record)

    def history_form_view(
        self, request: HttpRequest, object_id: str, version_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """One older state. It is joined with the row's secret, which a lost key makes unreadable."""
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseNotAllowed(["GET", "HEAD"])
        try:
            return super().history_form_view(request, object_id, version_id, extra_context)
        except UndecryptableError as error:
            messages.error(request, f"This state cannot be shown. {error}, or enter the secret again.")
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_history"
        return HttpResponseRedirect(reverse(name, args=[object_id]))
