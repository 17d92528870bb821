"""Which consent a call needs: by what it is for, and where it goes."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.campaigns import consents
from calls.models import Campaign, Contact

pytestmark = pytest.mark.pure

PROVED = {"consent_at": datetime.date(2026, 5, 3), "consent_source": "web form"}


def obstacle(country: str, purpose: str, consent: str, **fields) -> str:
    return consents.obstacle(Contact(country=country, consent=consent, **fields), purpose=purpose)


@pytest.mark.parametrize(
    ("country", "purpose", "consent", "proof", "why"),
    [
        ("DE", "transactional", "", {}, ""),
        ("DE", "service", "express", {}, ""),
        ("DE", "service", "", {}, "no express consent is known, which service calls need"),
        ("DE", "promotional", "written", {}, ""),
        ("DE", "promotional", "express", PROVED, "no written consent is known, which promotional calls need"),
        ("US", "service", "express", {}, ""),
        ("US", "transactional", "express", {}, ""),
        ("US", "transactional", "written", {}, ""),
        (
            "US", "transactional", "", PROVED,
            "no express consent is known, which transactional calls to the United States need",
        ),
        ("US", "promotional", "express", PROVED, "no written consent is known, which promotional calls need"),
        ("US", "promotional", "written", PROVED, ""),
        (
            "US", "promotional", "written", PROVED | {"consent_at": None},
            "no date of the written consent is known, which promotional calls to the United States need",
        ),
        (
            "US", "promotional", "written", PROVED | {"consent_source": ""},
            "no source of the written consent is known, which promotional calls to the United States need",
        ),
        (
            "PR", "promotional", "written", {},
            "no date and source of the written consent is known, which promotional calls to the United States need",
        ),
        ("PR", "service", "", {}, "no express consent is known, which service calls need"),
        ("JM", "transactional", "", {}, ""),
    ],
)  # fmt: skip
def test_a_call_needs_the_consent_of_its_purpose_and_to_the_united_states_more(country, purpose, consent, proof, why):
    assert obstacle(country, purpose, consent, **proof) == why


PROOFS = st.fixed_dictionaries(
    {"consent_at": st.sampled_from([None, PROVED["consent_at"]]), "consent_source": st.sampled_from(["", "web form"])}
)
COUNTRIES = st.sampled_from(["US", "PR", "DE", "GB", "IN", "CA"])
CONSENTS = ["", "express", "written"]  # the weakest first


@given(COUNTRIES, st.sampled_from(Campaign.Purpose.values), st.sampled_from(CONSENTS), PROOFS)
def test_more_consent_never_stands_in_the_way_nor_a_purpose_that_asks_for_less(country, purpose, consent, proof):
    if not obstacle(country, purpose, consent, **proof):
        assert not any(obstacle(country, purpose, more, **proof) for more in CONSENTS[CONSENTS.index(consent) :])
        assert not obstacle(country, purpose, consent, **PROVED)
    if not obstacle(country, "promotional", consent, **proof):
        assert not any(obstacle(country, other, consent, **proof) for other in Campaign.Purpose.values)


@given(st.sampled_from(Campaign.Purpose.values), st.sampled_from(CONSENTS), PROOFS, COUNTRIES)
def test_whoever_may_be_called_in_the_united_states_might_be_anywhere(purpose, consent, proof, country):
    if not obstacle("US", purpose, consent, **proof):
        assert not obstacle(country, purpose, consent, **proof)
