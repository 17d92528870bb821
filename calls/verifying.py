"""An operator shows that a number is theirs: Parley rings it, and they enter the code that stands on their screen.

The call is a single call like any other, with nobody to talk to: Plivo reads a sentence out and collects the keys.
Called by the admin and, for what is said and entered, by ``answers`` and the webhooks.
"""

import datetime
import secrets
import string

from django.db import transaction
from django.db.models import F
from django.utils.crypto import salted_hmac

from calls import live_calls, one_off
from calls.addresses import call_url
from calls.campaigns.people import Person
from calls.models import Call, Campaign, DoNotCall, OneOffCall, PhoneNumber, VerifiedNumber
from calls.telephony.xml import Document

DIGITS = 6
VALID = datetime.timedelta(minutes=10)
TRIES = 3
MOST_A_DAY = 10  # such calls of one operator in 24 h, to whatever numbers: each costs, and may ring a stranger
ASKED = 3  # how often the sentence is said before silence ends the call
WAIT_S = 10
LANGUAGE = "en-US"
OPT_OUT_KEY = live_calls.OPT_OUT_KEY
SENTENCE = (
    "To confirm that Parley may call this number, enter the code shown on your screen. "
    f"If you did not ask for this call, press {OPT_OUT_KEY}, and you will not be called again."
)
WRONG = "That was not the code."
CONFIRMED = "Thank you, confirmed. Goodbye."
REFUSED = "The code was not entered. Goodbye."
OPTED_OUT = "You will not be called again. Goodbye."


def person_of(number: VerifiedNumber, *, variables: dict[str, str] | None = None) -> Person:
    """The owner of a test number, to be called."""
    return Person(
        number=number.number,
        country=number.country,
        zones=tuple(number.zones),
        time_zone=number.time_zone,
        region=number.region,
        consent="express",  # whoever asks for the call says that the number is theirs, and then shows it
        consent_source="an operator, of their own number",
        variables=variables or {},
    )


def begin(number: VerifiedNumber, *, caller: PhoneNumber, now: datetime.datetime) -> str:
    """Has the number rung; the code of an earlier call no longer counts.

    Returns:
        The code, to be shown to the operator and kept nowhere.

    Raises:
        one_off.Refused: it may not be called, or not now.
    """
    day = now - datetime.timedelta(days=1)
    made = OneOffCall.objects.filter(
        origin=OneOffCall.Origin.VERIFICATION, call__started_by=number.user_id, call__created_at__gt=day
    )
    if made.count() >= MOST_A_DAY:
        raise one_off.Refused("not_now", f"you have had {MOST_A_DAY} numbers rung in 24 hours: go on tomorrow")
    code = _drawn()
    with transaction.atomic():
        call, _ = one_off.start(
            one_off.Order(
                origin=OneOffCall.Origin.VERIFICATION,
                version=None,
                caller=caller,
                person=person_of(number),
                purpose=Campaign.Purpose.TRANSACTIONAL,
                by="an operator, to confirm a test number",
                started_by_id=number.user_id,
            ),
            now=now,
        )
        VerifiedNumber.objects.filter(pk=number.pk).update(
            code_hash=_hashed(number, call, code), code_expires_at=now + VALID, tries=0, call=call
        )
    return code


def asking(call: Call) -> Document | None:
    """What is said when the number is picked up; None where the call is none of these, or another has followed it."""
    return _ask(call) if VerifiedNumber.objects.filter(call=call).exists() else None


def entered(call: Call, *, digits: str, replay: bool, now: datetime.datetime) -> Document:
    """What is said after keys were pressed; the third wrong code ends the call, and no further one counts.

    No code begins with the key that opts out (``_drawn``): it counts however often it is pressed, and though the
    operator has taken their number back meanwhile.
    """
    number = VerifiedNumber.objects.filter(call=call).first()
    if digits.startswith(OPT_OUT_KEY):
        if not replay:
            live_calls.opt_out(call_id=call.pk, source=DoNotCall.Source.KEY, evidence=f"pressed {OPT_OUT_KEY}", now=now)
            if number is not None:
                _void(number)
        return _bye(OPTED_OUT)
    if number is None:
        return Document().hang_up()
    if not replay:
        _try(number, call, digits, now)
    if number.verified_at is not None and number.verified_at >= call.created_at:
        return _bye(CONFIRMED)
    if number.tries >= TRIES or not number.code_hash:
        return _bye(REFUSED)
    return _ask(call, before=WRONG)


def _try(number: VerifiedNumber, call: Call, digits: str, now: datetime.datetime) -> None:
    """Counts first, then compares: of two requests at once neither is free."""
    open_ = VerifiedNumber.objects.filter(pk=number.pk, call=call, tries__lt=TRIES, code_expires_at__gt=now)
    if not open_.exclude(code_hash="").update(tries=F("tries") + 1):
        _void(number)
    elif secrets.compare_digest(number.code_hash, _hashed(number, call, digits)):
        VerifiedNumber.objects.filter(pk=number.pk, call=call).update(verified_at=now, code_hash="")
    number.refresh_from_db()


def _void(number: VerifiedNumber) -> None:
    VerifiedNumber.objects.filter(pk=number.pk).update(code_hash="", code_expires_at=None)
    number.code_hash = ""


def _drawn() -> str:
    """A code that does not begin like an opt-out: Plivo sends the first key alone when the next is long in coming."""
    first = secrets.choice([digit for digit in string.digits if digit != OPT_OUT_KEY])
    return first + "".join(secrets.choice(string.digits) for _ in range(DIGITS - 1))


def _hashed(number: VerifiedNumber, call: Call, code: str) -> str:
    """Keyed, since so few codes are soon tried out on a plain hash."""
    return salted_hmac(f"calls.verifying:{number.pk}:{call.pk}", code, algorithm="sha256").hexdigest()


def _ask(call: Call, *, before: str = "") -> Document:
    document = Document().speak(before, language=LANGUAGE)
    action_url = call_url(call.public_id, "digits")
    document.get_digits(SENTENCE, language=LANGUAGE, action_url=action_url, digits=DIGITS, wait_s=WAIT_S, times=ASKED)
    return document.speak(REFUSED, language=LANGUAGE).hang_up()


def _bye(text: str) -> Document:
    return Document().speak(text, language=LANGUAGE).hang_up()
