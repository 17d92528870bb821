"""The further choices of an agent's stages, on the agent's page: what takes over when a provider fails."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from unfold.admin import StackedInline

from agents import drafts
from agents.admin.fields import OptionsField
from agents.models import FurtherChoice, ProviderAccount, Voice


class FurtherChoiceForm(forms.ModelForm):
    """One choice; what the agent's own form refuses of the first choice is refused here as well."""

    options = OptionsField(rows=2, help_text="One per line as name = value, in the provider's own names; usually none.")

    class Meta:
        model = FurtherChoice
        fields = ("stage", "account", "model", "voice", "options", "position")

    def clean(self) -> dict[str, Any]:
        """Account, voice and stage must fit together."""
        data = super().clean() or self.cleaned_data
        stage, account, voice = data.get("stage"), data.get("account"), data.get("voice")
        if not stage or not account:
            return data
        if voice and stage != FurtherChoice.Stage.TTS:
            self.add_error("voice", "Only the voice (text-to-speech) has one: leave this empty.")
        for wrong in drafts.wrong_with(
            stage,
            account=account,
            options=data.get("options", {}),
            voice=voice if stage == FurtherChoice.Stage.TTS else None,
            needs_voice=stage == FurtherChoice.Stage.TTS,
        ):
            self.add_error(wrong.field, ValidationError(wrong.message))
        return data


class FurtherChoiceFormSet(BaseInlineFormSet):
    """The rows; the theme numbers those that are moved, and leaves a new one at the front."""

    def save_new(self, form: Any, commit: bool = True) -> Any:
        """Puts a new row behind all others."""
        last = max((choice.position for choice in self.get_queryset()), default=-1)
        form.instance.position = last + 1 + self.forms.index(form)
        return super().save_new(form, commit)


class FurtherChoiceInline(StackedInline):
    """A tab of the agent's page; whoever may change the agent may change these."""

    model = FurtherChoice
    form = FurtherChoiceForm
    formset = FurtherChoiceFormSet
    tab = True
    extra = 0
    max_num = drafts.MAX_FURTHER * len(drafts.STAGES)
    verbose_name = "further choice"
    verbose_name_plural = "If a provider fails"
    ordering_field = "position"
    hide_ordering_field = True
    fields = (("stage", "account"), ("model", "voice"), "options", "position")

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Without decrypting the accounts' keys; voices with the names of their accounts, in one query."""
        if db_field.remote_field.model is Voice:
            kwargs["queryset"] = Voice.objects.select_related("account").defer("account__api_key")
        elif db_field.remote_field.model is ProviderAccount:
            kwargs["queryset"] = ProviderAccount.objects.all()
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_queryset(self, _request: HttpRequest) -> QuerySet[FurtherChoice]:
        """Whatever the user's permissions on the model, which has none of its own."""
        return FurtherChoice.objects.all()

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As on the agent."""
        return request.user.has_perm("agents.view_agent") or self._may_edit(request, obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As on the agent."""
        return self._may_edit(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """As on the agent."""
        return self._may_edit(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A choice is a part of the draft: who may change that may take it out."""
        return self._may_edit(request, obj)

    def _may_edit(self, request: HttpRequest, agent: Any) -> bool:
        return request.user.has_perm("agents.add_agent" if agent is None else "agents.change_agent")
