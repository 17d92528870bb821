"""The campaign that is broken: by ``test_campaign`` in short, by ``benchmarks.campaign_chaos`` in full."""

# How many people, from which number, how many calls a second.
LAUNCH = """
import django, json, sys
django.setup()
from datetime import datetime, timezone as tz
from zoneinfo import ZoneInfo, available_timezones
from calls.campaigns import control, rounds
from calls.models import Campaign, Contact, ContactList, PhoneNumber, PlivoAccount
now = datetime.now(tz.utc)
zone = next(name for name in sorted(available_timezones()) if "/" in name and now.astimezone(ZoneInfo(name)).hour == 12)
people = ContactList.objects.create(name="People")
Contact.objects.bulk_create(
    (
        Contact(
            contact_list=people, number=f"+1415{2_000_000 + n}", country="US", region="TX", consent="written",
            time_zone=zone,
        )
        for n in range(int(sys.argv[1]))
    ),
    batch_size=500,
)
PlivoAccount.objects.update(calls_per_second=float(sys.argv[3]))
caller = PhoneNumber.objects.get(number=sys.argv[2])
campaign = Campaign.objects.create(
    name="Spring", agent=caller.agent, purpose="service", countries=["US"], week=[[[0, 1440]]] * 7, on_holidays=True,
    ring_s=3,
    retries={}, concurrency=1000, gap_hours=0, most_a_day=3, most_a_week=21,
)
campaign.contact_lists.add(people)
campaign.caller_numbers.add(caller)
control.launch(campaign, now=datetime.now(tz.utc))
while rounds.run(str(campaign.pk), clock=lambda: now):
    pass
"""
