"""People whom a program adds to a list, a few hundred at once, treated as an import treats its rows.

Sent twice it adds nobody twice: whoever is in the list already stays as they are.
"""

from collections.abc import Sequence

import msgspec
from django.db import transaction

from calls.campaigns.imports import IN_LIST, contact_of
from calls.campaigns.people import Person, RowRefused
from calls.models import Contact, ContactList
from calls.suppression import suppressed


class Addition(msgspec.Struct, frozen=True):
    """What became of one person.

    Attributes:
        contact: their row, where it was added.
        why: they were not, because of this.
        in_list: ... because they are in it.
        do_not_call: their number is on the do-not-call list; that keeps nobody out of a list, and beats every list.
    """

    contact: Contact | None = None
    why: str = ""
    in_list: bool = False
    do_not_call: bool = False


def add(contact_list: ContactList, people: Sequence[Person | RowRefused]) -> list[Addition]:
    """Puts people into a list, in one transaction.

    Args:
        people: some hundreds at most; of those that were refused the reason is handed through.
    """
    rows: dict[str, int] = {}
    found: list[Addition | None] = []
    for at, person in enumerate(people):
        if isinstance(person, RowRefused):
            found.append(Addition(why=str(person)))
        elif person.number in rows:
            found.append(Addition(why=f"the number stands in entry {rows[person.number]} already"))
        else:
            rows[person.number] = at
            found.append(None)
    unwanted = suppressed(rows)
    new = {person.number: contact_of(person, contact_list.pk) for at, person in enumerate(people)
           if isinstance(person, Person) and rows[person.number] == at}  # fmt: skip
    with transaction.atomic():
        # Whoever another request adds meanwhile is in the list, too; in one order for all, so that of two requests
        # neither waits for the other in turn.
        Contact.objects.bulk_create([new[number] for number in sorted(new)], ignore_conflicts=True)
        added = set(Contact.objects.filter(pk__in=[each.pk for each in new.values()]).values_list("number", flat=True))
    for number, at in rows.items():
        unwelcome = number in unwanted
        found[at] = (
            Addition(contact=new[number], do_not_call=unwelcome)
            if number in added
            else Addition(why=IN_LIST, in_list=True, do_not_call=unwelcome)
        )
    return [each for each in found if each is not None]
