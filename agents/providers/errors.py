"""How a provider call fails: may it be tried again, whose fault is it, what can an operator do."""

from enum import StrEnum
from typing import Literal

import msgspec

Stage = Literal["stt", "llm", "tts"]
Fault = Literal["account", "provider", "network", "parley"]
Then = Literal["again", "back_off", "move", "stop"]


class ErrorKind(StrEnum):
    """Why a provider call failed; ``FACTS`` says what to make of each."""

    REFUSED = "refused"  # no connection: DNS, TCP, TLS
    TIMEOUT = "timeout"  # one of the four clocks ran out
    STALLED = "stalled"  # it began and then fell silent
    DROPPED = "dropped"  # the connection broke in mid-answer
    UNAUTHORISED = "unauthorised"  # bad or missing key
    FORBIDDEN = "forbidden"  # the key may not do this
    NOT_FOUND = "not_found"  # model or voice unknown
    RATE_LIMITED = "rate_limited"  # too many at once; try again
    OUT_OF_CREDIT = "out_of_credit"  # quota or payment
    BAD_REQUEST = "bad_request"  # we sent what the provider does not take
    SERVER_ERROR = "server_error"  # 5xx, or "system busy"
    GARBAGE = "garbage"  # an answer that is not the protocol
    CONTENT_FILTER = "content_filter"  # the provider declined to answer


class ErrorFacts(msgspec.Struct, frozen=True):
    """The facts of one kind of failure.

    Attributes:
        remedy: one sentence for an operator.
        then: what the same piece of work does next where the agent has further choices: ask the same one again at once,
            or after a short wait; move on; or stop, since another choice would not do better.
    """

    retryable: bool
    fault: Fault
    remedy: str
    then: Then = "move"


FACTS: dict[ErrorKind, ErrorFacts] = {
    ErrorKind.REFUSED: ErrorFacts(
        True, "network", "Parley could not connect: check the base URL, DNS and the server's firewall."
    ),
    ErrorKind.TIMEOUT: ErrorFacts(
        True, "provider", "The provider did not answer in time: look at its status page, or choose a faster model."
    ),
    ErrorKind.STALLED: ErrorFacts(True, "provider", "The provider stopped in mid-answer: look at its status page."),
    ErrorKind.DROPPED: ErrorFacts(
        True, "network", "The connection broke in mid-answer; it is tried again by itself.", "again"
    ),
    ErrorKind.UNAUTHORISED: ErrorFacts(
        False, "account", "The provider does not accept the key: enter a valid key in the account."
    ),
    ErrorKind.FORBIDDEN: ErrorFacts(
        False, "account", "The key may not use this model or voice: change the key's permissions at the provider."
    ),
    ErrorKind.NOT_FOUND: ErrorFacts(
        False, "account", "The provider does not know this model or voice: choose another in the agent."
    ),
    ErrorKind.RATE_LIMITED: ErrorFacts(
        True, "account", "Too many requests at once for this account: raise its limit at the provider."
    ),
    ErrorKind.OUT_OF_CREDIT: ErrorFacts(False, "account", "The account has no credit left: top it up at the provider."),
    ErrorKind.BAD_REQUEST: ErrorFacts(
        False, "parley", "The provider rejected the request: check the model, the voice and their options in the agent."
    ),
    ErrorKind.SERVER_ERROR: ErrorFacts(
        True, "provider", "The provider has a fault: look at its status page.", "back_off"
    ),
    ErrorKind.GARBAGE: ErrorFacts(
        True, "provider", "The answer was not the expected protocol: check that the base URL is the API's."
    ),
    ErrorKind.CONTENT_FILTER: ErrorFacts(
        False, "provider", "The provider's content filter declined to answer: reword the prompt.", "stop"
    ),
}


class ProviderError(Exception):
    """A failed provider call.

    Attributes:
        kind: the class of failure.
        provider: adapter name.
        stage: "stt", "llm" or "tts".
        detail: the provider's own words, shortened and without any key; for the admin, never for the caller.
        retryable: whether the same call may succeed if made again.
        fault: whom it lies with: "account" (key, credit), "provider", "network" or "parley" (our request).
        retry_after: s after which the provider wants to be asked again; None when it does not say.
    """

    def __init__(
        self, kind: ErrorKind, *, provider: str, stage: Stage, detail: str = "", retry_after: float | None = None
    ) -> None:
        self.kind = kind
        self.provider = provider
        self.stage = stage
        self.detail = detail[:500]
        self.retry_after = retry_after
        self.retryable = FACTS[kind].retryable
        self.fault = FACTS[kind].fault
        super().__init__(f"{provider} {stage}: {kind.value}")

    @property
    def remedy(self) -> str:
        """What an operator can do about it, one sentence."""
        return FACTS[self.kind].remedy
