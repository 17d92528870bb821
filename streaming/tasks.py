"""Work ahead of the calls, in a Celery worker: a published agent's fixed phrases become audio in the shared folder.

Asked for by ``apps`` when a version is published; a call that comes first speaks them itself and keeps them as well.
"""

import asyncio

import structlog
from celery import current_app, shared_task
from django.conf import settings
from kombu.exceptions import OperationalError

from agents import prompts, services
from agents.models import AgentVersion
from agents.providers import registry
from agents.providers.base import Clocks, ProviderConfig, UsageReport
from agents.providers.errors import ProviderError
from agents.providers.pools import Pools
from agents.spec import AgentSpec
from calls.lifecycle import HINT_OPTIONS
from streaming.phrases import PhraseCache, prepare
from streaming.protocol import CODECS
from streaming.threads import Worker

log = structlog.get_logger(__name__)


def constant_phrases(spec: AgentSpec) -> tuple[str, ...]:
    """The fixed texts that are the same in every call: those without a variable that only a call can fill."""
    texts = (spec.disclosure, spec.recording_notice, spec.greeting, spec.apology, *spec.reprompt.texts)
    constant = [text for text in (*texts, spec.goodbye, spec.wrap_up) if prompts.names(text) <= set(spec.variables)]
    spoken = (prompts.render(text, spec.variables).strip() for text in constant)
    return tuple(dict.fromkeys(text for text in spoken if text))


def hint_published(version_id: str) -> None:
    """Asks a worker to prepare a version's phrases; without a broker the first call does it."""
    try:
        with current_app.connection_for_write(transport_options=HINT_OPTIONS) as connection:
            current_app.send_task(prepare_phrases.name, args=(version_id,), connection=connection, retry=False)
    except OperationalError as error:
        log.warning("phrases_hint_lost", error=type(error).__name__)


@shared_task(name="streaming.tasks.prepare_phrases", ignore_result=True)
def prepare_phrases(version_id: str) -> None:
    """Speaks and keeps the phrases of one version; a failing voice is logged, the calls meet it themselves."""
    version = AgentVersion.objects.filter(pk=version_id).first()
    if version is None or version.spec.mode != "conversation":
        return
    spec = version.spec
    try:
        config = services.stage_config(
            spec.tts, language=spec.language, voice_id=spec.voice_id, voice_settings=spec.voice_settings
        )
        made = asyncio.run(_prepare(spec, config))
    except (services.AccountError, ProviderError) as error:
        log.warning("phrases_not_prepared", version=version_id, error=str(error))
        return
    log.info("phrases_prepared", version=version_id, made=made)


async def _prepare(spec: AgentSpec, config: ProviderConfig) -> int:
    fmt = CODECS[spec.codec]
    clocks = Clocks().scaled(settings.PROVIDER_CLOCK_SCALE)
    worker = Worker("phrases", limit=100)
    try:
        async with Pools() as pools:
            return await prepare(
                constant_phrases(spec),
                make=lambda: registry.text_to_speech(config, pools=pools, clocks=clocks, codec=fmt),
                config=config,
                fmt=fmt,
                clocks=clocks,
                cache=PhraseCache(folder=settings.VAR_DIR / "phrases", worker=worker),
                account=_account,
            )
    finally:
        await worker.close()


def _account(report: UsageReport) -> None:
    """No call pays for these: their cost shows in the log only."""
    log.info("phrase_spoken", provider=report.provider, model=report.model, characters=report.characters)
