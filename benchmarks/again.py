"""Folding once more, and verifying: how fast a projection is rebuilt, and an archive is held against its proofs."""

import asyncio
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from benchmarks.world import TOPIC, Site
from services.audit.archive import SIGNED_AS, ArchiveWriter
from services.audit.made import made_log
from services.kit.notes import Signer
from services.kit.rebuild import rebuild
from services.kit.rebuild_parts import processes_here
from services.training.__main__ import SERVICE as TRAINING

SPOILT = "UPDATE demand SET people = people + 1"


async def rebuild_projection(site: Site, kafka: str, *, spoilt: bool) -> float:
    """Seconds to make training's households anew from Kafka, up to the live cursor; `spoilt`: every row is wrong.

    As the command does it, with a process a core where there is much to fold.
    """
    if spoilt:
        await site.pool.execute(SPOILT)
    await site.pool.execute("VACUUM demand")  # As PostgreSQL does by itself in time: only what a rebuild does counts.
    start = perf_counter()
    await rebuild(
        site.dsn, kafka, TRAINING.tables, TOPIC, tables_in="services.training.state", processes=processes_here()
    )
    return perf_counter() - start


async def verify_archive(events: int) -> float:
    """Seconds that an archive's own verifier takes, on two processes, with nothing but Python's standard library."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "archive"
        log = made_log("registry", events, every=events // 4)
        with ArchiveWriter(archive, Signer(SIGNED_AS, bytes(32))) as writer:
            await writer.add_log("registry", log, log.signer.verifier, lambda done, total: None)
        del log
        start = perf_counter()
        verifier = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(archive / "verify.py")), stdout=asyncio.subprocess.PIPE
        )
        said, _ = await verifier.communicate()
        seconds = perf_counter() - start
        assert verifier.returncode == 0, said.decode()[-2000:]
        return seconds
