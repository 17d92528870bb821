"""What a sandbox is told when it starts: address, parts, accounts, time scale. Used by app, __main__ and the parts.

Everything here is fixed for the life of the process; what a test wants to switch while it runs goes through /control/.
"""

from __future__ import annotations

import dataclasses

PARTS = ("plivo", "openai", "elevenlabs")
DEMO_AUTH_ID = "MADEMOPARLEYSANDBOX0"  # MA and 18 characters, as Plivo's
DEMO_AUTH_TOKEN = "demo-token-of-the-sandbox-no-secret"  # noqa: S105 (printed in the README)
DEMO_NUMBER = "15550100100"


class ConfigError(ValueError):
    """A setting of the sandbox is wrong; the message says which."""


@dataclasses.dataclass(frozen=True)
class Account:
    """A Plivo account or subaccount. Several tokens stand for a rotation: each signs, any of them logs in."""

    auth_id: str
    tokens: tuple[str, ...]
    parent: str = ""
    numbers: tuple[str, ...] = ()
    utc_offset_minutes: int = 0

    def __post_init__(self) -> None:
        """Refuse what Plivo's SDK would refuse."""
        prefix = "SA" if self.parent else "MA"
        rest = self.auth_id[2:]
        if self.auth_id[:2] != prefix or len(rest) != 18 or not rest.isalnum() or rest != rest.upper():
            message = f"auth_id {self.auth_id!r}: {prefix} and 18 of A-Z, 0-9 are expected"
            raise ConfigError(message)
        if not self.tokens or not all(self.tokens):
            message = f"account {self.auth_id} has no auth_token"
            raise ConfigError(message)


@dataclasses.dataclass
class Address:
    """Where the sandbox is reached; known only when it serves, since port 0 takes any free one."""

    url: str = ""


DEMO_ACCOUNT = Account(auth_id=DEMO_AUTH_ID, tokens=(DEMO_AUTH_TOKEN,), numbers=(DEMO_NUMBER,))


@dataclasses.dataclass(frozen=True)
class SandboxConfig:
    """Settings of one sandbox process.

    `time_scale` multiplies every wait outside audio (ringing, retries, provider latencies): 0.1 makes them ten times
    shorter. Audio itself always runs in real time. `seed` fixes all that is random.
    """

    host: str = "127.0.0.1"
    port: int = 9000
    parts: frozenset[str] = frozenset(PARTS)
    accounts: tuple[Account, ...] = (DEMO_ACCOUNT,)
    time_scale: float = 1.0
    seed: int = 1
    keep_audio: bool = True
    recording_auth: bool = False

    def __post_init__(self) -> None:
        """Refuse unknown parts and a scale that would stop or reverse time."""
        unknown = self.parts - set(PARTS)
        if unknown:
            message = f"unknown parts {', '.join(sorted(unknown))}; there are: {', '.join(PARTS)}"
            raise ConfigError(message)
        if not 0 <= self.time_scale <= 100:
            message = f"time_scale {self.time_scale} is not between 0 and 100"
            raise ConfigError(message)


def parse_account(text: str) -> Account:
    """`AUTH_ID:TOKEN[+TOKEN2][@PARENT][=NUMBER,NUMBER]` from the command line. Raises ConfigError."""
    login, _, numbers = text.partition("=")
    login, _, parent = login.partition("@")
    auth_id, _, tokens = login.partition(":")
    return Account(
        auth_id=auth_id,
        tokens=tuple(tokens.split("+")),
        parent=parent,
        numbers=tuple(number for number in numbers.split(",") if number),
    )
