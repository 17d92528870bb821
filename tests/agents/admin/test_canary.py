"""A key planted through the admin must not come out anywhere: pages, history, log entries, logs, database."""

import io
import logging

import pytest
from django.contrib.admin.models import LogEntry
from django.core import serializers
from django.core.management import call_command
from django.db import connection
from django.urls import reverse
from simple_history.utils import get_history_model_for_model

from agents import services
from agents.fields import Secret
from agents.models import ProviderAccount
from config.logging import LOGGING
from tests import factories

pytestmark = [pytest.mark.db, pytest.mark.django_db(transaction=True)]

CANARY = "sk-canary-b1946ac92492d2347c6235b4d2611184"
PART = CANARY[3:-4]  # the last four characters are the hint and may show


def everything_in_the_database() -> str:
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")  # noqa: S608
            found.append(repr(cursor.fetchall()))
    return "\n".join(found)


def test_a_planted_key_comes_out_nowhere(admin_page, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    seen = []

    def visit(name: str, /, *args: object, **data: str) -> None:
        url = reverse(f"admin:{name}", args=args)
        response = admin_page.post(url, data, follow=True) if data else admin_page.get(url)
        assert response.status_code == 200, url
        seen.append(response.content.decode())

    form = {"name": "Canary", "provider": "openai_compatible", "base_url": "http://127.0.0.1:1/v1"}
    visit("agents_provideraccount_add", **form, new_key=CANARY)
    account = ProviderAccount.objects.get()
    assert account.api_key == CANARY
    visit("agents_provideraccount_change", account.pk, **form, agents_provideraccount_test_connection="")
    visit("agents_provideraccount_change", account.pk, **(form | {"name": ""}), new_key=CANARY)
    visit("agents_provideraccount_change", account.pk, **(form | {"name": "Renamed"}))
    visit("agents_provideraccount_change", account.pk)
    visit("agents_provideraccount_changelist")
    visit("agents_provideraccount_history", account.pk)
    for record in account.history.all():
        visit("agents_provideraccount_simple_history", account.pk, record.pk)
    agent = factories.AgentFactory(llm_account=account)
    version = services.publish(agent=agent, user=None)
    visit("agents_agent_change", agent.pk)
    visit("agents_agentversion_change", version.pk)
    visit("index")

    dump = io.StringIO()
    call_command("rotate_encryption_keys", stdout=dump, stderr=dump)
    call_command("dumpdata", "agents", stdout=dump)
    config = services.stage_config(version.spec.llm, language="en-US")
    assert config.api_key == CANARY
    loaded = ProviderAccount.objects.get(pk=account.pk)
    text = {
        "pages": "\n".join(seen),
        "database": everything_in_the_database(),
        "history": serializers.serialize("json", get_history_model_for_model(ProviderAccount).objects.all()),
        "log entries": repr(list(LogEntry.objects.values())),
        "logs": caplog.text + repr([record.__dict__ for record in caplog.records]) + "".join(capsys.readouterr()),
        "commands": dump.getvalue(),
        "reprs": f"{config!r} {loaded!r} {loaded.api_key!r} {loaded.__dict__!r}",
        "version": repr(version.config),
    }
    assert [place for place, words in text.items() if PART in words] == []
    assert LogEntry.objects.exists()
    assert account.history.count() >= 2


def test_a_dump_holds_the_key_encrypted_and_can_be_loaded_again():
    account = factories.ProviderAccountFactory(api_key=CANARY)
    dump = serializers.serialize("json", ProviderAccount.objects.all())
    assert PART not in dump
    ProviderAccount.objects.all().delete()
    for loaded in serializers.deserialize("json", dump):
        loaded.save()
    assert ProviderAccount.objects.get(pk=account.pk).api_key == CANARY


def test_a_secret_hides_itself_in_reprs_and_formats_only_on_purpose():
    assert PART not in repr([Secret(CANARY)])
    assert PART not in repr({"key": Secret(CANARY)})


def test_a_crash_s_log_lines_hold_no_local_variables(capsys):
    formatter = dict(LOGGING["formatters"]["structlog"])
    make = formatter.pop("()")
    handler = logging.StreamHandler(stream := io.StringIO())
    handler.setFormatter(make(**formatter))
    logger = logging.getLogger("tests.canary")
    logger.propagate = False
    logger.addHandler(handler)
    try:
        key = CANARY  # noqa: F841  (the local that must not be printed)
        raise ValueError("broken")
    except ValueError:
        logger.exception("A failure")
    finally:
        logger.removeHandler(handler)
    assert "ValueError" in stream.getvalue()
    assert PART not in stream.getvalue()
