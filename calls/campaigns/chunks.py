"""What a round through a campaign's people does at a time, in one short transaction."""

from collections.abc import Callable
from typing import NamedTuple

CHUNK = 200  # people; of one transaction, for which all others wait who write to SQLite


class Chunk(NamedTuple):
    """Some people, looked at already; what came of it is to be written.

    Attributes:
        last: whom it passes last, for ``CampaignRound.after``.
        people: how many.
        write: under the campaign's lock; whoever was moved since they were read stays as they are.
    """

    last: str
    people: int
    write: Callable[[], None]
