"""Voices, fetched from their provider or typed in by id."""

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from agents.admin.fields import OptionsField
from agents.models import Voice


class VoiceForm(forms.ModelForm):
    """A voice with its settings as lines."""

    settings = OptionsField(
        placeholder="stability = 0.5\nspeed = 1.0",
        help_text="One per line, in the provider's own names, such as stability = 0.5. Empty: the provider's defaults.",
    )

    class Meta:
        model = Voice
        fields = ("name", "account", "external_id", "language", "description", "settings")


@admin.register(Voice)
class VoiceAdmin(ModelAdmin):
    """Lists voices by account; a voice that agents use cannot be deleted."""

    form = VoiceForm
    list_display = ("name", "account", "language", "external_id", "synced_at")
    list_filter = ("account",)
    nothing_yet = (
        "No voices yet. Open an account under AI providers and press “Fetch voices”, or add a voice by its id."
    )
    search_fields = ("name", "external_id", "description")
    list_select_related = ("account",)
    warn_unsaved_form = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Voice]:
        """Without decrypting the accounts' keys."""
        return super().get_queryset(request).select_related("account").defer("account__api_key")
