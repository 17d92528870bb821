"""Secrets planted through every feature of a whole installation come out nowhere: nor in its database, logs, Redis,
pages, metrics, nor in any file of it.

Every process runs at LOG_LEVEL=DEBUG. The keys go in through the admin's forms, are used by calls, refused by their
providers, replaced and removed; what strangers and crashes leave behind is looked at too.
"""

import asyncio
import contextlib
import secrets
import sqlite3
import uuid
from pathlib import Path

import httpx
import pytest
import redis
from cryptography.fernet import Fernet
from django.contrib import admin
from websockets.exceptions import InvalidStatus

from config.supervisor import free_port
from tests.integration import canaries
from tests.integration.canaries import Canary
from tests.integration.house import AUTH_ID, CALLED, House, installation, start, until
from tests.integration.operators import Operator

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.timeout(300)]

FINISHES = {"wait_agent_finishes": {"timeout_ms": 10_000}}
QUESTION = ({"say": "book"}, FINISHES, "hangup")
ACCOUNTS = "/admin/agents/provideraccount/"


def planted() -> dict[str, Canary]:
    """Every secret of the journey, by name; keys in the form that the sandbox takes."""
    keys = ("openai", "openai again", "elevenlabs", "elevenlabs again", "compatible", "openai of the environment")
    others = (
        "plivo", "plivo again", "secret", "suppression", "metrics", "password", "mistyped password",
        "colleague's password",
    )  # fmt: skip
    values = {name: f"sk-canary{secrets.token_hex(20)}" for name in keys}
    values |= {name: secrets.token_hex(20) for name in others}
    values |= {name: Fernet.generate_key().decode() for name in ("encryption", "old encryption")}
    return {name: Canary(name, value) for name, value in values.items()}


class Journey:
    """One run through the features."""

    def __init__(self, built: House, operator: Operator, planted: dict[str, Canary]) -> None:
        self.built = built
        self.operator = operator
        self.secret = {name: canary.value for name, canary in planted.items()}
        self.said: list[str] = []

    def page_of(self, kind: str, name: str) -> str:
        """The address of a row's page, by its name (or number)."""
        column = "number" if kind == "calls/phonenumber" else "name"
        table = kind.replace("/", "_")
        ((key,),) = self.built.rows(f"SELECT id FROM {table} WHERE {column} = ?", name)  # noqa: S608
        return f"/admin/{kind}/{uuid.UUID(key) if isinstance(key, str) else key}/change/"

    async def connections(self) -> None:
        """Accounts entered, tested, refused as incomplete, and their keys replaced."""
        operator, secret = self.operator, self.secret
        plivo = {"name": "Carrier", "auth_id": AUTH_ID, "api_url": self.built.box_url}
        await operator.submit("/admin/calls/plivoaccount/add/", **plivo | {"name": ""}, auth_token=secret["plivo"])
        await operator.submit("/admin/calls/plivoaccount/add/", **plivo, auth_token=secret["plivo"])
        page = self.page_of("calls/plivoaccount", "Carrier")
        assert "Connected" in await operator.submit(page, press="Test connection")
        await operator.submit(page, auth_token=secret["plivo again"])
        assert "Connected" in await operator.submit(page, press="Test connection")
        providers = {
            "OpenAI": ("openai", "", "openai"),
            "ElevenLabs": ("elevenlabs", "", "elevenlabs"),
            "Own server": ("openai_compatible", f"{self.built.box_url}/v1", "compatible"),
        }
        for name, (provider, address, key) in providers.items():
            form = {"name": name, "provider": provider, "base_url": address, "new_key": secret[key]}
            await operator.submit(f"{ACCOUNTS}add/", **form | {"name": ""})
            await operator.submit(f"{ACCOUNTS}add/", **form)
            page = self.page_of("agents/provideraccount", name)
            await operator.submit(page, press="Test connection")
            await operator.submit(page, new_key=secret.get(f"{key} again", secret[key]))
            await operator.submit(page, press="Test connection")
            await operator.submit(page, press="Fetch voices")
        assert self.built.rows("SELECT count(*) FROM agents_provideraccount WHERE test_ok") == [(3,)]

    async def agent(self) -> None:
        """An agent with all its stages at these accounts, published, behind the number."""
        accounts = {name: self._key("agents_provideraccount", name) for name in ("OpenAI", "ElevenLabs")}
        await self.operator.submit(
            "/admin/agents/agent/add/",
            name="Desk", system_prompt="Answer the phone.", disclosure="", recording_notice="", greeting="Hello.",
            stt_account=accounts["ElevenLabs"], llm_account=accounts["OpenAI"], tts_account=accounts["ElevenLabs"],
            voice=self._voice("ElevenLabs"),
        )  # fmt: skip
        page = self.page_of("agents/agent", "Desk")
        assert "is live" in await self.operator.submit(page, press="Save and publish")
        await self.operator.submit("/admin/calls/phonenumber/", press="Fetch numbers from Plivo")
        number = self.page_of("calls/phonenumber", CALLED)
        await self.operator.submit(number, press="Save and connect", agent=page.split("/")[-3])

    async def at_openai(self) -> None:
        """The same agent with every stage at OpenAI or at a server that speaks its protocol."""
        openai, own = (self._key("agents_provideraccount", name) for name in ("OpenAI", "Own server"))
        await self.operator.submit(
            self.page_of("agents/agent", "Desk"),
            press="Save and publish",
            stt_account=openai, stt_model="gpt-live-transcribe", llm_account=own,
            llm_model="gpt-4o-mini", tts_account=openai,
            tts_model="gpt-4o-mini-tts", voice=self._voice("OpenAI"), plivo_record="on",
        )  # fmt: skip

    def _key(self, table: str, name: str) -> str:
        return str(uuid.UUID(self.built.rows(f"SELECT id FROM {table} WHERE name = ?", name)[0][0]))  # noqa: S608

    def _voice(self, account: str) -> str:
        query = "SELECT v.id FROM agents_voice v JOIN agents_provideraccount a ON a.id = v.account_id WHERE a.name = ?"
        return str(self.built.rows(query, account)[0][0])

    async def call(self, *steps: object, summary: str = "ready") -> None:
        """A call through the sandbox, with its recording and what becomes of its summary."""
        call_uuid = await self.built.ring(FINISHES, *steps)
        await self.built.control.report(call_uuid, wait="ended", timeout_s=60)
        await until(lambda: self.built.call(call_uuid)["status"] == "ended", 5, "the call's end was not written")
        call_id = self.built.call(call_uuid)["id"]
        attempted = "SELECT 1 FROM calls_callsummary WHERE call_id = ? AND status = ?"
        await until(lambda: self.built.rows(attempted, call_id, summary), 30, f"the summary did not become {summary}")
        ready = "SELECT 1 FROM calls_recording WHERE call_id = ? AND source = 'parley' AND status = 'ready'"
        await until(lambda: self.built.rows(ready, call_id), 15, "no recording")

    async def refused_keys(self) -> None:
        """The providers take no key any more: what a call and the admin say of that. Then a key is removed."""
        keys = [value for name, value in self.secret.items() if value.startswith("sk-")]
        await self.built.control.request("POST", "providers/keys", {"revoked": keys})
        await self.call({"say": "book"}, {"wait_hangup": {"timeout_ms": 12_000}}, "hangup", summary="skipped")
        for name in ("OpenAI", "ElevenLabs", "Own server"):
            page = self.page_of("agents/provideraccount", name)
            assert "fails" in await self.operator.submit(page, press="Test connection")
            await self.operator.submit(page, press="Fetch voices")
        await self.operator.submit(self.page_of("agents/provideraccount", "OpenAI"), remove_key="on")
        await self.operator.submit(self.page_of("agents/provideraccount", "OpenAI"), press="Test connection")

    async def strangers(self) -> None:
        """Forged webhooks, sockets without a call, and the same at Daphne."""
        port = free_port(0)
        await self.built.serve("all", server="daphne", port=port)
        form = {"CallUUID": str(uuid.uuid4()), "From": "15551230001", "To": CALLED, "Event": "StartApp"}
        async with httpx.AsyncClient(trust_env=False) as stranger:
            for url in (self.built.environment["PUBLIC_URL"], f"http://127.0.0.1:{port}"):
                forged = {"X-Plivo-Signature-V3": "Zm9yZ2Vk", "X-Plivo-Signature-V3-Nonce": secrets.token_hex(10)}
                for headers in ({}, forged):
                    assert (await stranger.post(f"{url}/plivo/answer/", data=form, headers=headers)).status_code == 403
        for at in (0, port):
            _, token = await self.built.announce()
            self.said.append(token)
            async with self.built.knock(token, port=at) as socket:
                await socket.send("{")
                await asyncio.wait_for(socket.wait_closed(), 10)
            with contextlib.suppress(InvalidStatus):
                async with self.built.knock(token, port=at, signed=False):
                    raise AssertionError("a stranger was let in")

    async def crashes(self) -> None:
        """A version that cannot be read fails the answer webhook, a socket and a task of the worker."""
        call_uuid, token = await self.built.announce()
        self.said.append(token)
        database = sqlite3.connect(self.built.var_dir / "parley.sqlite3", timeout=10)
        with contextlib.closing(database):
            kept = database.execute("SELECT config, id FROM agents_agentversion").fetchall()
            with database:
                database.execute("""UPDATE agents_agentversion SET config = '{"name": 1}'""")
                database.execute(
                    "UPDATE calls_callsummary SET status = 'pending', attempts = 0, next_attempt_at = NULL"
                )
            rung = await self.built.ring({"silence": 4000}, "hangup")
            async with self.built.knock(token) as socket:
                await socket.send(start(call_uuid))
                await asyncio.wait_for(socket.wait_closed(), 10)
            await self.built.control.report(rung, wait="ended", timeout_s=30)
            for process in ("web", "stream", "worker"):
                log = self.built.var_dir / "logs" / f"{process}.log"
                await until(lambda log=log: "Traceback" in log.read_text(), 30, f"{process} did not crash")
            with database:
                database.executemany("UPDATE agents_agentversion SET config = ? WHERE id = ?", kept)

    async def measured(self) -> list[tuple[str, bytes]]:
        """What /metrics says to the token, and to a wrong one, from elsewhere."""
        found = []
        async with httpx.AsyncClient(trust_env=False, headers={"X-Forwarded-For": "192.0.2.1"}) as scraper:
            for port in (self.built.web_port, self.built.stream_port):
                for token, status in ((self.secret["metrics"], 200), ("wrong", 403)):
                    headers = {"Authorization": f"Bearer {token}"}
                    reply = await scraper.get(f"http://127.0.0.1:{port}/metrics", headers=headers)
                    assert reply.status_code == status
                    found.append(("metrics", reply.content))
        return found


def unvisited(built: House, visited: set[str]) -> dict[str, int]:
    """How many rows of each model of the admin have a page that was not looked at."""
    missing = {}
    for model in admin.site._registry:
        of_model = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        rows = built.rows(f"SELECT count(*) FROM {model._meta.db_table}")[0][0]  # noqa: S608
        seen = sum(path.startswith(of_model) and path.endswith("/change/") for path in visited)
        if of_model not in visited or seen < rows:
            missing[of_model] = rows - seen
    return missing


async def test_planted_secrets_come_out_nowhere(tmp_path: Path, record_property) -> None:
    secret = planted()
    async with contextlib.AsyncExitStack() as stack:
        built = await stack.enter_async_context(
            installation(
                tmp_path,
                auth_tokens=(secret["plivo again"].value, secret["plivo"].value),
                LOG_LEVEL="DEBUG",
                SECRET_KEY=secret["secret"].value,
                ENCRYPTION_KEYS=f"{secret['encryption'].value},{secret['old encryption'].value}",
                SUPPRESSION_KEY=secret["suppression"].value,
                METRICS_TOKEN=secret["metrics"].value,
                OPENAI_API_KEY=secret["openai of the environment"].value,
            )
        )
        built.manage(
            *("createsuperuser", "--noinput", "--username", "operator", "--email", "operator@example.com"),
            DJANGO_SUPERUSER_PASSWORD=secret["password"].value,
        )
        operator = Operator(built.environment["PUBLIC_URL"])
        stack.push_async_callback(operator.leave)
        bus = built.redis_url()
        traffic = await stack.enter_async_context(canaries.traffic_of_redis(bus.removeprefix("unix://")))
        await built.control.request("POST", "providers/transcripts", {"default": "i would like to book an appointment"})
        await built.control.request("POST", "providers/replies", {"tokens": 6})

        journey = Journey(built, operator, secret)
        assert "/admin/login/" in await operator.log_in("operator", secret["mistyped password"].value)
        assert "/admin/logout/" in await operator.log_in("operator", secret["password"].value)
        password = secret["colleague's password"].value
        await operator.submit("/admin/auth/user/add/", username="colleague", password1=password, password2=password)
        await journey.connections()
        await journey.agent()
        await journey.call(*QUESTION)
        await journey.at_openai()
        await journey.call(*QUESTION)
        await journey.refused_keys()
        await journey.strangers()
        await journey.crashes()

        decoy, desk = Canary("decoy", secrets.token_hex(20)), journey.page_of("agents/agent", "Desk")
        await operator.submit(desk, purpose=decoy.value)
        with redis.Redis.from_url(bus) as client:
            client.rpush("planted", "nothing", decoy.value)
        visited = await operator.look_at_everything()
        metrics = await journey.measured()
        printed = await asyncio.to_thread(built.manage, "rotate_encryption_keys")
        printed += await asyncio.to_thread(built.manage, "dumpdata")
        in_redis = await canaries.keys_of_redis(bus)
        addresses = [stream["url"] for call in await built.control.calls()
                     for stream in (await built.control.report(call["call_uuid"]))["streams"]]  # fmt: skip
        assert unvisited(built, visited) == {}
        while_it_ran = list(canaries.files(tmp_path))  # the database's log among them, which a clean stop removes
    with (tmp_path / "supervisor.log").open("a") as log:
        print(f"planted {decoy.value}", file=log)

    tokens = [url.split("/stream/")[1].strip("/") for url in addresses] + journey.said
    wanted = [*secret.values(), decoy, *(Canary(f"stream token {n}", token) for n, token in enumerate(tokens))]
    pages = [(f"page {path.split(' ', 1)[1]}", page.encode()) for path, page in operator.seen.items()]
    places = [
        *while_it_ran, *canaries.files(tmp_path), *canaries.tables(tmp_path / "parley.sqlite3"),
        *pages, *metrics, *in_redis,
        ("redis traffic", bytes(traffic)), ("commands", printed.encode()),
    ]  # fmt: skip
    found = canaries.hits(wanted, places)
    # One secret was let out on purpose, so that an empty result cannot come of looking in the wrong places.
    assert {place for name, place in found if name == "decoy"} >= {
        "file supervisor.log", "table agents_agent", f"page GET {desk}", "redis keys", "redis traffic", "commands",
    }  # fmt: skip
    assert sorted(hit for hit in found if hit[0] != "decoy") == []
    record_property("secrets looked for", len(wanted) - 1)
    record_property("pages, files, tables and keys looked through", len(places))
    record_property("hits", len(found) - sum(name == "decoy" for name, _ in found))
