"""Which logs can be read where: from the command line's options, or from a local stack's own description."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from services.audit.api_source import ApiSource
from services.audit.archive import ArchiveSource
from services.audit.kafka_source import KafkaSource
from services.audit.sources import Source
from services.kit.auth import ServiceToken
from services.kit.notes import VerifierKey

SERVICES = ("registry", "training", "outcomes", "notifications")


class PlacesUnknown(Exception):
    """The options do not say where logs are, or what they are to be held against; the message says what to give."""


@dataclass(frozen=True)
class Places:
    kafka: str | None = None
    addresses: Mapping[str, str] = field(default_factory=dict)  # service -> its API
    token: ServiceToken | None = None
    archive: ArchiveSource | None = None
    keys: Path | None = None

    def services(self) -> Sequence[str]:
        if self.archive is not None:
            return self.archive.services
        return tuple(self.addresses) or SERVICES

    def sources(self, service: str) -> list[Source]:
        """Where this service's log can be read; the endpoint after Kafka, since it can do more."""
        found: list[Source] = [] if self.kafka is None else [KafkaSource(self.kafka)]
        if service in self.addresses:
            found.append(self.api(service))
        if self.archive is not None and service in self.archive.services:
            found.append(self.archive)
        if not found:
            raise PlacesUnknown(
                f"nothing says where the log of {service} is: give --kafka, --api, --archive or --stack"
            )
        return found

    def api(self, service: str) -> ApiSource:
        if service not in self.addresses or self.token is None:
            raise PlacesUnknown(
                f"nothing says where the API of {service} is: give --api {service}=https://… or --stack"
            )
        return ApiSource({service: self.addresses[service]}, self.token)

    def leaves_beside(self, service: str, source: Source) -> Source | None:
        """Another source that has leaf hashes."""
        return next((s for s in reversed(self.sources(service)) if s is not source and s.name != source.name), None)

    def key(self, service: str) -> VerifierKey:
        """The service's public key: the given one, else, for an archive, the one that came with it."""
        if self.keys is None and self.archive is not None:
            return self.archive.key(service)
        file = (self.keys or Path(".local/keys")) / f"{service}.vkey"
        try:
            return VerifierKey.read(file.read_text(encoding="ascii"))
        except (OSError, ValueError) as error:
            raise PlacesUnknown(f"the public key of {service} is needed in {file} (--keys FOLDER): {error}") from error


def places_of(
    stack: Path | None, kafka: str | None, api: Sequence[str] | None, archive: Path | None, keys: Path | None
) -> Places:
    """Raises PlacesUnknown, or NoArchive."""
    opened = None if archive is None else ArchiveSource.open(archive)
    if stack is not None:
        return _of_stack(stack, opened)
    addresses = dict(_address(text) for text in api or ())
    if kafka is None and not addresses and opened is None:
        raise PlacesUnknown("nothing says where the logs are: give --kafka, --api, --archive or --stack (see --help)")
    return Places(kafka, addresses, _own_token() if addresses else None, opened, keys)


def _of_stack(folder: Path, archive: ArchiveSource | None) -> Places:
    try:
        facts = json.loads((folder / "stack.json").read_text())
        secret = json.loads(Path(facts["clients_file"]).read_text())["auditor"]["secret"]
    except (OSError, ValueError, KeyError) as error:
        raise PlacesUnknown(f"no stack runs in {folder} (`make up` starts one): {error}") from error
    addresses = {name: urls["api"] for name, urls in facts["services"].items()}
    token = ServiceToken(facts["token_url"], "auditor", secret)
    return Places(facts["kafka_bootstrap"], addresses, token, archive, folder / "keys")


def _address(text: str) -> tuple[str, str]:
    service, _, url = text.partition("=")
    if not url.startswith(("http://", "https://")):
        raise PlacesUnknown(f"--api {text}: it should be registry=https://… (a service, and where its API is)")
    return service, url


def _own_token() -> ServiceToken:
    names = ("ENTAS_TOKEN_URL", "ENTAS_CLIENT_ID", "ENTAS_CLIENT_SECRET")
    if missing := [name for name in names if not os.environ.get(name)]:
        raise PlacesUnknown(f"{', '.join(missing)}: not set; the log's endpoints want an auditor's token (area *)")
    return ServiceToken(*(os.environ[name] for name in names))
