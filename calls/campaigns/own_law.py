"""What operators have added to the law, read from the database: once for a claim, a last look, a batch of people.

Nothing of it is kept between looks, so that a row counts from its commit.
"""

import datetime

from django.db.models import DateField

from calls.campaigns.law import Ceiling, Own
from calls.campaigns.windows import Span
from calls.models import Holiday, LegalWindow
from calls.prepared import Given, Prepared

DAYS = 7
_YESTERDAY_ANYWHERE = datetime.timedelta(days=2)
_WINDOWS = Prepared(LegalWindow.objects.order_by("pk"))
_HOLIDAYS = Prepared(
    Holiday.objects.filter(date__gte=Given("since", DateField())).order_by("date", "place").values_list("place", "date")
)


def read(*, now: datetime.datetime) -> Own:
    """Two small queries; holidays that are over everywhere are left out."""
    holidays = _HOLIDAYS.rows(since=(now - _YESTERDAY_ANYWHERE).date())
    return Own(tuple(ceiling(window) for window in _WINDOWS.rows()), tuple(holidays))


def ceiling(window: LegalWindow) -> Ceiling:
    """A row as the rule that it is. Raises TypeError or ValueError for a week that is none: nobody is called then."""
    week = tuple(tuple(Span(*span) for span in day) for day in window.week)
    if len(week) != DAYS:
        raise ValueError("a week has seven days")
    return Ceiling(window.place, week, window.source, window.looked_up)
