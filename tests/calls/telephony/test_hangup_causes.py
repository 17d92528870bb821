"""Outcomes: the carrier's code first, then its word, then what else is known."""

import pytest

from calls.telephony.hangup_causes import outcome

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("code", "cause", "answered", "result"),
    [
        (4000, "NORMAL_CLEARING", True, "completed"),
        (4010, "NORMAL_CLEARING", True, "completed"),
        (6000, "", True, "completed"),
        (4000, "NORMAL_CLEARING", False, "no_answer"),
        (3010, "USER_BUSY", False, "busy"),
        (3010, "NORMAL_CLEARING", False, "busy"),
        (3000, "", False, "no_answer"),
        (6010, "NO_ANSWER", False, "no_answer"),
        (3020, "", False, "declined"),
        (3110, "", False, "declined"),
        (1000, "ORIGINATOR_CANCEL", False, "cancelled"),
        (1000, "", True, "completed"),
        (1010, "", False, "failed"),
        (2000, "", False, "failed"),
        (5030, "", False, "failed"),
        (7011, "", False, "failed"),
        (8011, "", True, "failed"),
        (9100, "NORMAL_CLEARING", True, "machine"),
        (4999, "", True, "failed"),
        (0, "USER_BUSY", False, "busy"),
        (None, "USER_BUSY", False, "busy"),
        (None, "Busy Line", False, "busy"),
        (None, "NORMAL_CLEARING", True, "completed"),
        (None, "SOMETHING_NEW", True, "failed"),
        (None, "status:no-answer", False, "no_answer"),
        (None, "status:completed", True, "completed"),
        (None, "status:completed", False, "no_answer"),
        (None, "status:odd", True, "completed"),
        (None, "", True, "completed"),
        (None, "", False, "failed"),
    ],
)
def test_the_outcome_follows_the_most_telling_sign(code, cause, answered, result):
    assert outcome(code=code, cause=cause, answered=answered) == result
