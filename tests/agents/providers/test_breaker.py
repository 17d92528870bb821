"""The rules of the circuit breaker, and the board that applies them: by example, and for whatever may happen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.providers.base import ProviderConfig
from agents.providers.board import FORGET_AFTER_S, Board, service_of
from agents.providers.breaker import (
    CERTAIN,
    NOT_THE_PROVIDERS,
    Breaker,
    Rules,
    Trouble,
    after_answer,
    after_failure,
    is_due,
    latest,
    on_trial,
)
from agents.providers.errors import ErrorKind, ProviderError

pytestmark = pytest.mark.pure

RULES = Rules()
FIRST = ProviderConfig(provider="openai", base_url="", api_key="k1", model="first", account_id="a")
SECOND = ProviderConfig(provider="openai", base_url="", api_key="k2", model="second", account_id="b")
BOTH = (FIRST, SECOND)
COUNTED = sorted(set(ErrorKind) - NOT_THE_PROVIDERS - CERTAIN)


class Time:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def board(time: Time) -> Board:
    return Board(clock=time, rules=RULES)


def fails(board: Board, kind: ErrorKind = ErrorKind.SERVER_ERROR, config: ProviderConfig = FIRST) -> None:
    board.failed(ProviderError(kind, provider=config.provider, stage="llm", detail="busy"), config)


def state(board: Board, config: ProviderConfig = FIRST) -> Breaker:
    return next(each.breaker for each in board.standings() if each.service == service_of("llm", config))


def test_a_stage_begins_with_its_first_choice_while_that_serves_and_with_the_next_one_while_it_rests(
    board: Board, time: Time
) -> None:
    assert board.order("llm", BOTH) == (0, 1)
    for _ in range(3):
        fails(board)
    assert board.order("llm", BOTH) == (1, 0)
    assert state(board).trouble == Trouble(ErrorKind.SERVER_ERROR, "busy", time.now)


def test_with_every_choice_at_rest_they_are_asked_in_the_agents_order(board: Board) -> None:
    for config in BOTH:
        for _ in range(3):
            fails(board, config=config)
    assert board.order("llm", BOTH) == (0, 1)


def test_other_stages_models_and_accounts_are_not_touched(board: Board) -> None:
    for _ in range(5):
        fails(board)
    assert board.order("tts", BOTH) == (0, 1)
    other = ProviderConfig(provider="openai", base_url="", api_key="k1", model="other", account_id="a")
    assert board.order("llm", (other, SECOND)) == (0, 1)


def test_an_account_with_a_new_key_is_new(board: Board) -> None:
    fails(board, ErrorKind.UNAUTHORISED)
    corrected = ProviderConfig(provider="openai", base_url="", api_key="k9", model="first", account_id="a")
    assert board.order("llm", BOTH) == (1, 0)
    assert board.order("llm", (corrected, SECOND)) == (0, 1)


def test_failures_among_many_answers_open_nothing(board: Board) -> None:
    for _ in range(20):
        board.worked("llm", FIRST)
        board.worked("llm", FIRST)
        fails(board)
    assert state(board).state == "closed"


def test_failures_of_long_ago_do_not_count(board: Board, time: Time) -> None:
    for _ in range(4):
        fails(board)
        board.worked("llm", FIRST)
        time.now += RULES.window_s
    assert state(board).state == "closed"


def test_answers_that_come_too_late_open_it_as_failures_do(board: Board) -> None:
    for _ in range(3):
        board.worked("llm", FIRST, first_ms=RULES.slow_ms + 1)
    assert state(board).state == "open"
    assert state(board).trouble.kind is ErrorKind.TIMEOUT


@pytest.mark.parametrize("kind", sorted(CERTAIN))
def test_a_key_that_is_not_accepted_or_not_paid_for_rests_at_once(board: Board, kind: ErrorKind) -> None:
    fails(board, kind)
    assert state(board).state == "open"


@pytest.mark.parametrize("kind", sorted(NOT_THE_PROVIDERS))
def test_one_agents_wrong_voice_or_request_is_not_held_against_the_account(board: Board, kind: ErrorKind) -> None:
    board.order("llm", BOTH)
    for _ in range(10):
        fails(board, kind)
    assert state(board) == Breaker()


def test_after_its_rest_it_is_tried_once_and_serves_again_when_that_goes_well(board: Board, time: Time) -> None:
    for _ in range(3):
        fails(board)
    assert board.begin_trials() == []
    time.now += RULES.rest_s
    assert board.begin_trials() == [("llm", FIRST)]
    assert board.begin_trials() == []
    assert (state(board).state, board.order("llm", BOTH)) == ("half_open", (1, 0))
    board.worked("llm", FIRST)
    assert (state(board).state, board.order("llm", BOTH)) == ("closed", (0, 1))
    fails(board)
    assert state(board).state == "closed", "what was before is over"


def test_each_failed_trial_makes_the_rest_longer(board: Board, time: Time) -> None:
    for _ in range(3):
        fails(board)
    rests = []
    for _ in range(8):
        rests.append(state(board).until - time.now)
        time.now = state(board).until
        assert board.begin_trials()
        fails(board)
    assert rests == [15, 30, 60, 120, 240, 300, 300, 300]


def test_a_trial_of_which_nobody_hears_is_made_again(board: Board, time: Time) -> None:
    fails(board, ErrorKind.OUT_OF_CREDIT)
    time.now += RULES.rest_s
    assert board.begin_trials()
    time.now += RULES.trial_s
    assert board.begin_trials()


def test_a_call_that_had_nothing_else_to_ask_and_was_answered_ends_the_rest(board: Board) -> None:
    for _ in range(3):
        fails(board)
    board.worked("llm", FIRST)
    assert state(board).state == "closed"


def test_processes_open_on_what_they_have_seen_together_and_learn_of_it(time: Time) -> None:
    boards = [Board(clock=time, rules=RULES) for _ in range(3)]
    for board in boards:
        board.order("llm", BOTH)
    for board in boards[:2]:
        fails(board)
        fails(board)
        shown = [each.standings() for each in boards if each is not board]
        board.learn(shown)
    time.now += 1
    boards[2].learn([boards[0].standings(), boards[1].standings()])
    assert state(boards[2]).state == "closed"
    fails(boards[2])
    assert state(boards[2]).state == "open"
    boards[0].learn([boards[2].standings()])
    assert boards[0].order("llm", BOTH) == (1, 0)


def test_what_nobody_asks_for_is_forgotten_and_tried_no_more(board: Board, time: Time) -> None:
    fails(board, ErrorKind.UNAUTHORISED)
    time.now += FORGET_AFTER_S + 1
    assert board.standings() == []
    assert board.begin_trials() == []


# --- whatever happens ------------------------------------------------------------------------------------------------

happenings = st.lists(
    st.one_of(
        st.tuples(st.just("fails"), st.sampled_from(sorted(ErrorKind))),
        st.tuples(st.just("works"), st.none()),
        st.tuples(st.just("waits"), st.floats(0, 400)),
        st.tuples(st.just("tries"), st.none()),
    ),
    max_size=40,
)


def live(board: Board, time: Time, events: list) -> None:
    board.order("llm", BOTH)
    for name, value in events:
        if name == "fails":
            fails(board, value)
        elif name == "works":
            board.worked("llm", FIRST)
        elif name == "waits":
            time.now += value
        else:
            board.begin_trials()


@given(happenings, st.lists(st.sampled_from(COUNTED), min_size=5, max_size=5))
def test_five_failures_in_a_row_always_make_it_rest(events: list, kinds: list[ErrorKind]) -> None:
    time = Time()
    board = Board(clock=time, rules=RULES)
    live(board, time, events)
    for kind in kinds:
        fails(board, kind)
    assert state(board).state == "open"


@given(happenings)
def test_an_answer_always_makes_it_serve_and_a_single_failure_after_it_never_ends_that(events: list) -> None:
    time = Time()
    board = Board(clock=time, rules=RULES)
    live(board, time, events)
    resting = state(board).state != "closed" if board.standings() else False
    board.worked("llm", FIRST)
    assert state(board).state == "closed"
    if resting:
        fails(board)
        assert state(board).state == "closed"


@given(happenings)
def test_it_rests_no_longer_than_it_may_and_is_then_tried(events: list) -> None:
    time = Time()
    board = Board(clock=time, rules=RULES)
    live(board, time, events)
    board.order("llm", BOTH)
    breaker = state(board)
    if breaker.state != "closed":
        assert breaker.until - time.now <= RULES.longest_rest_s
        time.now += RULES.longest_rest_s
        assert board.begin_trials() == [("llm", FIRST)]


breakers = st.builds(
    Breaker,
    state=st.sampled_from(["closed", "half_open", "open"]),
    since=st.sampled_from([0.0, 5.0, 9.0]),
    until=st.sampled_from([0.0, 10.0]),
    rests=st.integers(0, 3),
    trouble=st.none()
    | st.builds(Trouble, st.sampled_from(COUNTED), st.sampled_from("ab"), st.sampled_from([1.0, 2.0])),
)


@given(breakers, breakers, breakers)
def test_in_whatever_order_processes_hear_of_each_other_they_come_to_believe_the_same(
    one: Breaker, two: Breaker, three: Breaker
) -> None:
    assert latest(one, two) == latest(two, one)
    assert latest(latest(one, two), three) == latest(one, latest(two, three))
    assert latest(one, one) == one


@given(breakers, st.floats(0, 20), st.sampled_from(COUNTED))
def test_a_change_is_news_to_all_even_from_a_machine_whose_clock_is_behind(
    breaker: Breaker, now: float, kind: ErrorKind
) -> None:
    trouble = Trouble(kind, "x", now)
    for changed in (
        after_answer(breaker, now=now),
        on_trial(breaker, now=now, rules=RULES),
        after_failure(breaker, trouble, tallies=(), in_a_row=RULES.in_a_row, rules=RULES),
    ):
        if changed.state != breaker.state:
            assert latest(breaker, changed) == changed


@given(breakers, st.floats(0, 400))
def test_what_serves_is_never_tried(breaker: Breaker, now: float) -> None:
    assert is_due(breaker, now=now) == (breaker.state != "closed" and now >= breaker.until)
