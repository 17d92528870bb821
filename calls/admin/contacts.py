"""Lists of people who may be called, and the people themselves."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.core.files.uploadedfile import UploadedFile
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from agents.history import ReadOnlyHistoryAdmin
from calls.campaigns import copies, imports, people
from calls.campaigns.people import MAX_VARIABLES
from calls.campaigns.schedule import zones_of
from calls.campaigns.tables import TableError
from calls.models import Contact, ContactImport, ContactList
from calls.numbers import MAX_LENGTH, NumberRefused, country_names, parse
from calls.reports import masked

MAX_FILE = 30 * 1024 * 1024


def countries(empty: str) -> list[tuple[str, str]]:
    """Choices for a select."""
    return [("", empty), *country_names()]


class UploadForm(forms.Form):
    """A table of people."""

    file = forms.FileField(
        label="Table",
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": ".csv,.tsv,.txt,.xlsx"}),
        help_text="CSV or XLSX, one person on each row below a row of headers. At most 30 MB.",
    )
    country = forms.ChoiceField(
        required=False,
        label="Country of numbers without a country code",
        widget=UnfoldAdminSelectWidget(),
        help_text="Leave it open if all numbers begin with +.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["country"].choices = countries("All have one")  # type: ignore[attr-defined]

    def clean_file(self) -> UploadedFile:
        """Refuses at once what is too large to be read."""
        file: UploadedFile = self.cleaned_data["file"]
        if (file.size or 0) > MAX_FILE:
            raise forms.ValidationError("This file is larger than 30 MB: split it.")
        return file


@admin.register(ContactList)
class ContactListAdmin(ReadOnlyHistoryAdmin, ModelAdmin):
    """Lists, and the way into them."""

    list_display = ("name", "people", "created_by", "created_at")
    list_select_related = ("created_by",)
    search_fields = ("name",)
    fields = ("name",)
    nothing_yet = "No lists yet. Add one, then import people into it from a CSV or XLSX file."
    change_form_before_template = "admin/calls/contactlist/imports.html"
    warn_unsaved_form = True

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Its people and imports go with it: counted, since there may be very many."""
        lists = list(objs)
        people = Contact.objects.filter(contact_list__in=lists).count()
        imports = ContactImport.objects.filter(contact_list__in=lists).count()
        lacking = set() if self.has_delete_permission(request) else {self.opts.verbose_name}
        if people and not request.user.has_perm("calls.delete_contact"):
            lacking.add(Contact._meta.verbose_name)
        counted = {"contact lists": len(lists), "people": people, "imports": imports}
        return [str(each) for each in lists], counted, lacking, []

    def get_queryset(self, request: HttpRequest) -> QuerySet[ContactList]:
        # For the rows of the page alone: a join would group everybody first.
        people = Contact.objects.filter(contact_list=OuterRef("pk")).order_by().values("contact_list")
        counted = Subquery(people.annotate(made=Count("pk")).values("made"))
        return super().get_queryset(request).annotate(people_in_it=Coalesce(counted, 0))

    @display(description="People", ordering="people_in_it")
    def people(self, contact_list: ContactList) -> str:
        return f"{contact_list.people_in_it:,}"  # type: ignore[attr-defined]

    def save_model(self, request: HttpRequest, obj: ContactList, form: Any, change: bool) -> None:
        """Notes who made it."""
        if not change:
            obj.created_by_id = request.user.pk
        super().save_model(request, obj, form, change)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Shows how many are in it, its imports, and the button to those who may press it."""
        contact_list = self.get_object(request, unquote(object_id))
        context: dict[str, Any] = {}
        if contact_list is not None:
            may_see = request.user.has_perm("calls.view_contactimport")
            context = {
                "people": contact_list.contacts.count(),
                "imports": contact_list.imports.select_related("created_by")[:10] if may_see else [],
                "copy": copies.report(copy) if (copy := getattr(contact_list, "copy", None)) else "",
                "may_import": request.user.has_perm("calls.add_contactimport"),
            }
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **context})

    def response_add(
        self, request: HttpRequest, obj: ContactList, post_url_continue: str | None = None
    ) -> HttpResponse:
        """To the list's own page, where people are imported; the window that a related field opened closes itself."""
        if "_popup" in request.POST or "_addanother" in request.POST:
            return super().response_add(request, obj, post_url_continue)
        messages.success(request, f"The list “{obj}” was made. Now import people into it.")
        return HttpResponseRedirect(reverse("admin:calls_contactlist_change", args=[obj.pk]))

    def get_urls(self) -> list[URLPattern]:
        """Adds the upload."""
        view = self.admin_site.admin_view(self.upload_view)
        return [path("<uuid:list_id>/import/", view, name="calls_contactlist_import"), *super().get_urls()]

    def upload_view(self, request: HttpRequest, list_id: Any) -> HttpResponse:
        """Takes a table, and goes on to what its columns mean."""
        if not request.user.has_perm("calls.add_contactimport"):
            raise PermissionDenied
        contact_list = get_object_or_404(ContactList, pk=list_id)
        form = UploadForm(request.POST or None, request.FILES or None)
        if request.method == "POST" and form.is_valid():
            try:
                made = imports.upload(
                    contact_list=contact_list,
                    file=form.cleaned_data["file"],
                    country=form.cleaned_data["country"],
                    created_by_id=request.user.pk,
                )
            except TableError as error:
                form.add_error("file", str(error))
            else:
                return HttpResponseRedirect(reverse("admin:calls_contactimport_change", args=[made.pk]))
        context = {
            **self.admin_site.each_context(request),
            "title": f"Import people into {contact_list}",
            "opts": self.opts,
            "form": form,
            "contact_list": contact_list,
        }
        status = 422 if form.errors else 200
        return TemplateResponse(request, "admin/calls/contactlist/upload.html", context, status=status)


class ContactForm(forms.ModelForm):
    """One person, typed in; country and zones follow from the number."""

    number = forms.CharField(
        max_length=MAX_LENGTH,
        widget=UnfoldAdminTextInputWidget(),
        help_text="With its country code, such as +14155550100.",
    )

    class Meta:
        model = Contact
        fields = (
            "contact_list", "number", "name", "time_zone", "region", "language",
            "consent", "consent_at", "consent_source", "variables",
        )  # fmt: skip
        help_texts = {
            "variables": f'At most {MAX_VARIABLES}, such as {{"order_no": "A-17"}}.',
        }

    def clean_number(self) -> str:
        """Its one spelling, or what is wrong with it."""
        try:
            number = parse(self.cleaned_data["number"])
        except NumberRefused as refused:
            raise forms.ValidationError(f"This cannot be called: {refused}.") from None
        if number.refused_as:
            raise forms.ValidationError(f"This cannot be called: it is {number.refused_as}.")
        self.instance.country, self.instance.zones = number.country, list(number.zones)
        return number.e164

    def clean_time_zone(self) -> str:
        """A name that clocks are set by."""
        return self._read("time_zone", people.time_zone)

    def clean_language(self) -> str:
        """As en or en-US."""
        return self._read("language", people.language)

    def _read(self, field: str, reader: Any) -> str:
        try:
            return str(reader(self.cleaned_data[field].strip()))
        except ValueError as error:
            raise forms.ValidationError(f"This is {error}.") from None

    def clean_variables(self) -> dict[str, str]:
        """Names and texts only: they are put into what an agent says."""
        try:
            return people.typed_variables(self.cleaned_data["variables"])
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None


@admin.register(Contact)
class ContactAdmin(ModelAdmin):
    """People; numbers are whole only for those with ``calls.view_numbers``."""

    form = ContactForm
    list_display = ("who", "contact_list", "country", "show_zone", "consent", "created_at")
    list_filter = ("contact_list", "consent", "country")
    list_select_related = ("contact_list",)
    list_per_page = 50
    show_full_result_count = False
    search_fields = ("name",)
    search_help_text = "Name, or a whole number with its country code"
    autocomplete_fields = ("contact_list",)
    nothing_yet = "Nobody yet. Open a list under Contact lists and import people into it, or add one here."

    def get_fields(self, request: HttpRequest, obj: Contact | None = None) -> list[str]:
        """Whoever may not see a number may not edit it either."""
        fields = list(ContactForm.Meta.fields)
        if obj is not None and not request.user.has_perm("calls.view_numbers"):
            fields[fields.index("number")] = "show_number"
        return [*fields, "show_zone"] if obj else fields

    def get_readonly_fields(self, _request: HttpRequest, obj: Contact | None = None) -> tuple[str, ...]:
        return ("show_zone", "show_number", "contact_list") if obj else ()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Contact], search_term: str
    ) -> tuple[QuerySet[Contact], bool]:
        """A whole number is found by whoever knows it; its digits cannot be found out one by one."""
        try:
            number = parse(search_term)
        except NumberRefused:
            return super().get_search_results(request, queryset, search_term)
        return queryset.filter(number=number.e164), False

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        if request.user.has_perm("calls.view_numbers"):
            return self.list_display
        return tuple("who_masked" if name == "who" else name for name in self.list_display)

    @display(description="Person", header=True, ordering="name")
    def who(self, contact: Contact) -> list[str]:
        return [contact.name or contact.number, contact.number if contact.name else ""]

    @display(description="Person", header=True, ordering="name")
    def who_masked(self, contact: Contact) -> list[str]:
        number = masked(contact.number)
        return [contact.name or number, number if contact.name else ""]

    @display(description="Number")
    def show_number(self, contact: Contact) -> str:
        return masked(contact.number)

    @display(description="Local time of")
    def show_zone(self, contact: Contact) -> str:
        """Where they may be; unknown is why somebody is not called."""
        zones = zones_of(contact)
        if not zones:
            return "unknown: cannot be called"
        return ", ".join(zones[:3]) + (f" and {len(zones) - 3} more" if len(zones) > 3 else "")
