"""A stand-in for a service, small enough to test the supervisor with: `python -m tests.deploy.standin api`.

`ENTAS_STANDIN` changes how it behaves: fail-migrate, fail-start, deaf (ignores SIGTERM), never-ready.
"""

import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import psycopg

BEHAVIOUR = os.environ.get("ENTAS_STANDIN", "")


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        ready = not (BEHAVIOUR == "never-ready" and self.path == "/health/ready")
        self.send_response(200 if ready else 503)
        self.end_headers()
        self.wfile.write(b"ok" if ready else b"still waiting for Godot")

    def log_message(self, format: str, *args: object) -> None:
        pass


def migrate() -> None:
    if BEHAVIOUR == "fail-migrate":
        sys.exit("migration 0007 is broken")
    with psycopg.connect(os.environ["ENTAS_DATABASE_URL"]) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS visit (id int)")


def serve(port: str) -> None:
    if BEHAVIOUR == "fail-start":
        sys.exit("a setting is missing")
    if BEHAVIOUR == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        time.sleep(600)  # A child that a careless stop would leave behind.
    HTTPServer(("127.0.0.1", int(port)), Health).serve_forever()


if __name__ == "__main__":
    match sys.argv[1]:
        case "migrate":
            migrate()
        case "topics":
            pass
        case "api":
            serve(os.environ["ENTAS_API_PORT"])
        case "worker":
            serve(os.environ["ENTAS_WORKER_PORT"])
