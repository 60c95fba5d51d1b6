"""What passes by itself: telling an outage (time mends it, so we wait) from a defect (it does not, so we stop)."""

import asyncpg
from aiokafka.errors import KafkaError

from services.kit.refusal import Unavailable

# The server or the way to it is away, another transaction was in the way, or a peer does not answer.
OUTAGES: tuple[type[Exception], ...] = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.exceptions.InvalidCachedStatementError,
    # A connection that is cut at the wrong moment: "cannot switch to state 11; another operation (2) is in progress".
    asyncpg.InternalClientError,
    KafkaError,
    Unavailable,
    OSError,
    TimeoutError,
)
