"""Whom we believe when we ask others over HTTPS."""

import ssl
from functools import cache

import httpx


@cache
def trusted() -> ssl.SSLContext:
    """Who may vouch for servers; reading that takes longer than most answers, so it is read once a process."""
    return httpx.create_ssl_context()
