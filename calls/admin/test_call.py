"""The test call on a campaign's rehearsal page."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone

from calls import trying_out
from calls.models import Campaign, Contact, VerifiedNumber
from calls.one_off import Refused
from calls.reports import masked

# The agent says to the user what is known of somebody on the lists.
NEEDED = ("calls.launch_campaign", "calls.view_contact")


def offer(request: HttpRequest, campaign: Campaign) -> dict[str, Any]:
    """What the rehearsal page offers: the user's confirmed numbers, and people with whose data to try it."""
    if request.user.pk is None or not request.user.has_perms(NEEDED):
        return {}
    whole = request.user.has_perm("calls.view_numbers")
    people = [
        (contact.pk, " ".join(filter(None, [contact.name, contact.number if whole else masked(contact.number)])))
        for contact in trying_out.samples(campaign)
    ]
    return {"may_test": True, "test_numbers": trying_out.numbers_of(request.user.pk), "test_people": people}


def place(request: HttpRequest, campaign: Campaign) -> HttpResponse:
    """Calls the user, and says so; the caller has looked at their permission, and logs it."""
    number = _chosen(VerifiedNumber.objects.filter(user_id=request.user.pk or 0), request.POST.get("number"))
    people = Contact.objects.filter(contact_list__in=campaign.contact_lists.all())
    sample = _chosen(people, request.POST.get("person"))
    try:
        call = trying_out.call(campaign, number=number, sample=sample, now=timezone.now())
    except Refused as refused:
        messages.error(request, f"{number} was not called: {refused}.")
        return HttpResponseRedirect(reverse("admin:calls_campaign_rehearsal", args=[campaign.pk]))
    messages.success(request, f"{number} rings within seconds.")
    if request.user.has_perm("calls.view_call"):
        return HttpResponseRedirect(reverse("admin:calls_call_change", args=[call.pk]))
    return HttpResponseRedirect(reverse("admin:calls_campaign_rehearsal", args=[campaign.pk]))


def _chosen(rows: Any, pk: str | None) -> Any:
    try:
        return get_object_or_404(rows.distinct(), pk=pk)
    except ValidationError:  # no id at all
        raise Http404 from None
