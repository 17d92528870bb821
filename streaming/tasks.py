"""Work ahead of the calls, in a Celery worker: fixed phrases become audio in the folder that the stream hosts read.

Asked for by ``apps`` when a version is published and by the ring webhook; a call that comes first speaks them itself
and keeps them as well.
"""

import asyncio
from collections.abc import Sequence

import structlog
from celery import shared_task
from django.conf import settings
from django.utils import timezone

from agents import services
from agents.models import AgentVersion
from agents.providers import registry
from agents.providers.base import AudioFormat, Clocks, ProviderConfig, UsageReport
from agents.providers.errors import ProviderError
from agents.providers.pools import Pools
from agents.spec import AgentSpec
from calls import live_calls
from calls.models import Call
from calls.states import is_over
from streaming.phrases import PhraseCache, prepare
from streaming.planning import answering_texts, constant_phrases, opening
from streaming.protocol import CODECS
from streaming.threads import Worker

log = structlog.get_logger(__name__)


@shared_task(name="streaming.tasks.prepare_phrases", ignore_result=True)
def prepare_phrases(version_id: str) -> None:
    """Speaks and keeps the phrases of one version, in each of its voices."""
    version = AgentVersion.objects.filter(pk=version_id).first()
    if version is not None:
        for voice in range(len(version.spec.choices("tts"))):
            _speak(version.spec, constant_phrases(version.spec), voice, version=version_id)


@shared_task(name="streaming.tasks.prepare_opening", ignore_result=True)
def prepare_opening(call_id: int) -> None:
    """Speaks and keeps what a ringing call begins with, its variables filled in, in the agent's first voice.

    And what it may need soon after: the message for a machine, the words for whoever asks who is calling.
    """
    call = Call.objects.select_related("agent_version", "campaign").filter(pk=call_id).first()
    if call is None or call.spec is None or is_over(call.status):
        return
    variables = live_calls.variables(call, call.spec, now=timezone.now())
    texts = (*opening(call.spec, variables), *answering_texts(live_calls.answering(call), variables))
    _speak(call.spec, texts, 0, call=str(call.public_id))


def _speak(spec: AgentSpec, texts: Sequence[str], voice: int, **about: str) -> None:
    """A failing voice is logged: the calls meet it themselves, and have their own ways to deal with it."""
    if spec.mode != "conversation":
        return
    choice = spec.choices("tts")[voice]
    try:
        config = services.choice_config(choice, language=spec.language)
        made = asyncio.run(_prepare(texts, fmt=CODECS[spec.codec], config=config))
    except (services.AccountError, ProviderError) as error:
        log.warning("phrases_not_prepared", error=str(error), **about)
        return
    log.info("phrases_prepared", made=made, **about)


async def _prepare(texts: Sequence[str], *, fmt: AudioFormat, config: ProviderConfig) -> int:
    clocks = Clocks().scaled(settings.PROVIDER_CLOCK_SCALE)
    worker = Worker("phrases", limit=100)
    try:
        async with Pools() as pools:
            return await prepare(
                texts,
                make=lambda: registry.text_to_speech(config, pools=pools, clocks=clocks, codec=fmt),
                config=config,
                fmt=fmt,
                clocks=clocks,
                cache=PhraseCache(folder=settings.PHRASES_DIR, worker=worker),
                account=_account,
            )
    finally:
        await worker.close()


def _account(report: UsageReport) -> None:
    """No call pays for these: their cost shows in the log only."""
    log.info("phrase_spoken", provider=report.provider, model=report.model, characters=report.characters)
