"""The price table in the admin: what providers and Plivo charge, by the day from which it holds."""

from typing import Any

from django import forms
from django.contrib import admin
from unfold.admin import ModelAdmin

from agents.history import ReadOnlyHistoryAdmin
from calls.models import Price
from calls.models.price import ANY, PLIVO
from calls.numbers import country_names

Unit = Price.Unit


class PriceForm(forms.ModelForm):
    """Refuses a price that nothing would ever be found by."""

    class Meta:
        model = Price
        fields = ("provider", "model", "unit", "usd", "valid_from", "source")

    def clean(self) -> dict[str, Any]:
        """Plivo is priced by a country's minute."""
        data = super().clean() or self.cleaned_data
        if data.get("provider") == PLIVO:
            if data.get("model", ANY) not in {ANY, *dict(country_names())}:
                self.add_error("model", "Write a country's two letters, such as US, or * for all others.")
            if data.get("unit", Unit.MINUTE) != Unit.MINUTE:
                self.add_error("unit", "Plivo charges calls by the minute.")
        return data


@admin.register(Price)
class PriceAdmin(ReadOnlyHistoryAdmin, ModelAdmin):
    """A new price is a new row: changing an old one changes what past calls are said to have cost."""

    form = PriceForm
    list_display = ("provider", "model", "unit", "usd", "valid_from", "source")
    list_filter = ("provider", "unit")
    search_fields = ("model", "source")
    nothing_yet = (
        "No prices yet, so no costs are known. Add what your providers and Plivo charge, from their price lists."
    )
    list_before_template = "admin/calls/price/how.html"
    warn_unsaved_form = True
