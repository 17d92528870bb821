"""Rows that tests of all packages need; each factory makes something valid with as little as possible."""

import uuid
from typing import Any

import factory
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.utils import timezone

from agents.models import Agent, AgentVersion, FurtherChoice, ProviderAccount, Voice
from agents.providers.base import ProviderConfig
from calls.models import Call, PhoneNumber, PlivoAccount


class UserFactory(factory.django.DjangoModelFactory):
    """A member of staff; ``permissions=["agents.publish_agent", ...]`` grants them."""

    class Meta:
        model = get_user_model()
        skip_postgeneration_save = True

    username = factory.Sequence(lambda n: f"operator{n}")
    email = factory.LazyAttribute(lambda user: f"{user.username}@example.com")
    is_staff = True

    @factory.post_generation
    def permissions(self: Any, create: bool, names: list[str] | None) -> None:
        for name in names or ():
            app, codename = name.split(".")
            self.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))


class ProviderAccountFactory(factory.django.DjangoModelFactory):
    """An OpenAI account with a key."""

    class Meta:
        model = ProviderAccount

    name = factory.Sequence(lambda n: f"OpenAI {n}")
    provider = "openai"
    api_key = "sk-test-0123456789"
    key_hint = "6789"


class ElevenLabsAccountFactory(ProviderAccountFactory):
    """An ElevenLabs account with a key."""

    name = factory.Sequence(lambda n: f"ElevenLabs {n}")
    provider = "elevenlabs"


class VoiceFactory(factory.django.DjangoModelFactory):
    """A voice of an ElevenLabs account."""

    class Meta:
        model = Voice

    account = factory.SubFactory(ElevenLabsAccountFactory)
    external_id = factory.Sequence(lambda n: f"voice{n}")
    name = factory.Sequence(lambda n: f"Rachel {n}")


class AgentFactory(factory.django.DjangoModelFactory):
    """A draft that can be published: ElevenLabs hears and speaks, OpenAI thinks."""

    class Meta:
        model = Agent

    name = factory.Sequence(lambda n: f"Front desk {n}")
    system_prompt = "You answer the phone of {{business}}."
    greeting = "Hello, this is {{business}}."
    variables = factory.LazyFunction(lambda: {"business": "Rowan Dental"})
    reprompts = factory.LazyFunction(lambda: ["Are you still there?"])
    extraction = factory.LazyFunction(lambda: [{"name": "reason", "type": "text", "description": "why they called"}])
    voice = factory.SubFactory(VoiceFactory)
    tts_account = factory.SelfAttribute("voice.account")
    stt_account = factory.SelfAttribute("voice.account")
    llm_account = factory.SubFactory(ProviderAccountFactory)


class FurtherChoiceFactory(factory.django.DjangoModelFactory):
    """A second language model of an agent."""

    class Meta:
        model = FurtherChoice

    agent = factory.SubFactory(AgentFactory)
    stage = "llm"
    account = factory.SubFactory(ProviderAccountFactory)
    model = "gpt-5.4-mini"


class AgentVersionFactory(factory.django.DjangoModelFactory):
    """A published version, made the way the admin makes it."""

    class Meta:
        model = AgentVersion

    agent = factory.SubFactory(AgentFactory)
    published_by = factory.SubFactory(UserFactory)
    note = ""

    @classmethod
    def _create(cls, model_class: type[AgentVersion], *args: Any, **kwargs: Any) -> AgentVersion:
        from agents.services import publish  # noqa: PLC0415  (so that models can be made without the services)

        return publish(agent=kwargs["agent"], user=kwargs["published_by"], note=kwargs["note"])


def provider_config(**changes: Any) -> ProviderConfig:
    """A complete ProviderConfig; any attribute can be changed."""
    defaults = {"provider": "openai", "base_url": "http://127.0.0.1:9/v1", "api_key": "sk-test", "model": "gpt-6-luna"}
    return ProviderConfig(**(defaults | changes))


class PlivoAccountFactory(factory.django.DjangoModelFactory):
    """A main account at Plivo."""

    class Meta:
        model = PlivoAccount

    name = factory.Sequence(lambda n: f"Plivo {n}")
    auth_id = factory.Sequence(lambda n: f"MA{n:018d}")
    auth_token = factory.Sequence(lambda n: f"plivo-token-{n}")
    token_hint = "ken"


class PhoneNumberFactory(factory.django.DjangoModelFactory):
    """A number that a published agent answers."""

    class Meta:
        model = PhoneNumber

    number = factory.Sequence(lambda n: f"+1555{n:07d}")
    plivo_account = factory.SubFactory(PlivoAccountFactory)

    @factory.lazy_attribute
    def agent(self) -> Agent:
        return AgentVersionFactory().agent


class CallFactory(factory.django.DjangoModelFactory):
    """An inbound call that was answered a moment ago and whose stream has not begun."""

    class Meta:
        model = Call

    direction = Call.Direction.INBOUND
    status = Call.Status.ANSWERED
    phone_number = factory.SubFactory(PhoneNumberFactory)
    plivo_account = factory.SelfAttribute("phone_number.plivo_account")
    agent = factory.SelfAttribute("phone_number.agent")
    agent_version = factory.SelfAttribute("agent.published_version")
    plivo_call_uuid = factory.LazyFunction(lambda: str(uuid.uuid4()))
    from_number = "+15557654321"
    to_number = factory.SelfAttribute("phone_number.number")
    ringing_at = factory.LazyFunction(timezone.now)
    answered_at = factory.SelfAttribute("ringing_at")
    streams = 1
