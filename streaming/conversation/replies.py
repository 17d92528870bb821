"""The language model's part: speculative replies, decided ones, tools, and answers that hold nothing.

``machine.Conversation`` says when a reply may start; this part keeps what the caller is owed and takes in what the
model sends. Replies live in ``voice.Voice`` (waiting or on the floor).
"""

import json
from typing import NamedTuple

from agents.providers.base import ToolCall
from streaming.conversation.desk import Desk
from streaming.conversation.events import (
    EndReason,
    ReplyDone,
    ReplyText,
    ReplyTool,
    RunTool,
    StartReply,
    ToolResult,
    WriteTurn,
)
from streaming.conversation.fillers import Fillers
from streaming.conversation.hearing import HeardTurn
from streaming.conversation.languages import normalise
from streaming.conversation.plan import ConversationPlan
from streaming.conversation.reply import Reply, Times
from streaming.conversation.speakable import can_be_spoken, speakable
from streaming.conversation.timers import Timer
from streaming.conversation.voice import Voice

END_CALL = "end_call"
TRANSFER_CALL = "transfer_call"
# The vendors' frameworks stop at three as well.
MAX_TOOL_ROUNDS = 3
MAX_SPECULATIONS = 3
# Answers in a row that broke off when part of them was heard, and the model is given up.
MAX_BROKEN_OFF = 2
# The tool's own time limit is the driver's; this one only keeps a call from hanging on a lost answer.
TOOL_LIMIT_MS = 20_000
NO_ANSWER = "The tool did not answer in time."
REFUSED = "This tool is not available."


class Replies:
    """What the model is doing.

    Attributes:
        owed: the caller waits for an answer that has not been started.
        fillers: what the caller is told while something takes long.
    """

    def __init__(self, desk: Desk, voice: Voice) -> None:
        self._desk = desk
        self._voice = voice
        self.owed = False
        self._times = Times()
        self._with_tools: list[Reply] = []
        self._rounds = 0
        self._speculations = 0
        self._empty_answers = 0
        self._broken_answers = 0
        self._broken_off = 0
        self.fillers = Fillers(desk, voice)

    @property
    def tools_running(self) -> bool:
        """A tool has not answered yet."""
        return any(reply.tools_running for reply in self._with_tools)

    # --- starting ----------------------------------------------------------------------------------------------------

    def speculate(self, saying: str) -> None:
        """Begins a reply on trust, before the turn is decided; ``saying`` is the open turn's text."""
        question = normalise(saying)
        current = self._voice.next
        if current is not None and (current.decided or current.question == question):
            return
        if not question or self._speculations >= MAX_SPECULATIONS:
            return
        self._speculations += 1
        reply = self._voice.new("speech", by_model=True)
        reply.question = question
        self._desk.do(StartReply(reply.generation, self._desk.history.messages(saying), speculative=True))

    def turn_decided(self, turn: HeardTurn) -> None:
        """The caller's turn has ended: an answer is owed; a speculative one is taken if it answers these very words."""
        self._times = Times(
            speech_end_ms=turn.speech_end_ms, decided_ms=turn.decided_ms, stt_final_ms=turn.stt_final_ms
        )
        self._rounds = self._speculations = self._empty_answers = self._broken_answers = 0
        self.fillers.over()
        self.owed = True
        guess = self._voice.next
        if guess is None or guess.decided:
            return
        if guess.question == normalise(turn.text):
            self.owed = False
            self._note_times(guess)
            self._voice.adopt(guess)
            self._desk.note("speculation_adopted", generation=guess.generation)
            self._run_asked(guess)
            self._after_done(guess)
        else:
            self._voice.cancel_next("other_words")

    def start(self) -> None:
        """Begins the reply that is owed."""
        self.owed = False
        reply = self._voice.new("speech", by_model=True)
        messages = self._desk.history.messages()
        self._note_times(reply)
        self._voice.adopt(reply)
        self._desk.do(StartReply(reply.generation, messages))

    def _note_times(self, reply: Reply) -> None:
        first = reply.times.llm_first_ms
        tts = reply.times.tts_first_ms
        times = self._times
        reply.times = Times(
            speech_end_ms=times.speech_end_ms,
            decided_ms=times.decided_ms,
            stt_final_ms=times.stt_final_ms,
            llm_first_ms=first,
            tts_first_ms=tts,
        )

    # --- what the model sends ----------------------------------------------------------------------------------------

    def text(self, event: ReplyText) -> None:
        """More text of a reply."""
        reply = self._receiving(event.generation)
        if reply is None:
            return
        reply.written += event.text
        if reply.times.llm_first_ms is None and event.text:
            reply.times.llm_first_ms = self._desk.now
        if pieces := reply.segmenter.feed(event.text):
            self._voice.add(reply, pieces, last=False)

    def tool(self, event: ReplyTool) -> None:
        """The model asks for a tool; it runs once the turn is decided."""
        reply = self._receiving(event.generation)
        known = () if reply is None else (*reply.tool_calls, *reply.asked_tools)
        if reply is None or any(call.id == event.call.id for call in known):
            return
        if reply.times.llm_first_ms is None:
            reply.times.llm_first_ms = self._desk.now
        reply.asked_tools.append(event.call)
        if reply.decided:
            self._run_asked(reply)

    def done(self, event: ReplyDone) -> None:
        """The model has ended its answer."""
        reply = self._receiving(event.generation)
        if reply is None:
            return
        reply.model_done = True
        self._broken_off = 0
        if event.reason == "length":
            self._desk.note("reply_cut_by_length", generation=reply.generation)
            if reply.segmenter.spoken:
                reply.segmenter.discard()  # half a sentence is worse than none
        pieces = reply.segmenter.flush()
        self._voice.add(reply, pieces, last=not self._ends(reply))
        self._after_done(reply)

    def asks_again(self, reply: Reply, *, helps: bool) -> bool:
        """The model failed before the caller heard anything: the answer is asked for anew, once in a turn.

        False when that cannot help or could do something twice, and when the driver has tried again already (it does
        while the model has given nothing).

        Args:
            helps: the next request may fare better.
        """
        if reply.audible or not reply.decided or not reply.written or reply.tool_calls or reply.ends_call is not None:
            return False
        if not helps or self._broken_answers:
            return False
        self._broken_answers += 1
        self._voice.cancel(reply, "failed")
        self.owed = True
        return True

    def broke_off(self, reply: Reply) -> bool:
        """The model failed in mid-answer: what there is of it is played on; False when nothing was heard yet."""
        if not reply.audible:
            return False
        reply.model_done = True
        reply.segmenter.discard()
        self._voice.add(reply, [], last=True)
        self._next_round(reply)
        return True

    def goes_on(self, reply: Reply, *, helps: bool) -> bool:
        """The call goes on after an answer that broke off: by itself, or the caller is asked to say it again.

        False where that would not help: the model has failed for good, or broken off its last answer as well.

        Args:
            helps: the next request may fare better.
        """
        self._broken_off += 1
        if reply.tool_calls:
            return True
        if not helps or self._broken_off >= MAX_BROKEN_OFF:
            return False
        self.say_again()
        return True

    def _ends(self, reply: Reply) -> bool:
        """The goodbye is still to follow."""
        leaves = any(leave_of(call, self._desk.plan) is not None for call in reply.asked_tools)
        return leaves or reply.ends_call is not None

    def _receiving(self, generation: int) -> Reply | None:
        reply = self._voice.find(generation)
        if reply is None or not reply.by_model or reply.model_done:
            return None
        reply.progress_ms = self._desk.now
        return reply

    def _after_done(self, reply: Reply) -> None:
        """A decided reply whose text is complete: the last words, the next round, or the lack of either."""
        if not reply.model_done or not reply.decided:
            return
        if reply.ends_call is not None:
            goodbye = self._goodbye(reply)
            reply.written = " ".join([reply.written.strip(), *goodbye])
            self._voice.add(reply, goodbye, last=True)
        elif not reply.tool_calls and not reply.segments and not reply.waiting:
            self.nothing_said(reply)
        else:
            self._next_round(reply)

    def nothing_said(self, reply: Reply) -> None:
        """An answer without words (or sound) or tools: asked for once more, then the caller is asked to repeat."""
        self._empty_answers += 1
        self._desk.note("reply_empty", generation=reply.generation, times=self._empty_answers)
        self._voice.cancel(reply, "empty")
        if self._empty_answers == 1:
            self.owed = True
        else:
            self.say_again()

    def say_again(self) -> None:
        """Asks the caller to repeat, in the call's language as far as there are words for it."""
        plan = self._desk.plan
        words = self._desk.rules.say_again or next(iter(plan.reprompts), "") or plan.apology
        self._voice.say_phrases("apology", [words], interruptible=plan.interruptible)

    # --- tools -------------------------------------------------------------------------------------------------------

    def _run_asked(self, reply: Reply) -> None:
        calls, reply.asked_tools = reply.asked_tools, []
        for call in calls:
            if (leave := leave_of(call, self._desk.plan)) is not None:
                self._leave_asked(reply, call, leave)
            else:
                self._run(reply, call)

    def _run(self, reply: Reply, call: ToolCall) -> None:
        if not reply.tool_calls:
            self._rounds += 1
        if self._rounds > MAX_TOOL_ROUNDS:
            self._desk.note("tool_refused", tool=call.name, why="too_many_rounds")
            return
        reply.tool_calls.append(call)
        reply.tool_started_ms[call.id] = self._desk.now
        if reply not in self._with_tools:
            self._with_tools.append(reply)
        if call.name in {END_CALL, TRANSFER_CALL}:
            self._answered(reply, call, self._no_leave(call))
            return
        self._desk.note("tool_started", tool=call.name, generation=reply.generation)
        self._desk.do(RunTool(reply.generation, call))
        self._desk.timers.set(Timer.TOOL, self._desk.now + TOOL_LIMIT_MS)

    def _no_leave(self, call: ToolCall) -> str:
        if call.name == TRANSFER_CALL and self._desk.plan.transfers:
            return f"There is no such destination. There are: {', '.join(self._desk.plan.transfers)}."
        return REFUSED

    def _leave_asked(self, reply: Reply, call: ToolCall, leave: "Leave") -> None:
        reply.ends_call = leave.reason
        reply.goodbye = leave.words
        reply.transfer_to = leave.transfer_to
        now = self._desk.now
        self._desk.do(
            WriteTurn(
                role="tool",
                kind="tool",
                text=call.name,
                started_ms=now,
                ended_ms=now,
                data={"arguments": call.arguments, "generation": reply.generation},
            )
        )

    def _goodbye(self, reply: Reply) -> list[str]:
        """The last words: the tool's, else those the model has said in this reply, else the usual ones."""
        said = normalise(reply.text)
        words = speakable(reply.goodbye)
        if can_be_spoken(words):
            return [] if normalise(words) in said else [words]
        fallback = speakable(self._desk.rules.connecting if reply.transfer_to else self._desk.plan.goodbye)
        return [fallback] if not said and can_be_spoken(fallback) else []

    def result(self, event: ToolResult) -> None:
        """A tool has answered, in whatever state the conversation is by now."""
        for reply in self._with_tools:
            if reply.generation == event.generation:
                call = next((call for call in reply.tool_calls if call.id == event.call_id), None)
                if call is not None and call.id not in reply.results:
                    self._answered(reply, call, event.content)
                    self._next_round(reply)
                return

    def tools_overdue(self) -> None:
        """The tools that run have not answered in time: the model is told so."""
        for reply in list(self._with_tools):
            for call in reply.tool_calls:
                if call.id not in reply.results:
                    self._desk.note("tool_overdue", tool=call.name)
                    self._answered(reply, call, NO_ANSWER)
            self._next_round(reply)

    def watch(self, *, quiet: bool, since_ms: int) -> None:
        """Sets when the caller is told to wait; ``quiet``: neither side is heard, ``since_ms``."""
        started = [at for reply in self._with_tools for at in reply.tool_started_ms.values()]
        tools_since_ms = max(started) if self.tools_running else None
        self.fillers.watch(quiet=quiet, since_ms=since_ms, tools_since_ms=tools_since_ms)

    def _answered(self, reply: Reply, call: ToolCall, content: str) -> None:
        reply.results[call.id] = content
        self._write_tool(reply, call, content)
        if not self.tools_running:
            self._desk.timers.clear(Timer.TOOL)
            self.fillers.over()

    def _write_tool(self, reply: Reply, call: ToolCall, content: str | None) -> None:
        started = reply.tool_started_ms[call.id]
        self._desk.do(
            WriteTurn(
                role="tool",
                kind="tool",
                text=call.name,
                started_ms=started,
                ended_ms=max(started, self._desk.now),
                interrupted=content is None,
                data={"arguments": call.arguments, "result": content, "generation": reply.generation},
            )
        )

    def _next_round(self, reply: Reply) -> None:
        """All tools of a reply have answered: the model goes on with what they said."""
        if reply not in self._with_tools or reply.tools_running:
            return
        if not reply.model_done and reply.over_ms is None:
            return
        self._with_tools.remove(reply)
        if reply.ends_call is None:
            self.owed = True

    def abandon(self) -> None:
        """The call is over: tools still under way are recorded without a result."""
        for reply in self._with_tools:
            for call in reply.tool_calls:
                if call.id not in reply.results:
                    self._write_tool(reply, call, None)
        self._with_tools.clear()


class Leave(NamedTuple):
    """What a tool call that ends the agent's part asks for: why, its last words, and whom the caller goes on to."""

    reason: EndReason
    words: str
    transfer_to: str = ""


def leave_of(call: ToolCall, plan: ConversationPlan) -> Leave | None:
    """How a tool call ends the agent's part of the call; None for every other, and for one that the plan forbids."""
    if call.name == END_CALL and plan.may_end_call:
        return Leave("agent_ended", _argument(call, "goodbye"))
    if call.name == TRANSFER_CALL and (destination := _argument(call, "destination")) in plan.transfers:
        return Leave("transferred", _argument(call, "announcement"), destination)
    return None


def _argument(call: ToolCall, name: str) -> str:
    """A text among a call's arguments; empty when they hold none of that name (or are no JSON)."""
    try:
        arguments = json.loads(call.arguments or "{}")
    except ValueError:
        return ""
    value = arguments.get(name) if isinstance(arguments, dict) else None
    return value.strip() if isinstance(value, str) else ""
