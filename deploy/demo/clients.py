"""The ways in that outside systems have: the services' HTTP APIs with tokens of the issuer, and the partner topics."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from deploy.demo.failures import DemoFailed, Refused
from deploy.demo.stack import RunningStack

AT_ONCE = 8
PATIENCE_SECONDS = 10.0
_TOKEN_SECONDS = 10 * 60

T = TypeVar("T")
Json = dict[str, Any]


class Tokens:
    """Tokens by client id, fetched with the clients' secrets and kept for some minutes."""

    def __init__(self, stack: RunningStack, http: httpx.AsyncClient) -> None:
        self._stack, self._http = stack, http
        self._kept: dict[str, tuple[float, str]] = {}
        self._lock = asyncio.Lock()

    async def of(self, client_id: str) -> str:
        async with self._lock:
            fetched, token = self._kept.get(client_id, (0.0, ""))
            if not token or time.monotonic() - fetched > _TOKEN_SECONDS:
                token = await self._fetch(client_id)
                self._kept[client_id] = (time.monotonic(), token)
            return token

    async def _fetch(self, client_id: str) -> str:
        form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": self._stack.secret_of(client_id),
        }
        try:
            answer = await self._http.post(self._stack.token_url, data=form)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise DemoFailed(
                f"The issuer at {self._stack.token_url} gave no token for {client_id}: {_named(error)}. "
                f"Look in {self._stack.log_of('issuer')}; is the stack up (`make status`)?"
            ) from error
        return str(answer.json()["access_token"])


class Api:
    """One service's API. Every command carries a key of its own: sent again, it takes effect once."""

    def __init__(self, name: str, base: str, run: str, tokens: Tokens, http: httpx.AsyncClient, log: str) -> None:
        self.name, self.base = name, base
        self._run, self._tokens, self._http, self._log = run, tokens, http, log

    async def get(self, path: str, *, who: str, wait_for: str | None = None, **query: Any) -> Any:
        """`wait_for` is a version of a stream that the answer has to know: `registry.participants/<id>=7`."""
        headers = {"Wait-For-Version": wait_for} if wait_for else {}
        return await self._answer("GET", path, who, headers, params=query)

    async def items(self, path: str, *, who: str, **query: Any) -> list[Json]:
        """Everything that a paged list holds."""
        found: list[Json] = []
        while True:
            page = await self.get(path, who=who, **{"limit": 500, **query})
            found += page["items"]
            if not page.get("next"):
                return found
            query["cursor"] = page["next"]

    async def post(self, path: str, body: Json | None = None, *, who: str, step: str) -> Any:
        """`step` names the request within the demo's run. Raises Refused, or DemoFailed when nobody answers."""
        return await self._answer("POST", path, who, self._key(step), json=body)

    async def put(self, path: str, body: Json, *, who: str, step: str) -> Any:
        """As `post`, of what is there whole."""
        return await self._answer("PUT", path, who, self._key(step), json=body)

    async def upload(self, path: str, file: AsyncIterator[bytes], *, who: str, step: str, **query: Any) -> Any:
        headers = {**self._key(step), "Content-Type": "text/csv"}
        return await self._answer("POST", path, who, headers, params=query, content=file, once=True)

    def _key(self, step: str) -> dict[str, str]:
        return {"Idempotency-Key": f"{self._run}/{step}".replace(" ", "-")}

    async def _answer(
        self, method: str, path: str, who: str, headers: Mapping[str, str], *, once: bool = False, **request: Any
    ) -> Any:
        what, deadline = f"{method} {self.base}{path}", time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                answer = await self._http.request(
                    method,
                    self.base + path,
                    headers={"Authorization": f"Bearer {await self._tokens.of(who)}", **headers},
                    **request,
                )
            except httpx.TransportError as error:
                if once or time.monotonic() > deadline:
                    raise DemoFailed(
                        f"{what} got no answer: {_named(error)}. Look in {self._log}; `make status` shows what runs."
                    ) from error
                await asyncio.sleep(0.5)
                continue
            if answer.is_success:
                return answer.json()
            problem = _problem(answer)
            if once or not _passes(answer, problem) or time.monotonic() > deadline:
                raise Refused(f"{what} (as {who})", answer.status_code, problem, self._log)
            await asyncio.sleep(_seconds(answer.headers.get("Retry-After")))


def _problem(answer: httpx.Response) -> Json:
    try:
        body = answer.json()
    except ValueError:
        return {"detail": answer.text[:300]}
    return body if isinstance(body, dict) else {"detail": str(body)[:300]}


def _passes(answer: httpx.Response, problem: Json) -> bool:
    """Whether the same request with the same key may well succeed in a moment."""
    return answer.status_code in (502, 503, 504) or problem.get("code") == "request-in-flight"


def _seconds(text: str | None) -> float:
    return float(text) if text and text.isdigit() else 0.2


def _named(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()


# --- The partner topics -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Message:
    """A record as a partner publishes it."""

    key: str
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class PartnerTopic:
    def __init__(self, topic: str, producer: AIOKafkaProducer, bootstrap: str) -> None:
        self._topic, self._producer, self._bootstrap = topic, producer, bootstrap

    async def publish(self, messages: Iterable[Message]) -> None:
        """Returns once Kafka has all of them."""
        try:
            sent = [
                await self._producer.send(
                    self._topic, key=message.key.encode(), value=message.value, headers=list(message.headers)
                )
                for message in messages
            ]
            await asyncio.gather(*sent)
        except KafkaError as error:
            raise DemoFailed(
                f"Kafka at {self._bootstrap} did not take a message on {self._topic}: {_named(error)}."
            ) from error


# --- All of them ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class House:
    """The services as outside systems see them."""

    registry: Api
    training: Api
    outcomes: Api
    notifications: Api
    dukcapil: PartnerTopic
    dinkop: PartnerTopic
    http: httpx.AsyncClient

    @property
    def apis(self) -> tuple[Api, ...]:
        return (self.registry, self.training, self.outcomes, self.notifications)


@asynccontextmanager
async def opened_house(stack: RunningStack, run: str) -> AsyncIterator[House]:
    """Raises DemoFailed when Kafka does not answer."""
    limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    producer = AIOKafkaProducer(bootstrap_servers=stack.kafka_bootstrap, acks="all", enable_idempotence=True)
    try:
        await asyncio.wait_for(producer.start(), PATIENCE_SECONDS)
    except (KafkaError, OSError, TimeoutError) as error:
        raise DemoFailed(
            f"Kafka at {stack.kafka_bootstrap} does not answer: {_named(error)}. Look in {stack.log_of('kafka')}."
        ) from error
    try:
        async with httpx.AsyncClient(limits=limits, timeout=httpx.Timeout(300, connect=5, pool=None)) as http:
            tokens = Tokens(stack, http)

            def api(name: str) -> Api:
                return Api(name, stack.addresses_of(name).api, run, tokens, http, stack.log_of(f"{name}-api"))

            def topic(name: str) -> PartnerTopic:
                return PartnerTopic(name, producer, stack.kafka_bootstrap)

            yield House(
                registry=api("registry"),
                training=api("training"),
                outcomes=api("outcomes"),
                notifications=api("notifications"),
                dukcapil=topic("partners.dukcapil"),
                dinkop=topic("partners.dinkop"),
                http=http,
            )
    finally:
        await producer.stop()


async def together(requests: Iterable[Awaitable[T]], *, at_once: int = AT_ONCE) -> list[T]:
    """The answers, in order. At the first failure the others are called off, and it is raised."""
    gate = asyncio.Semaphore(at_once)

    async def one(request: Awaitable[T]) -> T:
        async with gate:
            return await request

    tasks = [asyncio.ensure_future(one(request)) for request in requests]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
