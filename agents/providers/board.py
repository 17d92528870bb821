"""Which models of which accounts serve: one ``Board`` in each process, asked and told by the chains of its calls.

Nothing here waits: ``streaming.health`` exchanges what boards know between processes and makes the trials.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence

import msgspec

from agents.providers.base import ProviderConfig
from agents.providers.breaker import (
    NOT_THE_PROVIDERS,
    Breaker,
    Rules,
    Tally,
    Trouble,
    after_answer,
    after_failure,
    counted,
    is_due,
    latest,
    on_trial,
)
from agents.providers.errors import ErrorKind, ProviderError, Stage

FORGET_AFTER_S = 3600.0  # nobody has asked for it: its trials end, and it is new again


class Service(msgspec.Struct, frozen=True):
    """One model of one account. ``mark`` changes with key and address: another key is another service."""

    stage: Stage
    provider: str
    account_id: str
    model: str
    mark: str


class Standing(msgspec.Struct, frozen=True):
    """What one process knows of a service, for the others and for the admin."""

    service: Service
    breaker: Breaker
    tally: Tally


def service_of(stage: Stage, config: ProviderConfig) -> Service:
    """The service that a configuration asks for."""
    mark = hashlib.sha256(f"{config.base_url}\n{config.api_key}".encode()).hexdigest()[:12]
    return Service(stage, config.provider, config.account_id, config.model, mark)


class _Entry:
    """What the board keeps of one service."""

    def __init__(self) -> None:
        self.breaker = Breaker()
        self.tally = Tally()
        self.others: tuple[Tally, ...] = ()
        self.in_a_row = 0
        self.config: ProviderConfig | None = None
        self.asked_at = 0.0


class Board:
    """The services that the calls of this process use.

    Args:
        clock: s since 1970.
    """

    def __init__(self, *, clock: Callable[[], float], rules: Rules | None = None) -> None:
        self._clock = clock
        self._rules = rules or Rules()
        self._entries: dict[Service, _Entry] = {}

    def order(self, stage: Stage, configs: Sequence[ProviderConfig]) -> tuple[int, ...]:
        """In which order to ask: those that serve as the agent has them, then those that rest."""
        resting = [self._entry(stage, config).breaker.state != "closed" for config in configs]
        return tuple(sorted(range(len(configs)), key=lambda index: resting[index]))

    def worked(self, stage: Stage, config: ProviderConfig, *, first_ms: int | None = None) -> None:
        """An answer has begun, after ``first_ms``."""
        if first_ms is not None and first_ms > self._rules.slow_ms:
            words = f"the answer began after {first_ms / 1000:.1f} s"
            self.failed(ProviderError(ErrorKind.TIMEOUT, provider=config.provider, stage=stage, detail=words), config)
            return
        entry, now = self._entry(stage, config), self._clock()
        entry.in_a_row = 0
        entry.tally = counted(entry.tally, good=True, now=now, rules=self._rules)
        entry.breaker = after_answer(entry.breaker, now=now)

    def failed(self, error: ProviderError, config: ProviderConfig) -> None:
        """A request, or the session that was to serve it, has failed."""
        if error.kind in NOT_THE_PROVIDERS:
            return
        entry, now = self._entry(error.stage, config), self._clock()
        entry.in_a_row += 1
        entry.tally = counted(entry.tally, good=False, now=now, rules=self._rules)
        entry.breaker = after_failure(
            entry.breaker,
            Trouble(error.kind, error.detail, now),
            tallies=(entry.tally, *entry.others),
            in_a_row=entry.in_a_row,
            rules=self._rules,
        )

    # --- the other processes, and trials -----------------------------------------------------------------------------

    def standings(self) -> list[Standing]:
        """What this process knows; what nobody has asked for in an hour is forgotten."""
        oldest = self._clock() - FORGET_AFTER_S
        self._entries = {each: entry for each, entry in self._entries.items() if entry.asked_at >= oldest}
        return [Standing(each, entry.breaker, entry.tally) for each, entry in self._entries.items()]

    def learn(self, others: Iterable[Sequence[Standing]]) -> None:
        """Takes in what each of the other processes knows of the services that this one uses."""
        tallies: dict[Service, list[Tally]] = {}
        for standing in (each for standings in others for each in standings):
            entry = self._entries.get(standing.service)
            if entry is not None:
                entry.breaker = latest(entry.breaker, standing.breaker)
                tallies.setdefault(standing.service, []).append(standing.tally)
        for service, entry in self._entries.items():
            entry.others = tuple(tallies.get(service, ()))

    def begin_trials(self) -> list[tuple[Stage, ProviderConfig]]:
        """The services whose rest is over, each marked as on trial; tell ``worked`` or ``failed`` how it went."""
        now, due = self._clock(), []
        for service, entry in self._entries.items():
            if entry.config is not None and is_due(entry.breaker, now=now):
                entry.breaker = on_trial(entry.breaker, now=now, rules=self._rules)
                due.append((service.stage, entry.config))
        return due

    def _entry(self, stage: Stage, config: ProviderConfig) -> _Entry:
        entry = self._entries.setdefault(service_of(stage, config), _Entry())
        entry.config, entry.asked_at = config, self._clock()
        return entry
