"""The caller's side: from speech windows and transcripts to one turn of words, and when it may end.

``machine.Conversation`` feeds it and acts on what it finds; it alone commits the STT and knows which final text
answers which commit.
"""

import re
from collections import deque

import msgspec

from streaming.conversation.desk import Desk
from streaming.conversation.endpointing import Endpointing, Wait
from streaming.conversation.events import Commit, JudgeTurn, ShowPartial, TurnKind, WriteTurn
from streaming.conversation.languages import normalise
from streaming.conversation.speakable import can_be_spoken
from streaming.conversation.timers import Timer
from streaming.conversation.utterance import CallerSpeech, Change

# Without any audio for this long a burst of speech is taken to have ended: what a network holds up comes within two
# seconds, and is one sentence still.
SILENT_LINE_MS = 2500
# A burst that has given no new word for so long is noise; longer where the STT shows no words before the end.
WORDLESS_MS = 2500
WORDLESS_WITHOUT_PARTIALS_MS = 15_000

LATEST = 3  # turns: one that was cut short, an answer to "are you sure?", and what that was asked about
# Recognisers put sounds into brackets: "(coughs)", "[music]".
_SOUNDS = re.compile(r"\([^)]*\)|\[[^\]]*\]|\*[^*]*\*")


def words_of(text: str) -> str:
    """A transcript without the sounds it describes; empty when no word is left."""
    text = " ".join(_SOUNDS.sub(" ", text).split())
    return text if can_be_spoken(text) else ""


def _without(text: str, beginning: str) -> str:
    """A transcript without the words of ``beginning`` (normalised) at its start; whole when it starts otherwise."""
    if not beginning or not f"{normalise(text)} ".startswith(f"{beginning} "):
        return text
    words = text.split()
    while words and beginning:
        beginning = beginning.removeprefix(normalise(words.pop(0))).lstrip()
    return " ".join(words)


class HeardTurn(msgspec.Struct, frozen=True):
    """A turn of the caller that has ended: its words and moments (ms on the call's clock)."""

    text: str
    started_ms: int
    speech_end_ms: int
    stt_final_ms: int | None
    decided_ms: int


class Hearing:
    """The caller's open turn.

    Attributes:
        speech: the VAD's view.
        endpointing: the rules that end a turn.
        partial: words since the last final text.
        wait: the silence that the open turn was last found to need.
        words_ms: when the caller's words last grew; None before the first.
        silent_from_ms: when the caller's last burst ended.
        gives_partials: this call's STT shows words before they are final.
        latest: the texts of the last turns that were written.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.latest: deque[str] = deque(maxlen=LATEST)
        numbers = desk.plan.turn_taking
        self._numbers = numbers
        self.speech = CallerSpeech(threshold=numbers.speech_threshold, start_windows=numbers.start_windows)
        self.endpointing = Endpointing(turn_taking=numbers, language_tag=desk.plan.language)
        self.partial = ""
        self.wait = Wait(0, "")
        self.words_ms: int | None = None
        self.gives_partials = False
        self._pieces: list[tuple[int, str]] = []
        self._started_ms: int | None = None
        self.silent_from_ms = 0
        self._stt_final_ms: int | None = None
        self._probability: float | None = None
        self._uncommitted = False
        self._committed = 0
        self._committed_ms = 0
        self._answered = 0
        self._given_up: dict[int, bool] = {}
        self._before_burst = ""  # partial words whose final text was still due when the caller went on
        self._unconfirmed = ""  # such words, their final text given up
        self._spent = ""  # partial words that stood for a final text; the STT may still repeat them

    # --- state -------------------------------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """The words of the open turn so far."""
        return " ".join([*(text for _, text in self._pieces), *filter(None, [self.partial])])

    @property
    def awaits_final(self) -> bool:
        """A commit is under way."""
        return self._answered < self._committed

    @property
    def awaits_words(self) -> bool:
        """The caller is silent, and what the last burst said is still to come."""
        pending = self._uncommitted or self.awaits_final or Timer.COMMIT in self._desk.timers
        return pending and not self.speech.active

    @property
    def settled(self) -> bool:
        """The caller is silent and everything said has been transcribed."""
        return not (self.speech.active or self._uncommitted or self.awaits_final or Timer.COMMIT in self._desk.timers)

    @property
    def missing_words(self) -> bool:
        """Something was said whose text was given up; it may still come."""
        return not all(self._given_up.values())

    @property
    def open(self) -> bool:
        """A turn has begun: there are words, or sound whose words may still come."""
        return bool(self._pieces or self.partial) or self.awaits_final or self._uncommitted

    @property
    def quiet(self) -> bool:
        """The caller is silent and no turn is open."""
        return self.settled and not self._pieces and not self.partial

    def burst_ms(self) -> int:
        """Length of the latest burst of speech, in ms."""
        return max(0, self.speech.end_ms - self.speech.onset_ms)

    # --- speech ------------------------------------------------------------------------------------------------------

    def window(self, probability: float, now_ms: int, power: float) -> Change | None:
        """Takes a VAD window; cheap when nothing changes, and then touches nothing else."""
        return self.speech.feed(probability, now_ms, power)

    def caller_began(self, *, same_turn: bool) -> None:
        """A burst of speech has begun; ``same_turn`` when the silence before it lay within the caller's turn."""
        timers = self._desk.timers
        timers.clear(Timer.SPECULATE, Timer.COMMIT, Timer.DECIDE)
        timers.set(Timer.BURST, self._desk.now + SILENT_LINE_MS)
        if self.awaits_final:
            self._before_burst = self.partial
        if same_turn:
            self.endpointing.caller_paused(self.speech.onset_ms - self.silent_from_ms)
        if self._started_ms is None:
            self._started_ms = self.speech.onset_ms
        self._uncommitted = True
        self._probability = None

    def caller_paused(self) -> None:
        """The burst has stopped."""
        self.silent_from_ms = self.speech.end_ms
        timers, numbers = self._desk.timers, self._numbers
        timers.clear(Timer.BURST)
        timers.set(Timer.COMMIT, self.speech.end_ms + numbers.commit_ms)
        if 0 < numbers.speculate_ms < numbers.commit_ms:
            timers.set(Timer.SPECULATE, self.speech.end_ms + numbers.speculate_ms)

    def burst_ends(self) -> bool:
        """Looks at a burst under way: it ends when no audio comes any more, and when no word has come for long."""
        speech, now = self.speech, self._desk.now
        wordless = WORDLESS_MS if self.gives_partials else WORDLESS_WITHOUT_PARTIALS_MS
        silent_at = speech.end_ms + SILENT_LINE_MS
        noise_at = max(speech.onset_ms, self.words_ms or 0) + wordless
        if speech.active and min(silent_at, noise_at) > now:
            self._desk.timers.set(Timer.BURST, min(silent_at, noise_at))
            return False
        noise = noise_at <= now
        if speech.cut(noise=noise) is None:
            return False
        self._desk.note("noise_ignored" if noise else "audio_missing")
        return True

    # --- text --------------------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Asks for the final text of what was said; meanwhile a turn model may listen to how it sounded."""
        self._uncommitted = False
        self._committed += 1
        self._committed_ms = self._desk.now
        self._desk.do(Commit(self._committed))
        if self.endpointing.undecided(self.text):
            self._desk.do(JudgeTurn())
        self._desk.timers.set(Timer.FINAL, self._desk.now + self._numbers.stt_final_ms)

    def hurry(self) -> None:
        """Does not wait for the rest of a pause with asking for the final text."""
        if Timer.COMMIT in self._desk.timers:
            self._desk.timers.set(Timer.COMMIT, self._desk.now)

    def heard_partial(self, text: str) -> bool:
        """Takes a partial text; False when it belongs to words that were settled already."""
        text = self._not_yet_spent(words_of(text))
        if self._given_up and not self._uncommitted and not self.awaits_final:
            return False
        if text == self.partial:
            return False
        self.partial = text
        if text:
            self.gives_partials = True
            self._grew()
            if not self.speech.active and not self._uncommitted and not self.awaits_final:
                self._unseen(text)
        self._desk.do(ShowPartial(role="caller", text=self.text, final=False))
        return True

    def heard_final(self, text: str, commit: int) -> bool:
        """Takes a final text; False when it comes too late to change anything."""
        text = words_of(text)
        if 0 < commit <= self._answered:
            return self._late_final(text, commit)
        if 0 < commit <= self._committed:
            self._answered = commit
            text = self._not_yet_spent(text)
            self._given_up.clear()
            self._spent = ""
            self._desk.note("stt_final", commit=commit, waited_ms=self._desk.now - self._committed_ms)
            if not self.awaits_final:
                self._desk.timers.clear(Timer.FINAL)
        else:
            commit = 0
        said_since = self._said_since(text) if commit else ""
        self.partial = ""
        self._stt_final_ms = self._desk.now
        if text or self._unconfirmed:
            self._keep(commit, text)
            if (
                not self.speech.active
                and not self._uncommitted
                and self._desk.now - self.silent_from_ms > (self._numbers.commit_ms + self._numbers.stt_final_ms)
            ):
                self.silent_from_ms = self._desk.now  # speech that the VAD never saw
        if said_since:
            self._unseen(said_since)
        self._desk.do(ShowPartial(role="caller", text=self.text, final=True))
        return True

    def _said_since(self, final: str) -> str:
        """Partial words behind those of a final text: said after its commit, and that the VAD took for noise."""
        if self.speech.active or self._uncommitted or self.awaits_final:
            return ""  # a commit is still to come
        rest = _without(self.partial, normalise(final))
        return rest if rest != self.partial else ""

    def _unseen(self, text: str) -> None:
        """Takes partial words of speech that the VAD has missed: nothing else would ever commit them."""
        self.partial = text
        self._grew()
        self.silent_from_ms = self._desk.now
        self._desk.timers.set(Timer.COMMIT, self._desk.now + self._numbers.commit_ms)

    def final_overdue(self) -> None:
        """The final text did not come in time: the last partial stands for it."""
        went_on = self._uncommitted
        for number in range(self._answered + 1, self._committed + 1):
            self._given_up[number] = bool(self.partial) and not went_on
        self._desk.note("stt_final_overdue", commit=self._committed, had_partial=bool(self.partial))
        self._answered = self._committed
        if went_on:  # the partial grows on; the final text of the next commit tells whether it holds these words too
            self._unconfirmed = self._before_burst
        elif self.partial:
            self._keep(self._committed, self.partial)
            self._spent = self.partial
            self.partial = ""

    def _late_final(self, text: str, commit: int) -> bool:
        had_text = self._given_up.pop(commit, None)
        self._desk.note("stt_final_late", commit=commit, used=had_text is False and bool(text))
        if had_text is None or not text:
            return False
        if not had_text:
            self.partial = self._unconfirmed = ""
            self._keep(commit, text)
            return True
        for index, (number, _) in enumerate(self._pieces):
            if number == commit:
                self._pieces[index] = (commit, text)
                return True
        return False

    def _keep(self, commit: int, text: str) -> None:
        """Adds words that stay, after those whose own final text never came, unless they are among them."""
        if self._unconfirmed and not normalise(text).startswith(normalise(self._unconfirmed)):
            self._pieces.append((0, self._unconfirmed))
        self._unconfirmed = ""
        if text:
            self._pieces.append((commit, text))
        self._grew()

    def _not_yet_spent(self, text: str) -> str:
        """A transcript without the words at its beginning that were taken from a partial already."""
        return _without(text, normalise(self._spent))

    def _grew(self) -> None:
        self.words_ms = self._desk.now
        if self._started_ms is None:
            self._started_ms = self._desk.now

    # --- the end of the turn -----------------------------------------------------------------------------------------

    def model_says(self, probability: float) -> None:
        """A turn model has looked at the pause."""
        if not self.speech.active:
            self._probability = probability

    def weigh(self) -> None:
        """Finds how much silence the open turn needs, and sets its end; no end while it is not settled or empty."""
        if not self.settled or not self.text:
            self._desk.timers.clear(Timer.DECIDE)
            return
        self.wait = self.endpointing.wait(self.text, probability=self._probability)
        self._desk.timers.set(Timer.DECIDE, self.silent_from_ms + self.wait.ms)

    def question(self) -> str:
        """The open turn's words in the form in which a speculative reply remembers them."""
        return normalise(self.text)

    def take(self) -> HeardTurn:
        """Ends the open turn and returns it."""
        now = self._desk.now
        speech_end = self.silent_from_ms if not self.speech.active else self.speech.end_ms
        started = now if self._started_ms is None else min(self._started_ms, now)
        turn = HeardTurn(
            text=self.text,
            started_ms=started,
            speech_end_ms=max(started, min(speech_end, now)),
            stt_final_ms=self._stt_final_ms,
            decided_ms=now,
        )
        if turn.text:
            self.speech.learn()
        else:
            self.speech.forget()
        self._pieces.clear()
        self.partial = self._unconfirmed = ""
        self._started_ms = self.speech.onset_ms if self.speech.active else None
        self._stt_final_ms = None
        self._probability = None
        self._desk.timers.clear(Timer.DECIDE)
        return turn

    def write(self, turn: HeardTurn, *, end_reason: str, kind: TurnKind = "speech", interrupted: bool = False) -> None:
        """Records a turn of the caller."""
        self.latest.append(turn.text)
        self._desk.do(
            WriteTurn(
                role="caller",
                kind=kind,
                text=turn.text,
                started_ms=turn.started_ms,
                ended_ms=max(turn.started_ms, turn.speech_end_ms),
                end_reason=end_reason,
                interrupted=interrupted,
                speech_end_ms=turn.speech_end_ms,
                stt_final_ms=turn.stt_final_ms,
                decided_ms=turn.decided_ms,
            )
        )
