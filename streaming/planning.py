"""From what the database knows of a call to what the conversation core needs: texts with their variables filled in."""

from msgspec import convert

from agents.prompts import instructions, names, render
from agents.spec import AgentSpec
from calls.context import Answering, CallContext
from streaming.conversation.languages import language
from streaming.conversation.plan import AnsweringPlan, ConversationPlan, OnMachine


def conversation_plan(context: CallContext) -> ConversationPlan:
    """The plan of one stream of a call."""
    spec, variables = context.spec, context.variables

    def filled(text: str) -> str:
        return render(text, variables).strip()

    return ConversationPlan(
        mode=spec.mode,
        language=spec.language,
        system_prompt=instructions(spec.system_prompt, variables),
        speaks_first=spec.speaks_first,
        opening=opening(spec, variables),
        opening_interruptible=spec.greeting_interruptible,
        interruptible=spec.interruptible,
        turn_taking=spec.turn_taking,
        reprompts=tuple(text for text in map(filled, spec.reprompt.texts) if text),
        reprompt_after_ms=spec.reprompt.after_ms,
        max_call_ms=spec.max_call_ms,
        wrap_up=filled(spec.wrap_up),
        goodbye=filled(spec.goodbye),
        apology=filled(spec.apology),
        filler=filled(spec.filler),
        may_end_call="end_call" in spec.tools,
        transfers=tuple(target.name for target in spec.transfers),
        backchannels=spec.backchannels,
        stop_words=spec.stop_words,
        opt_out_key=context.opt_out_key,
        answering=_answering(context),
        history=context.history,
    )


def answering_texts(given: Answering | None, variables: dict[str, str]) -> tuple[str, ...]:
    """The message for a machine, where one is to be left, and the answer to a screener; either may be empty."""
    if given is None:
        return ()
    message = given.message if given.on_machine == "leave_message" else ""
    return tuple(render(text, variables).strip() for text in (message, given.screening))


def _answering(context: CallContext) -> AnsweringPlan | None:
    given = context.answering
    if given is None or context.spec.mode != "conversation":
        return None
    message, screening = answering_texts(given, context.variables)
    # Nothing to say, as when its only variable is empty: there is no sense in waiting for a beep.
    asked = "hang_up" if given.on_machine == "leave_message" and not message else given.on_machine
    return AnsweringPlan(convert(asked, OnMachine), message, screening)


def opening(spec: AgentSpec, variables: dict[str, str]) -> tuple[str, ...]:
    """What is said first, in order: disclosure, recording notice, greeting; empty ones left out."""
    notice = spec.recording_notice if spec.record or spec.plivo_record else ""
    texts = (render(text, variables).strip() for text in (spec.disclosure, notice, spec.greeting))
    return tuple(text for text in texts if text)


def constant_phrases(spec: AgentSpec) -> tuple[str, ...]:
    """The fixed texts that are the same in every call: those without a variable that only a call can fill."""
    texts = (spec.disclosure, spec.recording_notice, spec.greeting, spec.apology, *spec.reprompt.texts)
    rules = language(spec.language)
    usual = (spec.filler or rules.filler, rules.say_again, rules.lost, rules.connecting if spec.transfers else "")
    texts = (*texts, spec.goodbye, spec.wrap_up, *usual)
    constant = [text for text in texts if names(text) <= set(spec.variables)]
    spoken = (render(text, spec.variables).strip() for text in constant)
    return tuple(dict.fromkeys(text for text in spoken if text))
