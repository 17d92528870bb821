"""How many calls a Plivo account may carry at once, where it has a limit, as in India: Plivo refuses what is above.

Called by whoever claims or orders a call, within the transaction that writes its row.
"""

import uuid
from collections.abc import Iterable

from django.db.models import Count

from calls.models import Call, PlivoAccount
from calls.models.call import ACTIVE


def free(accounts: Iterable[PlivoAccount]) -> dict[uuid.UUID, int]:
    """Of each account that has a limit, how many more calls may be begun, calls that came in counted; 0 or more.

    The accounts are locked until the transaction ends, so that two claims do not both take the last line.
    """
    limited = sorted({account.pk for account in accounts if account.max_calls is not None})
    if not limited:
        return {}
    rows = PlivoAccount.objects.select_for_update(no_key=True).filter(pk__in=limited).order_by("pk")
    limits = dict(rows.values_list("pk", "max_calls"))
    active = Call.objects.filter(plivo_account__in=limited, status__in=ACTIVE).order_by()
    taken = dict(active.values_list("plivo_account").annotate(calls=Count("pk")))
    return {pk: max(0, most - taken.get(pk, 0)) for pk, most in limits.items() if most is not None}
