"""A small real token issuer for the tests: it publishes keys, gives tokens by client credentials, and can break."""

import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

ISSUER = "https://issuer.entas.test"


class Issuer:
    def __init__(self) -> None:
        self.published: list[dict[str, Any]] = []
        self.fetches = 0
        self.grants: list[tuple[str | None, str]] = []
        self.broken = False
        self.expires_in = 300
        self.gives: str | None = None  # a good token, for who asks a real service with it
        self.app = Starlette(
            routes=[Route("/jwks", self._jwks), Route("/token", self._token, methods=["POST"])],
        )

    def publish(self, kid: str, algorithm: str = "EdDSA") -> Any:
        """Makes a key, publishes its public half and gives the private one."""
        match algorithm:
            case "EdDSA":
                key: Any = Ed25519PrivateKey.generate()
            case "RS256":
                key = rsa.generate_private_key(65537, 2048)
            case _:
                key = ec.generate_private_key(ec.SECP256R1())
        jwk = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
        self.published.append(jwk | {"kid": kid, "alg": algorithm, "use": "sig"})
        return key

    async def _jwks(self, _request: Request) -> Response:
        self.fetches += 1
        if self.broken:
            return Response("no keys today", status_code=500)
        return JSONResponse({"keys": self.published})

    async def _token(self, request: Request) -> Response:
        form = await request.form()
        self.grants.append((request.headers.get("authorization"), str(form["grant_type"])))
        if self.broken:
            return Response("no tokens today", status_code=500)
        return JSONResponse({"access_token": self.gives or f"token-{len(self.grants)}", "expires_in": self.expires_in})


def token(key: Any, kid: str | None = "first", algorithm: str = "EdDSA", **changes: Any) -> str:
    """A good token, with claims changed; a change to None leaves the claim out."""
    claims = {
        "iss": ISSUER,
        "sub": "officer-7",
        "aud": "entas",
        "exp": int(time.time()) + 300,
        "roles": ["officer"],
        "areas": ["52.01"],
    } | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm, headers={"kid": kid} if kid else None)


class Watch:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds
