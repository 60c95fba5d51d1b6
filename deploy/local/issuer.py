"""A real token issuer for the local stack: publishes its key, gives tokens for client credentials (RFC 6749, 4.4).

Run as `python -m deploy.local.issuer FOLDER PORT`; the signing key and the clients are read from FOLDER/secrets.
"""

import base64
import hashlib
import hmac
import json
import sys
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

AUDIENCE = "entas"
TOKEN_SECONDS = 15 * 60


@dataclass(frozen=True, slots=True)
class Issuer:
    """Signs for the clients of one stack. Their file is read for each token: a new client needs no restart."""

    url: str
    key: Ed25519PrivateKey
    clients_file: Path

    def public_key(self) -> dict[str, Any]:
        """The key as a JWK; its `kid` is the RFC 7638 thumbprint."""
        jwk: dict[str, str] = jwt.get_algorithm_by_name("EdDSA").to_jwk(self.key.public_key(), as_dict=True)
        required = json.dumps({name: jwk[name] for name in ("crv", "kty", "x")}, separators=(",", ":"))
        thumbprint = base64.urlsafe_b64encode(hashlib.sha256(required.encode()).digest()).rstrip(b"=")
        return {**jwk, "kid": thumbprint.decode(), "alg": "EdDSA", "use": "sig"}

    def token(self, client_id: str, secret: str) -> str | None:
        """A token for the client, good for 15 minutes; None when the id or the secret is wrong."""
        client = json.loads(self.clients_file.read_text()).get(client_id)
        if not hmac.compare_digest(secret.encode(), (client or {"secret": ""})["secret"].encode()) or not client:
            return None
        now = int(time.time())
        claims = {"iss": self.url, "sub": client_id, "aud": AUDIENCE, "iat": now, "exp": now + TOKEN_SECONDS}
        claims |= {"roles": client["roles"], "areas": client["areas"]}
        return jwt.encode(claims, self.key, algorithm="EdDSA", headers={"kid": self.public_key()["kid"]})


def application(issuer: Issuer) -> FastAPI:
    app = FastAPI(title="Entas local token issuer", docs_url=None, redoc_url=None)

    @app.get("/.well-known/jwks.json")
    async def keys() -> dict[str, Any]:
        return {"keys": [issuer.public_key()]}

    @app.get("/.well-known/openid-configuration")
    async def metadata() -> dict[str, Any]:
        return {
            "issuer": issuer.url,
            "jwks_uri": f"{issuer.url}/.well-known/jwks.json",
            "token_endpoint": f"{issuer.url}/token",
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        }

    @app.post("/token")
    async def token(request: Request) -> JSONResponse:
        try:
            asked = await _asked(request)
        except ValueError:
            return _refusal(400, "invalid_request", "the body is no form and no JSON, or the credentials no base64")
        if asked.get("grant_type") != "client_credentials":
            return _refusal(400, "unsupported_grant_type", "grant_type must be client_credentials")
        made = issuer.token(asked.get("client_id", ""), asked.get("client_secret", ""))
        if made is None:
            return _refusal(401, "invalid_client", f"no such client, or another secret; see {issuer.clients_file}")
        answer = {"access_token": made, "token_type": "Bearer", "expires_in": TOKEN_SECONDS}
        return JSONResponse(answer, headers={"Cache-Control": "no-store"})

    @app.get("/health/live")
    @app.get("/health/ready")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


async def _asked(request: Request) -> dict[str, str]:
    """The request's fields, from JSON or a form, with the credentials from HTTP Basic when they are there."""
    if request.headers.get("content-type", "").startswith("application/json"):
        body = await request.json()
        fields = {name: str(value) for name, value in body.items()} if isinstance(body, dict) else {}
    else:
        fields = {name: str(value) for name, value in (await request.form()).items()}
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        # Our ids may hold a colon ("service:training"), our secrets never do: so the last one divides.
        client_id, _, secret = base64.b64decode(encoded).decode().rpartition(":")
        fields |= {"client_id": urllib.parse.unquote(client_id), "client_secret": secret}
    return fields


def _refusal(status: int, error: str, description: str) -> JSONResponse:
    return JSONResponse({"error": error, "error_description": description}, status)


def token_for(client_id: str, *, token_url: str, clients_file: Path) -> str:
    """Fetches a token over HTTP as that client, with its secret from the clients' file."""
    secret = json.loads(clients_file.read_text())[client_id]["secret"]
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    with urllib.request.urlopen(token_url, urllib.parse.urlencode(form).encode(), timeout=10) as answer:
        return str(json.load(answer)["access_token"])


def main() -> None:
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    key = load_pem_private_key((folder / "secrets" / "issuer.key").read_bytes(), password=None)
    assert isinstance(key, Ed25519PrivateKey), "issuer.key is made by `python -m deploy.local up`"
    issuer = Issuer(f"http://127.0.0.1:{port}", key, folder / "secrets" / "clients.json")
    uvicorn.run(application(issuer), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
