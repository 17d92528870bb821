"""What a live call is given when its stream starts: agent, keys, variables, and what was said before.

Read once by ``streaming`` in the journal's thread; afterwards the live call asks the database nothing.
"""

import datetime

import msgspec

from agents.providers.base import Message, ProviderConfig
from agents.spec import AgentSpec


class Answering(msgspec.Struct, frozen=True):
    """What is done with whoever answers a call that we placed and is no person; texts may hold ``{{variables}}``.

    Attributes:
        on_machine: a ``Campaign.OnMachine``.
        message: left on a machine.
        screening: said to whoever asks who is calling; empty: the opening.
    """

    on_machine: str
    message: str = ""
    screening: str = ""


class CallContext(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one call that its live session needs.

    Attributes:
        call_id: primary key of the ``Call``.
        plivo_call_uuid: empty for a browser call.
        version_id: the agent version, as text; groups prompts for the provider's cache.
        stt_further, llm_further, tts_further: what is asked next, in order, where ``stt``, ``llm`` or ``tts`` fails.
        variables: of the prompt: the agent's defaults, the call's own, and ``caller_number``, ``called_number``.
        session: under which id this session carries the call (``Call.carried_by``).
        live_at: the zero of every offset; of the first stream when this one resumes.
        resumed: this stream continues a call whose earlier stream was lost.
        history: what was said before, when resumed.
        next_turn_index: index of the next Turn row.
        answering: on a call that we placed, at its first stream.
        opt_out_key: the key that puts the person on the do-not-call list; empty unless we rang them.
        is_sandbox: some stage is scripted or synthetic; shown wherever the call shows.
    """

    call_id: int
    public_id: str
    plivo_call_uuid: str
    spec: AgentSpec
    version_id: str
    stt: ProviderConfig
    llm: ProviderConfig
    tts: ProviderConfig
    variables: dict[str, str]
    session: str
    live_at: datetime.datetime
    resumed: bool = False
    history: tuple[Message, ...] = ()
    next_turn_index: int = 0
    is_sandbox: bool = False
    opt_out_key: str = ""
    answering: Answering | None = None
    stt_further: tuple[ProviderConfig, ...] = ()
    llm_further: tuple[ProviderConfig, ...] = ()
    tts_further: tuple[ProviderConfig, ...] = ()
