"""Agents: a draft to edit, a button to publish it, and what stands in the way."""

import datetime
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import label_for_field
from django.core.exceptions import ValidationError
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.text import capfirst
from unfold.admin import ModelAdmin
from unfold.decorators import action, display

from agents import changes, drafts, services
from agents.admin.agent_form import AgentForm, number_fields
from agents.admin.further import FurtherChoiceInline
from agents.history import ReadOnlyHistoryAdmin
from agents.models import Agent, ProviderAccount, Voice
from agents.spec import AgentSpec

RECENT_DAYS = 7
VERSIONS_SHOWN = 5
PUBLISH = "agents_agent_publish"
TAB = {"classes": ["tab"]}


@admin.register(Agent)
class AgentAdmin(ReadOnlyHistoryAdmin, ModelAdmin):
    """Lists agents and edits drafts; every rule lives in ``agents.drafts`` and ``agents.services``."""

    form = AgentForm
    list_display = ("name", "state", "voice_name", "numbers_answered", "recent_calls", "updated_at")
    list_filter = ("mode", "record")
    list_per_page = 25
    nothing_yet = "No agents yet. Add one: what it is to do, what it says, its voice and its models."
    search_fields = ("name", "purpose")
    ordering = ("name",)
    actions_submit_line = ("publish",)
    change_form_before_template = "admin/agents/agent_status.html"
    warn_unsaved_form = True
    inlines = (FurtherChoiceInline,)
    fieldsets = (
        (
            "Who it is",
            TAB | {"fields": ("name", "purpose", "mode", "language", "system_prompt", "variables")},
        ),
        (
            "What it says",
            TAB
            | {
                "fields": (
                    "speaks_first", "disclosure", "greeting", "greeting_interruptible", "wrap_up", "goodbye", "filler",
                    "apology",
                )
            },
        ),
        (
            "Voice and models",
            TAB
            | {
                "fields": (
                    "tts_account", "tts_model", "voice", "stt_account", "stt_model", "llm_account", "llm_model",
                )
            },
        ),
        ("Turn-taking", TAB | {"fields": ("turn_preset", "interruptible", "backchannels", "stop_words")}),
        (
            "Silence and ending",
            TAB | {"fields": ("reprompts", "reprompt_after_s", "max_call_s", "can_end_call", "fallback_number")},
        ),
        (
            "What it may do",
            TAB | {"fields": ("transfers", "can_press_keys")},
        ),
        (
            "Recording and after the call",
            TAB | {"fields": ("record", "recording_notice", "plivo_record", "extraction")},
        ),
        (
            "Advanced",
            TAB | {"fields": ("codec", "llm_options", "stt_options", "tts_options", *number_fields())},
        ),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Agent]:
        """All that a row shows, in a fixed number of queries."""
        calls: Any = Agent._meta.get_field("calls").related_model  # by its relation: ``calls`` is a layer above
        since = timezone.now() - datetime.timedelta(days=RECENT_DAYS)
        recent = calls.objects.filter(agent=OuterRef("pk"), created_at__gte=since).order_by().values("agent")
        count = Subquery(recent.annotate(number=Count("pk")).values("number"), output_field=IntegerField())
        agents = services.with_accounts(super().get_queryset(request)).prefetch_related("numbers")
        return agents.annotate(recent_call_count=Coalesce(count, 0))

    def get_form(self, request: HttpRequest, obj: Agent | None = None, change: bool = False, **kwargs: Any) -> Any:
        """Only model fields are asked of the model: the numbers and the note are the form's own."""
        fieldsets = self.get_fieldsets(request, obj)
        names = [name for _, options in fieldsets for name in options["fields"]]
        kwargs["fields"] = [name for name in names if name not in number_fields()]
        return super().get_form(request, obj, change=change, **kwargs)

    def has_delete_permission(self, request: HttpRequest, obj: Agent | None = None) -> bool:
        """A published agent stays: calls and versions tell what it was."""
        published = obj is not None and obj.published_version_id is not None
        return not published and super().has_delete_permission(request, obj)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Voices with the names of their accounts, in one query."""
        if db_field.remote_field.model is Voice:
            kwargs["queryset"] = Voice.objects.select_related("account").defer("account__api_key")
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Saves the further choices, publishes if that was asked for, and says what stands in the way.

        Of what stands in the way only where the page that follows does not show it.
        """
        super().save_related(request, form, formsets, change)
        agent = form.instance
        if any(formset.has_changed() for formset in formsets):
            state = agent.history.latest()
            state.history_change_reason = "What takes over when a provider fails was changed"
            state.save()
        if PUBLISH in request.POST:
            if self.has_publish_permission(request):
                self._publish(request, agent)
        elif "_continue" not in request.POST:
            for text in _obstacles(agent):
                messages.warning(request, f"Not ready to be published. {text}")

    def response_change(self, request: HttpRequest, obj: Agent) -> HttpResponse:
        """Stays on the page after publishing, where the new version stands."""
        if PUBLISH in request.POST:
            return HttpResponseRedirect(reverse("admin:agents_agent_change", args=[obj.pk]))
        return super().response_change(request, obj)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Adds what the status box above the form shows."""
        context["show_save_and_add_another"] = False  # the row of buttons is full
        agent: Agent | None = kwargs.get("obj")
        if agent is not None:
            context["status"] = _status(agent)
            context["can_publish"] = self.has_publish_permission(request) and self.has_change_permission(request, agent)
            context["talk_url"] = talk_url = _talk_url(request, agent)
            context["draft_talk_url"] = talk_url and f"{talk_url}?draft=1"
        return super().render_change_form(request, context, *args, **kwargs)

    def has_publish_permission(self, request: HttpRequest, _obj: Any = None) -> bool:
        """For the button below; a dotted permission would make the theme ask the database before it is migrated."""
        return request.user.has_perm("agents.publish_agent")

    @action(description="Save and publish", permissions=["publish"], icon="publish")
    def publish(self, _request: HttpRequest, _obj: Agent) -> None:
        """Button beside Save. The theme calls this before the further choices are saved: see ``save_related``."""

    def _publish(self, request: HttpRequest, obj: Agent) -> None:
        """The draft stays saved when it cannot be published."""
        agent = services.with_accounts(Agent.objects.all()).get(pk=obj.pk)
        if agent.published_version and not changes.has_unpublished_changes(agent):
            messages.info(request, f"Version {agent.published_version.number} is live already; nothing has changed.")
            return
        try:
            version = services.publish(agent=agent, user=request.user, note=request.POST.get("publish_note", ""))
        except ValidationError:
            messages.error(request, "Saved, but not published: see below what stands in the way.")
            return
        obj.published_version = version
        self.log_change(request, obj, f"Published version {version.number}.")
        messages.success(request, f"Version {version.number} is live: new calls use it from now on.")

    @display(description="State", label={"Unpublished changes": "warning", "Draft": "info", "Live": "success"})
    def state(self, agent: Agent) -> tuple[str, str]:
        """Which version callers get, and whether the draft differs from it."""
        if agent.published_version is None:
            return "Draft", "Never published"
        number = f"Version {agent.published_version.number}"
        if changes.has_unpublished_changes(agent):
            return "Unpublished changes", f"{number} + unpublished changes"
        return "Live", number

    @display(description="Voice")
    def voice_name(self, agent: Agent) -> str:
        """Without the account's name."""
        if agent.mode == Agent.Mode.LISTEN_ONLY:
            return "listens only"
        return agent.voice.name if agent.voice else "-"

    @display(description="Answers")
    def numbers_answered(self, agent: Agent) -> str:
        """Its inbound numbers."""
        return ", ".join(number.number for number in agent.numbers.all()) or "-"

    @display(description=f"Calls in {RECENT_DAYS} days", ordering="recent_call_count")
    def recent_calls(self, agent: Any) -> int:
        """Counted by the query of the list."""
        count: int = agent.recent_call_count
        return count


def _obstacles(agent: Agent) -> list[str]:
    try:
        drafts.build_spec(agent)
    except ValidationError as error:
        return [
            f"{capfirst(str(label_for_field(field, Agent)))}: {text}"
            for field, texts in error.message_dict.items()
            for text in texts
        ]
    return []


def _status(agent: Agent) -> dict[str, Any]:
    """What the status box shows; read from the database, since the form may hold refused input."""
    stored = services.with_accounts(Agent.objects.all()).get(pk=agent.pk)
    obstacles = _obstacles(stored)
    published: AgentSpec | None = services.published_spec(stored)
    differences = []
    if published and not obstacles:
        names = {str(account.pk): account.name for account in ProviderAccount.objects.all()}
        differences = changes.compare(published, drafts.build_spec(stored), account_names=names)
    return {
        "version": stored.published_version,
        "versions": list(stored.versions.select_related("published_by")[:VERSIONS_SHOWN]),
        "changed": changes.has_unpublished_changes(stored) if published else False,
        "differences": differences,
        "obstacles": obstacles,
        "warnings": drafts.warnings(stored),
    }


def _talk_url(request: HttpRequest, agent: Agent) -> str:
    """The browser call's page, where this installation has one and the user may use it."""
    if not request.user.has_perm("agents.talk_to_agent"):
        return ""
    try:
        return reverse("talk_to_agent", args=[agent.pk])
    except NoReverseMatch:
        return ""
