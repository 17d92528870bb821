"""GET /v2/voices, /v1/voices/{id}, /v1/models and /v1/user(/subscription): what the account has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from sandbox.elevenlabs.errors import enter, malformed, model_not_found, voice_not_found
from sandbox.providers_state import Entry
from sandbox.voice import BY_ID, VOICES, Voice

_LANGUAGES = (("en", "English"), ("de", "German"))
_CREATED = 1_790_000_000


@dataclass(frozen=True)
class Model:
    """One speech model: longest text, whether the sockets take it, what a character costs."""

    id: str
    name: str
    max_characters: int
    streams: bool = True
    cost: float = 1.0


MODELS: dict[str, Model] = {
    model.id: model
    for model in (
        Model("eleven_flash_v2_5", "Eleven Flash v2.5", 40_000, cost=0.5),
        Model("eleven_turbo_v2_5", "Eleven Turbo v2.5", 40_000, cost=0.5),
        Model("eleven_multilingual_v2", "Eleven Multilingual v2", 10_000),
        Model("eleven_v3", "Eleven v3", 5_000, streams=False),
    )
}
DEFAULT_MODEL = "eleven_multilingual_v2"


def require_voice(name: str) -> Voice:
    """The voice of that id. Raises ElevenLabsError (404)."""
    voice = BY_ID.get(name)
    if voice is None:
        raise voice_not_found(name)
    return voice


def require_model(name: str) -> Model:
    """The model of that id. Raises ElevenLabsError (400)."""
    model = MODELS.get(name)
    if model is None:
        raise model_not_found(name)
    return model


def _shown(voice: Voice) -> dict[str, Any]:
    return {
        "voice_id": voice.id,
        "name": voice.name,
        "samples": None,
        "category": "premade",
        "fine_tuning": {"is_allowed_to_fine_tune": False, "state": {}, "language": None},
        "labels": voice.labels,
        "description": "Synthetic voice of the sandbox, made by espeak-ng" if voice.espeak else "A plain tone",
        "preview_url": None,
        "available_for_tiers": [],
        "settings": None,
        "sharing": None,
        "high_quality_base_model_ids": list(MODELS),
        "verified_languages": [{"language": voice.language, "model_id": "eleven_flash_v2_5", "accent": None}],
        "is_owner": False,
        "is_legacy": False,
        "is_mixed": False,
        "created_at_unix": _CREATED,
    }


def _integer(request: web.Request, name: str, default: int, lowest: int, highest: int) -> int:
    raw = request.query.get(name, str(default))
    if not raw.isdecimal() or not lowest <= int(raw) <= highest:
        raise malformed(["query", name], f"Input should be between {lowest} and {highest}", "value_error")
    return int(raw)


async def voices(request: web.Request, entry: Entry) -> web.StreamResponse:
    """Search the voices, page by page. Raises ElevenLabsError."""
    await enter(request, "other", entry)
    size = _integer(request, "page_size", 10, 1, 100)
    query = request.query
    found = [
        voice
        for voice in VOICES
        if query.get("search", "").lower() in f"{voice.name} {' '.join(voice.labels.values())}".lower()
        and query.get("category", "premade") == "premade"
        and query.get("language", voice.language) == voice.language
        and ("voice_ids" not in query or voice.id in query.getall("voice_ids"))
    ]
    first = next((index for index, voice in enumerate(found) if voice.id == query.get("next_page_token")), 0)
    page, rest = found[first : first + size], found[first + size :]
    content = {
        "voices": [_shown(voice) for voice in page],
        "has_more": bool(rest),
        "total_count": len(found),
        "next_page_token": rest[0].id if rest else None,
    }
    return web.json_response(content)


async def voice(request: web.Request, entry: Entry) -> web.StreamResponse:
    """One voice. Raises ElevenLabsError."""
    await enter(request, "other", entry)
    return web.json_response(_shown(require_voice(request.match_info["voice"])))


async def models(request: web.Request, entry: Entry) -> web.StreamResponse:
    """All speech models. Raises ElevenLabsError."""
    await enter(request, "other", entry)
    languages = [{"language_id": code, "name": name} for code, name in _LANGUAGES]
    content = [
        {
            "model_id": model.id,
            "name": model.name,
            "can_be_finetuned": False,
            "can_do_text_to_speech": True,
            "can_do_voice_conversion": False,
            "can_use_style": model.id == DEFAULT_MODEL,
            "can_use_speaker_boost": model.id == DEFAULT_MODEL,
            "serves_pro_voices": False,
            "token_cost_factor": model.cost,
            "description": "As the sandbox plays it: espeak-ng",
            "requires_alpha_access": False,
            "maximum_text_length_per_request": model.max_characters,
            "languages": languages,
            "model_rates": {"character_cost_multiplier": model.cost},
            "concurrency_group": "standard",
        }
        for model in MODELS.values()
    ]
    return web.json_response(content)


def _subscription() -> dict[str, Any]:
    return {
        "tier": "creator",
        "character_count": 0,
        "character_limit": 100_000,
        "max_character_limit_extension": None,
        "max_credit_limit_extension": 0,
        "can_extend_character_limit": False,
        "allowed_to_extend_character_limit": False,
        "next_character_count_reset_unix": _CREATED + 30 * 86_400,
        "voice_slots_used": 0,
        "professional_voice_slots_used": 0,
        "professional_voice_slots_used_in_workspace": 0,
        "voice_limit": 30,
        "voice_add_edit_counter": 0,
        "professional_voice_limit": 1,
        "can_extend_voice_limit": False,
        "can_use_instant_voice_cloning": True,
        "can_use_professional_voice_cloning": False,
        "currency": "usd",
        "current_overage": {"amount": "0", "currency": "usd"},
        "status": "active",
        "billing_period": "monthly_period",
        "character_refresh_period": "monthly_period",
        "next_invoice": None,
        "open_invoices": [],
        "has_open_invoices": False,
    }


async def subscription(request: web.Request, entry: Entry) -> web.StreamResponse:
    """The subscription. Raises ElevenLabsError."""
    await enter(request, "other", entry)
    return web.json_response(_subscription())


async def user(request: web.Request, entry: Entry) -> web.StreamResponse:
    """The account. Raises ElevenLabsError."""
    await enter(request, "other", entry)
    content = {
        "user_id": "sandbox_user",
        "workspace_id": "sandbox_workspace",
        "subscription": _subscription(),
        "is_new_user": False,
        "can_use_delayed_payment_methods": False,
        "is_onboarding_completed": True,
        "is_onboarding_checklist_completed": True,
        "first_name": "Sandbox",
        "created_at": _CREATED,
        "seat_type": "workspace_member",
    }
    return web.json_response(content)
