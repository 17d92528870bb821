"""Which choice is asked, and which next when it fails: by kind of failure, and for whatever may happen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.providers.base import ProviderConfig
from agents.providers.board import Board
from agents.providers.chain import Chain, Moved, Step
from agents.providers.errors import FACTS, ErrorKind, ProviderError

pytestmark = pytest.mark.pure
SWITCH_S = 2.0
PERMANENT = [kind for kind in ErrorKind if not FACTS[kind].retryable and FACTS[kind].then != "stop"]


def config(name: str) -> ProviderConfig:
    return ProviderConfig(provider="openai", base_url="", api_key=name, model=name, account_id=name)


def error(kind: ErrorKind, retry_after: float | None = None) -> ProviderError:
    return ProviderError(kind, provider="openai", stage="llm", retry_after=retry_after)


class Choices:
    """A chain of so many choices, and where it went."""

    def __init__(self, count: int, board: Board | None = None) -> None:
        self.moves: list[Moved] = []
        self.board = board or Board(clock=lambda: 1000.0)
        self.chain = Chain(
            "llm",
            tuple(config(name) for name in "abcde"[:count]),
            board=self.board,
            switch_s=SWITCH_S,
            moved=self.moves.append,
            jitter=lambda: 0.5,
        )

    def run(self, *errors: ProviderError, rounds: int = 1) -> list[Step | None]:
        attempts = self.chain.attempts(rounds)
        return [attempts.failed(each) for each in errors]


@pytest.mark.parametrize("kind", PERMANENT)
def test_what_cannot_get_better_moves_on_at_once_and_is_not_asked_again(kind: ErrorKind) -> None:
    choices = Choices(2)
    assert choices.run(error(kind), error(kind)) == [Step(1, 0.0), None]
    assert [(move.before, move.after, move.why) for move in choices.moves] == [(0, 1, kind)]
    assert Choices(1).run(error(kind), rounds=2) == [None]


@pytest.mark.parametrize("kind", [ErrorKind.REFUSED, ErrorKind.TIMEOUT, ErrorKind.STALLED, ErrorKind.RATE_LIMITED])
def test_what_would_take_the_callers_time_again_moves_on_at_once(kind: ErrorKind) -> None:
    assert Choices(2).run(error(kind)) == [Step(1, 0.0)]


def test_a_broken_connection_is_made_anew_once_before_another_choice_is_asked() -> None:
    dropped = error(ErrorKind.DROPPED)
    choices = Choices(2)
    assert choices.run(dropped, dropped, dropped, dropped) == [Step(0, 0.0), Step(1, 0.0), Step(1, 0.0), None]
    assert len(choices.moves) == 1


def test_a_busy_system_is_given_a_moment_and_an_account_with_too_many_requests_is_left() -> None:
    busy, too_many = error(ErrorKind.SERVER_ERROR), error(ErrorKind.RATE_LIMITED)
    (step,) = Choices(2).run(busy)
    assert step.choice == 0
    assert 0.1 * SWITCH_S <= step.wait_s <= 0.2 * SWITCH_S
    assert Choices(2).run(too_many) == [Step(1, 0.0)]
    (alone,) = Choices(1).run(too_many)
    assert alone.choice == 0
    assert alone.wait_s > 0


@pytest.mark.parametrize("kind", [ErrorKind.SERVER_ERROR, ErrorKind.RATE_LIMITED])
def test_a_wait_that_the_provider_asks_for_is_kept_where_it_fits_and_else_another_is_asked(kind: ErrorKind) -> None:
    assert Choices(1).run(error(kind, 0.4)) == [Step(0, 0.4)]
    assert Choices(2).run(error(kind, 30.0)) == [Step(1, 0.0)]
    assert Choices(1).run(error(kind, 30.0)) == [Step(0, SWITCH_S / 2)], "with nothing else to ask: as long as fits"


def test_a_declined_answer_is_an_answer() -> None:
    choices = Choices(2)
    assert choices.run(error(ErrorKind.CONTENT_FILTER)) == [None]
    assert not choices.moves


def test_a_call_stays_with_the_choice_that_took_over() -> None:
    choices = Choices(3)
    choices.run(error(ErrorKind.OUT_OF_CREDIT))
    assert choices.chain.attempts().choice == 1
    choices.run(error(ErrorKind.OUT_OF_CREDIT))
    assert choices.chain.attempts().choice == 2
    assert choices.run(*[error(ErrorKind.OUT_OF_CREDIT)] * 3) == [Step(0, 0.0), Step(1, 0.0), None]


def test_what_broke_after_it_gave_something_is_not_asked_again_and_the_rest_is_for_the_next() -> None:
    choices = Choices(2)
    assert choices.chain.attempts().broke(error(ErrorKind.DROPPED))
    assert choices.chain.current == 1
    assert not Choices(1).chain.attempts().broke(error(ErrorKind.DROPPED))


def test_two_pieces_of_work_that_fail_of_the_same_choice_move_the_call_once() -> None:
    choices = Choices(3)
    one, other = choices.chain.attempts(), choices.chain.attempts()
    assert one.failed(error(ErrorKind.TIMEOUT)) == Step(1, 0.0)
    assert other.failed(error(ErrorKind.DROPPED)) == Step(1, 0.0), "nor is one that was left asked again"
    assert [move.after for move in choices.moves] == [1]
    late = choices.chain.attempts()
    assert one.failed(error(ErrorKind.TIMEOUT)) == Step(2, 0.0)
    assert late.broke(error(ErrorKind.STALLED))
    assert choices.chain.current == 2


def test_a_stage_whose_first_choice_rests_begins_with_the_next_and_says_so() -> None:
    board = Board(clock=lambda: 1000.0)
    board.failed(error(ErrorKind.UNAUTHORISED), config("a"))
    choices = Choices(3, board)
    assert [(move.after, move.why) for move in choices.moves] == [(1, None)]
    steps = choices.run(*[error(ErrorKind.TIMEOUT)] * 3)
    assert [step and step.choice for step in steps] == [2, 0, None], "the one at rest comes last, but it is asked"


def test_a_recogniser_alone_is_asked_four_times_before_it_counts_as_dead() -> None:
    steps = Choices(1).run(*[error(ErrorKind.STALLED)] * 4, rounds=2)
    assert [step is None for step in steps] == [False, False, False, True]


@given(
    st.integers(1, 5),
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from(sorted(ErrorKind)), st.none() | st.floats(0, 60)), min_size=40, max_size=40),
)
def test_every_piece_of_work_comes_to_an_end_having_asked_every_choice_and_never_waits_long(
    count: int, rounds: int, failures: list[tuple[ErrorKind, float | None]]
) -> None:
    choices = Choices(count)
    attempts = choices.chain.attempts(rounds)
    asked = [attempts.choice]
    declined = False
    for kind, retry_after in failures:
        step = attempts.failed(error(kind, retry_after))
        declined = kind is ErrorKind.CONTENT_FILTER
        if step is None:
            break
        assert step.choice == attempts.choice
        assert 0 <= step.wait_s <= SWITCH_S / 2
        asked.append(step.choice)
    else:
        raise AssertionError("it goes on for ever")
    assert declined or set(asked) == set(range(count))
    assert max(map(asked.count, asked)) <= 2 * rounds
    assert choices.chain.current in asked
