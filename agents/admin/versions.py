"""Published versions, read-only: what each was, how it differs from another, and the way back to it."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from unfold.admin import ModelAdmin

from agents import changes, services
from agents.models import AgentVersion, ProviderAccount


@admin.register(AgentVersion)
class AgentVersionAdmin(ModelAdmin):
    """Nothing here can be edited: calls point at versions."""

    list_display = ("__str__", "published_at", "published_by", "note")
    list_filter = ("agent",)
    nothing_yet = "No versions yet. Publishing an agent makes one."
    search_fields = ("agent__name", "note")
    fields = ("agent", "number", "published_at", "published_by", "note")
    readonly_fields = fields
    change_form_outer_after_template = "admin/agents/version_content.html"

    def has_add_permission(self, _request: HttpRequest) -> bool:
        """Versions are made by publishing."""
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        """Versions are immutable."""
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        """Versions are kept for ever."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever may see agents may see what they were."""
        return request.user.has_perm("agents.view_agent") or super().has_view_permission(request, obj)

    def get_queryset(self, request: HttpRequest) -> QuerySet[AgentVersion]:
        """With the names that rows show."""
        return super().get_queryset(request).select_related("agent", "published_by")

    def get_urls(self) -> list[URLPattern]:
        """Adds the way back."""
        restore = path(
            "<uuid:version_id>/restore/",
            self.admin_site.admin_view(self.restore_view),
            name="agents_agentversion_restore",
        )
        return [restore, *super().get_urls()]

    def restore_view(self, request: HttpRequest, version_id: Any) -> HttpResponse:
        """Publishes this version's content again and puts the draft back to it; POST only."""
        if not _may_restore(request):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        version = get_object_or_404(self.get_queryset(request), pk=version_id)
        try:
            new = services.restore(version=version, user=request.user)
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
            return HttpResponseRedirect(reverse("admin:agents_agentversion_change", args=[version.pk]))
        self.log_change(request, new, f"Went back to version {version.number}.")
        messages.success(request, f"Version {new.number} is live; it is version {version.number} again.")
        return HttpResponseRedirect(reverse("admin:agents_agent_change", args=[version.agent_id]))

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Adds the comparison and the content."""
        version: AgentVersion = kwargs["obj"]
        others = list(version.agent.versions.exclude(pk=version.pk))
        wanted = request.GET.get("with", "")
        before = next((other for other in others if other.number < version.number), None)
        other = next((one for one in others if str(one.number) == wanted), before)
        names = {str(account.pk): account.name for account in ProviderAccount.objects.all()}
        context["other"], context["others"] = other, others
        context["differences"] = changes.compare(other.spec, version.spec, account_names=names) if other else []
        context["content"] = changes.settings_of(version.spec, account_names=names)
        context["is_live"] = version.agent.published_version_id == version.pk
        context["can_restore"] = _may_restore(request) and not context["is_live"]
        return super().render_change_form(request, context, *args, **kwargs)


def _may_restore(request: HttpRequest) -> bool:
    return request.user.has_perms(["agents.publish_agent", "agents.change_agent"])
