"""The law as Parley knows it, to be read, and what operators add to it: narrower hours and holidays."""

import itertools
from typing import Any

import msgspec
from django import forms
from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import RangeDateFilter
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelect2Widget

from agents.history import ReadOnlyHistoryAdmin
from calls.admin.week import WEEK, WeekForm, written_day
from calls.campaigns import closed_days, control, law
from calls.models import Holiday, LegalWindow
from calls.numbers import country_names

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def places() -> list[tuple[str, str]]:
    """What a rule may be of: countries by name, then the states of the United States."""
    return [*country_names(), *((f"US-{state}", f"US-{state}") for state in sorted(law.US_STATES))]


def written_week(week: Any) -> str:
    """ "Mon-Fri 9:00-18:00; Sat 9:00-12:00; Sun none"."""
    parts = []
    for _, group in itertools.groupby(zip(DAYS, week, strict=True), key=lambda pair: [list(span) for span in pair[1]]):
        days = list(group)
        name = days[0][0] if len(days) == 1 else f"{days[0][0]}-{days[-1][0]}"
        parts.append(f"{name} {written_day(days[0][1]) or 'none'}")
    return "; ".join(parts)


def written_cap(cap: law.Cap | None) -> tuple[str, ...]:
    """What a country's cap says; nothing where it has none."""
    return () if cap is None else (f"at most {cap.most} calls for promotion in {cap.days} days ({cap.source})",)


class Shipped(msgspec.Struct, frozen=True):
    """A row of the table of what Parley knows."""

    place: str
    hours: str
    source: str
    looked_up: Any


def shipped() -> list[Shipped]:
    """What Parley knows, for a reader."""
    named = {law.DEFAULT: "Every other country", law.UNKNOWN_STATE: "US, state not known"}
    known = [*law.CEILINGS.values(), law.UNKNOWN_STATE, law.DEFAULT]
    return [
        Shipped(
            named.get(each, each.place),
            "; ".join(
                (
                    written_week(each.week),
                    *(("public holidays none",) if each.closed_on_holidays else ()),
                    *written_cap(law.CAPS.get(each.place)),
                )
            ),
            each.source,
            each.looked_up,
        )
        for each in known
    ]


class LawAdmin(ModelAdmin):
    """Whatever is written or deleted changes when people of campaigns are due who wait already."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        control.law_changed(now=timezone.now())

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        super().delete_model(request, obj)
        control.law_changed(now=timezone.now())

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        with transaction.atomic():
            super().delete_queryset(request, queryset)
            control.law_changed(now=timezone.now())


class LegalWindowForm(WeekForm):
    """The place by its name."""

    place = forms.ChoiceField(choices=lambda: [("", "Choose"), *places()], widget=UnfoldAdminSelect2Widget())

    class Meta:
        model = LegalWindow
        fields = ("place", "source", "looked_up", "note")


@admin.register(LegalWindow)
class LegalWindowAdmin(ReadOnlyHistoryAdmin, LawAdmin):
    """Both kinds of rules on one page. Whatever is written here can only narrow."""

    form = LegalWindowForm
    list_display = ("place", "hours", "source", "looked_up", "note")
    list_filter = ("place",)
    search_fields = ("place", "source", "note")
    list_after_template = "admin/calls/legalwindow/shipped.html"
    nothing_yet = "You have added none: the hours below hold. Add a place to narrow them."
    warn_unsaved_form = True
    fieldsets = (
        (None, {"fields": ("place", "source", "looked_up", "note")}),
        (
            "Hours",
            {
                "fields": WEEK,
                "description": "In the time of whoever is called. Only what this row and every other rule of the place "
                "allow is allowed. Write 9:00-12:00, 13:00-18:00; on a day that is left empty nobody is called.",
            },
        ),
    )

    @display(description="Hours")
    def hours(self, window: LegalWindow) -> str:
        return written_week(window.week)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """With what Parley knows below what operators have added."""
        return super().changelist_view(request, {**(extra_context or {}), "shipped": shipped()})


class HolidayForm(forms.ModelForm):
    """The place by its name."""

    place = forms.ChoiceField(
        required=False, choices=lambda: [("", "Everywhere"), *places()], widget=UnfoldAdminSelect2Widget()
    )

    class Meta:
        model = Holiday
        fields = ("date", "place", "name")


@admin.register(Holiday)
class HolidayAdmin(LawAdmin):
    """Holidays beside those that are known for a country and its parts."""

    form = HolidayForm
    list_display = ("date", "name", "where", "added_by")
    list_filter = (("date", RangeDateFilter), "place")
    list_filter_submit = True
    list_select_related = ("added_by",)
    search_fields = ("name", "place")
    list_before_template = "admin/calls/holiday/known.html"
    nothing_yet = "You have added none: public holidays are known by country and state."

    @display(description="Where", ordering="place")
    def where(self, holiday: Holiday) -> str:
        return holiday.place or "Everywhere"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Says of which countries no holidays are known."""
        known = closed_days.known_countries()
        context = {"unknown": [name for code, name in country_names() if code not in known], "known": len(known)}
        return super().changelist_view(request, {**(extra_context or {}), **context})

    def save_model(self, request: HttpRequest, obj: Holiday, form: Any, change: bool) -> None:
        """Notes who added it."""
        if not change:
            obj.added_by_id = request.user.pk
        super().save_model(request, obj, form, change)
