import datetime

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from agents import services
from agents.admin.agents import PUBLISH
from agents.models import Agent, AgentVersion
from calls.models import Call
from tests import factories

pytestmark = [pytest.mark.db, pytest.mark.django_db]

LIST = reverse("admin:agents_agent_changelist")


def page_of(agent: Agent) -> str:
    return reverse("admin:agents_agent_change", args=[agent.pk])


def filled(client: Client, url: str, **changes) -> dict[str, object]:
    """What a browser would send for the form at ``url`` after somebody typed the changes."""
    context = client.get(url).context
    formsets = [inline.formset for inline in context["inline_admin_formsets"]]
    data = {}
    for form in [context["adminform"].form, *(part for each in formsets for part in [each.management_form, *each])]:
        for name, field in form.fields.items():
            value = form[name].value()
            if value is not None and value is not False:
                data[form.add_prefix(name)] = field.widget.format_value(value) if value is not True else "on"
    for name, value in data.items():
        data[name] = value[0] if isinstance(value, list) else value
    data |= changes
    return {name: value for name, value in data.items() if value is not None}


@pytest.fixture
def agent():
    return factories.AgentFactory(
        name="Desk",
        llm_options={"reasoning_effort": "none", "seed": 7},
        turn_overrides={"max_wait_ms": 2000, "speech_threshold": 0.6},
        extraction=[
            {"name": "reason", "type": "text", "description": "why"},
            {"name": "mood", "type": "choice", "choices": ["good", "bad"], "description": "how they were"},
        ],
    )


def test_an_untouched_form_saves_the_agent_as_it_was(admin_page, agent):
    before = services.build_spec(agent)
    response = admin_page.post(page_of(agent), filled(admin_page, page_of(agent)) | {"_continue": "1"})
    assert response.status_code == 302
    agent.refresh_from_db()
    assert services.build_spec(agent) == before
    assert agent.turn_overrides == {"max_wait_ms": 2000, "speech_threshold": 0.6}
    assert agent.extraction[0] == {"name": "reason", "type": "text", "description": "why", "choices": []}


def test_lines_become_the_data_behind_them(admin_page, agent):
    data = filled(
        admin_page,
        page_of(agent),
        variables="business = A = B\r\ncity = Oslo",
        reprompts="Hello?\r\n\r\nStill there?\r\n",
        extraction="day | date | wished day",
        llm_options="reasoning_effort = none\r\nseed = 3\r\nfast = true\r\nx = 0.5",
        turn_number_max_wait_ms="",
        turn_number_min_wait_ms="300",
    )
    assert admin_page.post(page_of(agent), data).status_code == 302
    agent.refresh_from_db()
    assert agent.variables == {"business": "A = B", "city": "Oslo"}
    assert agent.reprompts == ["Hello?", "Still there?"]
    assert [field["type"] for field in agent.extraction] == ["date"]
    assert agent.llm_options == {"reasoning_effort": "none", "seed": 3, "fast": True, "x": 0.5}
    assert agent.turn_overrides == {"min_wait_ms": 300, "speech_threshold": 0.6}


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"variables": "business"}, "variables", "name = value"),
        ({"variables": "a = 1\na = 2"}, "variables", "twice"),
        ({"extraction": "Reason | text"}, "extraction", "no field name"),
        ({"extraction": "reason | blob"}, "extraction", "Line 1"),
        ({"turn_number_max_wait_ms": "99999"}, "turn_number_max_wait_ms", "8000"),
        ({"turn_number_max_wait_ms": "500", "turn_number_min_wait_ms": "900"}, "turn_preset", "shorter than"),
        ({"language": "English"}, "language", "language tag"),
        ({"fallback_number": "112"}, "fallback_number", "+15551234567"),
        ({"reprompts": "\n".join("abcdef")}, "reprompts", "At most 5"),
        ({"reprompt_after_s": "1"}, "reprompt_after_s", "2"),
    ],
)
def test_what_contradicts_itself_is_refused_beside_its_field_and_nothing_typed_is_lost(
    admin_page, agent, changes, field, words
):
    response = admin_page.post(page_of(agent), filled(admin_page, page_of(agent), greeting="Typed just now", **changes))
    assert response.status_code == 200
    form = response.context["adminform"].form
    assert words in " ".join(form.errors[field])
    assert b"Typed just now" in response.content
    assert Agent.objects.get(pk=agent.pk).greeting != "Typed just now"


def test_an_account_that_cannot_serve_a_stage_is_not_offered_and_not_taken(admin_page, agent):
    data = filled(admin_page, page_of(agent), llm_account=str(agent.tts_account.pk))
    response = admin_page.post(page_of(agent), data)
    assert response.status_code == 200
    assert response.context["adminform"].form.errors["llm_account"]


def test_a_voice_of_another_account_is_refused(admin_page, agent):
    data = filled(admin_page, page_of(agent), voice=str(factories.VoiceFactory().pk))
    response = admin_page.post(page_of(agent), data)
    assert "is no voice of" in response.context["adminform"].form.errors["voice"][0]


def test_a_draft_may_be_unfinished_and_says_what_is_missing(admin_page, agent):
    data = filled(admin_page, page_of(agent), system_prompt="", greeting="Hi {{nobody}}", voice="")
    response = admin_page.post(page_of(agent), data | {"_continue": "1"}, follow=True)
    text = response.content.decode()
    assert "Unknown variable {{nobody}}" in text
    assert "Write who the agent is" in text
    assert "Choose a voice" in text
    assert "Not ready to be published" not in text  # the box of the page says it
    text = admin_page.post(page_of(agent), data, follow=True).content.decode()
    assert "Not ready to be published. Voice: Choose a voice." in text
    assert Agent.objects.get(pk=agent.pk).greeting == "Hi {{nobody}}"


def test_publishing_saves_freezes_and_stays_on_the_page(admin_page, agent, superuser):
    data = filled(admin_page, page_of(agent), greeting="New words.", publish_note="New greeting")
    response = admin_page.post(page_of(agent), data | {PUBLISH: ""}, follow=True)
    assert response.redirect_chain[-1][0] == page_of(agent)
    version = AgentVersion.objects.get(agent=agent)
    assert (version.spec.greeting, version.note, version.published_by) == ("New words.", "New greeting", superuser)
    assert "Version 1 is live" in response.content.decode()
    admin_page.post(page_of(agent), filled(admin_page, page_of(agent)) | {PUBLISH: ""})
    assert AgentVersion.objects.filter(agent=agent).count() == 1  # nothing had changed


def test_a_draft_that_cannot_be_published_is_still_saved(admin_page, agent):
    data = filled(admin_page, page_of(agent), greeting="{{nobody}}")
    response = admin_page.post(page_of(agent), data | {PUBLISH: ""}, follow=True)
    assert "not published: see below" in response.content.decode()
    assert "Greeting: Unknown variable {{nobody}}" in response.content.decode()
    assert Agent.objects.get(pk=agent.pk).greeting == "{{nobody}}"
    assert not AgentVersion.objects.exists()


def test_the_page_shows_what_publishing_would_change(admin_page, agent):
    services.publish(agent=agent, user=None)
    agent.goodbye = "See you <b>soon</b>."
    agent.save()
    text = admin_page.get(page_of(agent)).content.decode()
    assert "Unpublished changes" in text
    assert "See you &lt;b&gt;soon&lt;/b&gt;." in text
    assert "What publishing would change (1)" in text


def test_a_model_s_shutdown_is_shown_beside_it_and_a_typed_model_name_is_no_html(admin_page, agent):
    agent.llm_model = "gpt-5-mini"
    agent.stt_account = agent.llm_account
    agent.stt_model = "gpt-4o-<script>x</script>"
    agent.save()
    response = admin_page.get(page_of(agent))
    fields = response.context["adminform"].form.fields
    assert "2026-12-11" in fields["llm_model"].help_text
    assert "<script>x" not in response.content.decode()


def test_a_new_agent_can_be_added_by_hand(admin_page):
    voice = factories.VoiceFactory()
    url = reverse("admin:agents_agent_add")
    data = filled(
        admin_page,
        url,
        name="Fresh",
        tts_account=str(voice.account.pk),
        stt_account=str(voice.account.pk),
        llm_account=str(factories.ProviderAccountFactory().pk),
        voice=str(voice.pk),
    )
    assert admin_page.post(url, data).status_code == 302
    agent = Agent.objects.get(name="Fresh")
    assert (agent.variables, agent.reprompts, agent.turn_overrides) == ({}, [], {})


def test_malformed_stored_data_does_not_take_the_page_away(admin_page, agent):
    Agent.objects.filter(pk=agent.pk).update(
        variables=["x"], reprompts={"a": 1}, extraction="?", llm_options=[1], turn_overrides="x"
    )
    assert admin_page.get(page_of(agent)).status_code == 200
    assert admin_page.get(LIST).status_code == 200


@pytest.mark.parametrize("agents", [1, 6])
def test_the_list_takes_the_same_queries_for_any_number_of_agents(
    admin_page, agents, django_assert_num_queries, superuser
):
    for _ in range(agents):
        version = factories.AgentVersionFactory(published_by=superuser)
        factories.PhoneNumberFactory(agent=version.agent)
        Call.objects.create(direction="inbound", agent=version.agent, agent_version=version)
    admin_page.get(LIST)
    with django_assert_num_queries(7):
        response = admin_page.get(LIST)
    assert b"Version 1" in response.content


def test_the_list_counts_the_calls_of_the_last_week(admin_page, agent):
    for days in (1, 6, 8):
        call = Call.objects.create(direction="inbound", agent=agent)
        Call.objects.filter(pk=call.pk).update(created_at=timezone.now() - datetime.timedelta(days=days))
    (row,) = admin_page.get(LIST).context["cl"].result_list
    assert row.recent_call_count == 2


@pytest.mark.parametrize("versions", [1, 9])
def test_the_page_takes_the_same_queries_for_any_number_of_versions(
    admin_page, agent, versions, django_assert_max_num_queries
):
    for number in range(versions):
        agent.greeting = f"Hello {number}"
        agent.save()
        services.publish(agent=agent, user=None)
    admin_page.get(page_of(agent))
    with django_assert_max_num_queries(22):
        admin_page.get(page_of(agent))


def test_a_published_agent_cannot_be_deleted_and_a_draft_can(admin_page, agent):
    url = reverse("admin:agents_agent_delete", args=[agent.pk])
    services.publish(agent=agent, user=None)
    assert admin_page.post(url, {"post": "yes"}).status_code == 403
    draft = factories.AgentFactory()
    admin_page.post(reverse("admin:agents_agent_delete", args=[draft.pk]), {"post": "yes"})
    assert list(Agent.objects.all()) == [agent]


def test_history_pages_open(admin_page, agent):
    agent.greeting = "Changed."
    agent.save()
    history = reverse("admin:agents_agent_history", args=[agent.pk])
    assert admin_page.get(history).status_code == 200
    record = agent.history.first()
    old = reverse("admin:agents_agent_simple_history", args=[agent.pk, record.pk])
    assert b"Changed." in admin_page.get(old).content
