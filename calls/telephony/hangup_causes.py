"""What became of a call, from what the carrier says of its end: the code first, then the word, then the length."""

from typing import Literal

Outcome = Literal["completed", "no_answer", "busy", "declined", "cancelled", "machine", "failed"]

# Plivo, "hangup causes": 4xxx is a normal end, 1xxx a cancel, 2xxx-3xxx the far end, 5xxx and 7xxx-8xxx a fault.
_BY_CODE: dict[int, Outcome] = {
    1000: "cancelled",
    1010: "failed",
    1020: "failed",
    3000: "no_answer",
    3010: "busy",
    3020: "declined",
    3070: "no_answer",
    3100: "busy",
    3110: "declined",
    3130: "declined",
    4000: "completed",
    4010: "completed",
    4020: "completed",
    4030: "completed",
    6000: "completed",
    6010: "no_answer",
    6020: "failed",
    9000: "cancelled",
    9100: "machine",
    9110: "no_answer",
}
_BY_WORD: dict[str, Outcome] = {
    "NORMAL_CLEARING": "completed",
    "USER_BUSY": "busy",
    "NO_ANSWER": "no_answer",
    "NO_USER_RESPONSE": "no_answer",
    "ALLOTTED_TIMEOUT": "completed",
    "CALL_REJECTED": "declined",
    "ORIGINATOR_CANCEL": "cancelled",
    # HangupCauseName, which records give in the word's place.
    "NORMAL HANGUP": "completed",
    "END OF XML INSTRUCTIONS": "completed",
    "SCHEDULED HANGUP": "completed",
    "BUSY LINE": "busy",
    "BUSY EVERYWHERE": "busy",
    "NO ANSWER": "no_answer",
    "RING TIMEOUT REACHED": "no_answer",
    "REJECTED": "declined",
    "DECLINED": "declined",
    "CANCELED": "cancelled",
    "MACHINE DETECTED": "machine",
}
# The CallStatus of a hang-up without cause, kept in the cause's place with this prefix.
STATUS_PREFIX = "status:"
_BY_STATUS: dict[str, Outcome] = {
    "completed": "completed",
    "busy": "busy",
    "failed": "failed",
    "timeout": "no_answer",
    "no-answer": "no_answer",
    "cancel": "cancelled",
}


def outcome(*, code: int | None, cause: str, answered: bool) -> Outcome:
    """What became of a call.

    Args:
        code: HangupCauseCode, if the carrier gave one.
        cause: HangupCause, or ``status:`` and the CallStatus where it gave none.
        answered: whether anybody picked up.
    """
    result: Outcome | None = None
    if code is not None and code != 0:
        result = _BY_CODE.get(code, "failed")
    if result is None and cause:
        status = cause.removeprefix(STATUS_PREFIX)
        result = _BY_STATUS.get(status) if status != cause else _BY_WORD.get(cause.upper(), "failed")
    if result is None:
        result = "completed" if answered else "failed"
    if result == "cancelled" and answered:
        return "completed"  # a REST hang-up of a running call is reported as a cancel too
    if result == "completed" and not answered:
        return "no_answer"  # a normal end of a ring that nobody picked up
    return result
