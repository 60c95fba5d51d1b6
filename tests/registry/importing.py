"""A registry of its own for a test that imports lists: a database, the API over real HTTP, and the worker's job."""

import asyncio
import csv
import io
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from contracts.p3ke import HEAD
from contracts.registry import HouseholdDetails
from services.kit.database import migrate, open_pool
from services.kit.jobs import JobContext
from services.kit.settings import Settings
from services.kit.transaction import Workplace, acting_as
from services.kit.trust import trusted
from services.registry.__main__ import SERVICE
from services.registry.snapshots.applying import apply_next
from tests.kit.issuer import ISSUER, Issuer, token
from tests.kit.serving import served
from tests.support.apis import api_of
from tests.support.databases import FreshDatabase

NOW = datetime(2024, 7, 8, 1, 0, tzinfo=UTC)
PEPPER, MASTER_KEY = bytes(range(32)), bytes(range(32, 64))
VILLAGE, OTHER_VILLAGE, ELSEWHERE = "52.01.01.2002", "52.01.01.2003", "52.02.01.1001"


@dataclass
class Registry:
    """What a test may do to it, as an officer or as somebody else, and what it may look at."""

    dsn: str
    pool: Any
    http: httpx.AsyncClient
    context: JobContext
    signing_key: Any
    environment: dict[str, str] = field(default_factory=dict)

    def headers(self, role: str = "officer", areas: Iterable[str] = ("52",)) -> dict[str, str]:
        signed = token(self.signing_key, roles=[role], areas=list(areas), sub=f"{role}-1")
        return {"Authorization": f"Bearer {signed}", "Idempotency-Key": str(uuid.uuid4())}

    async def upload(
        self,
        body: Any,
        *,
        role: str = "officer",
        own_areas: Iterable[str] = ("52",),
        headers: dict[str, str] | None = None,
        **said: Any,
    ) -> httpx.Response:
        """Sends a list: bytes, or an async iterator of bytes."""
        about = {"source": "P3KE", "dated": "2024-06-30", "areas": ["52"]} | said
        sent = {"Content-Type": "text/csv"} | self.headers(role, own_areas) | (headers or {})
        return await self.http.post("/snapshots", params=about, content=body, headers=sent)

    async def get(self, path: str, *, role: str = "officer", areas: Iterable[str] = ("52",), **query: Any) -> Any:
        return await self.http.get(path, params=query, headers=self.headers(role, areas))

    async def apply(self) -> int:
        """Applies everything that waits, and sweeps; gives the number of transactions."""
        steps = 0
        while await apply_next(self.context):
            steps += 1
        return steps

    async def take_in(self, body: Any, **said: Any) -> dict[str, Any]:
        """Uploads, applies, and gives the snapshot as the API shows it then."""
        received = await self.upload(body, **said)
        assert received.status_code == 201, received.text
        await self.apply()
        shown = await self.get(f"/snapshots/{received.json()['snapshot']['snapshot_id']}")
        assert shown.status_code == 200, shown.text
        return dict(shown.json())

    async def fetch(self, sql: str, *arguments: Any) -> list[dict[str, Any]]:
        return [dict(row) for row in await self.pool.fetch(sql, *arguments)]

    async def value(self, sql: str, *arguments: Any) -> Any:
        return await self.pool.fetchval(sql, *arguments)

    async def households(self) -> dict[str, dict[str, Any]]:
        """By the family id that the log knows them by, opened as an auditor with the keys would."""
        shown = {}
        for row in await self.fetch("SELECT * FROM household"):
            details = await self.details_of(row)
            shown[details["source_family_id"]] = row
        return shown

    async def details_of(self, household: dict[str, Any]) -> dict[str, Any]:
        async with self.context.workplace.transaction(acting_as("test")) as tx:
            sealed = (household["household_id"], household["sealed_by"], household["sealed"])
            (details,) = await tx.open([sealed], HouseholdDetails, "test")
        assert details is not None
        return details.model_dump()

    async def facts(self, name: str | None = None) -> list[str]:
        rows = await self.fetch("SELECT type FROM log ORDER BY id")
        types = [row["type"].split(".")[-2] for row in rows]
        return types if name is None else [fact for fact in types if fact == name]


@asynccontextmanager
async def running_registry(fresh_database: FreshDatabase, folder: Path) -> AsyncIterator[Registry]:
    dsn = await fresh_database("registry", lambda dsn: migrate(dsn, SERVICE.migrations) and None)
    for name, secret in (("master", MASTER_KEY), ("pepper", PEPPER)):
        (folder / name).write_text(secret.hex())
    issuer = Issuer()
    async with served(issuer.app) as issuer_url:
        environment = {
            "ENTAS_ENVIRONMENT": "test",
            "ENTAS_DATABASE_URL": dsn,
            "ENTAS_KAFKA_BOOTSTRAP": "127.0.0.1:1",
            "ENTAS_TOKEN_ISSUER": ISSUER,
            "ENTAS_JWKS_URL": f"{issuer_url}/jwks",
            "ENTAS_MASTER_KEY_FILE": str(folder / "master"),
            "ENTAS_SEARCH_PEPPER_FILE": str(folder / "pepper"),
        }
        settings = Settings(
            environment="test",
            database_url=dsn,
            kafka_bootstrap="127.0.0.1:1",
            token_issuer=ISSUER,
            jwks_url=f"{issuer_url}/jwks",
            master_key_file=folder / "master",
            search_pepper_file=folder / "pepper",
        )
        pool = await open_pool(dsn)
        try:
            workplace = Workplace(
                "registry", pool, SERVICE.tables, SERVICE.keyring(settings), lambda: NOW, lambda: None
            )
            with api_of(SERVICE, settings, workplace) as app:
                async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=60, verify=trusted()) as http:
                    context = JobContext(workplace, settings, asyncio.Event())
                    yield Registry(dsn, pool, http, context, issuer.publish("first"), environment)
        finally:
            pool.terminate()


# --- Lists ------------------------------------------------------------------------------------------------------------

COLUMNS = (
    *("id_keluarga", "kode_kemdagri", "desil_kesejahteraan", "persentil", "alamat"),
    *("id_individu", "nama", "nik", "hubungan_kepala_keluarga", "tanggal_lahir", "jenis_kelamin"),
)


def nik(number: int) -> str:
    """Of a region that cannot be issued, and of a woman born on 1 July 1980."""
    return f"527001410780{number:04}"


def family(number: int, *, people: int = 2, **cells: Any) -> list[dict[str, str]]:
    """The rows of a family: a mother and her children."""
    family_id = cells.pop("id_keluarga", f"K-{number}")
    home = {
        "id_keluarga": family_id,
        "kode_kemdagri": VILLAGE,
        "desil_kesejahteraan": "1",
        "persentil": "2",
        "alamat": f"Dusun {'ABCDEFGHIJ'[number % 10]}",
    }
    rows = [
        home
        | {
            "id_individu": f"{family_id}-{at:02}",
            "nama": f"Inaq {'ABCDEFGHIJ'[number % 10]}" if at == 1 else f"Anak {'ABCDEFGHIJ'[at % 10]}",
            "nik": nik(number) if at == 1 else "",
            "hubungan_kepala_keluarga": HEAD if at == 1 else "Anak",
            "tanggal_lahir": "1980-07-01" if at == 1 else f"2015-03-{at:02}",
            "jenis_kelamin": "Perempuan",
        }
        for at in range(1, people + 1)
    ]
    return [row | {name: str(value) for name, value in cells.items()} for row in rows]


def csv_of(*families: list[dict[str, str]]) -> bytes:
    """A list of these families, one after the other."""
    lines = io.StringIO()
    writer = csv.DictWriter(lines, COLUMNS)
    writer.writeheader()
    writer.writerows(row for rows in families for row in rows)
    return lines.getvalue().encode()
