"""The worker's job that sends what is due: first it is on the log that a provider will be asked, then it is asked."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic

import structlog

from contracts.envelope import Event
from contracts.notifications import Channel, FailureReason
from services.kit.backoff import Backoff
from services.kit.causes import told
from services.kit.database import session
from services.kit.jobs import JobContext
from services.kit.outages import OUTAGES
from services.kit.rows import Connection
from services.kit.tasks import first_of
from services.kit.transaction import Transaction, Workplace, new_id
from services.notifications.deliveries import decisions, queries
from services.notifications.deliveries.circumstances import (
    Reachable,
    circumstances_of,
    language_of,
    reach,
    templates_of,
    write_to,
)
from services.notifications.deliveries.decisions import Circumstances
from services.notifications.deliveries.state import DELIVERIES, Delivery
from services.notifications.senders import Letter, Outcome
from services.notifications.senders.lanes import Lane, Lanes, close, lanes_from
from services.notifications.settings import SenderSettings
from services.notifications.templates.rendering import Unsendable
from services.notifications.templates.state import Template
from services.notifications.wita import after_quiet_hours

_log = structlog.get_logger(__name__)

IDLE_SECONDS = 0.1
LOOK_AROUND_SECONDS = 2.0
LEFT_BEHIND_AT_ONCE = 100
SET_ASIDE = timedelta(minutes=10)  # by the programme's clock
LEAVE_SECONDS = 2.0  # for what is under way when the process ends


async def send_notifications(context: JobContext) -> None:
    """Sends until the process stops. Several workers may; each message is one worker's at a time."""
    assert isinstance(context.settings, SenderSettings)
    lanes = lanes_from(context.settings)
    if not lanes:
        _log.error("no sender is configured, so nothing is sent: set ENTAS_SENDER_WHATSAPP, _SMS or _EMAIL")
    try:
        async with seat(context.workplace) as mine:
            await Desk(context, lanes, mine).work()
    finally:
        await close(lanes)


# --- Who sends --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seat:
    """A worker's name on the log, and the connection whose life shows others that the worker lives."""

    name: str
    connection: Connection

    async def sees_something_due(self, now: datetime) -> bool:
        """Raises an outage if the connection is gone: others take what this worker was sending for left behind."""
        return await queries.is_something_due(self.connection, now)


@asynccontextmanager
async def seat(workplace: Workplace) -> AsyncIterator[Seat]:
    """A lock that ends with the connection, and so with the process, however that ends."""
    async with session(workplace.pool) as connection:
        name = f"sender:{new_id()}"
        await connection.execute("SELECT pg_advisory_lock(hashtextextended($1, 0))", name)
        yield Seat(name, connection)


# --- The work ---------------------------------------------------------------------------------------------------------


@dataclass
class Desk:
    context: JobContext
    lanes: Lanes
    seat: Seat
    _under_way: set["asyncio.Task[None]"] = field(default_factory=set)
    _freed: asyncio.Event = field(default_factory=asyncio.Event)
    _defect: BaseException | None = None
    _singly: int = 0  # so many of the next messages are taken one by one

    async def work(self) -> None:
        stopping, look_around_at = self.context.stopping, 0.0
        try:
            while not stopping.is_set():
                if self._defect is not None:
                    raise self._defect
                self._freed.clear()
                is_due = await self.seat.sees_something_due(self.context.workplace.now())
                if monotonic() >= look_around_at:
                    await self._take_up_what_was_left_behind()
                    look_around_at = monotonic() + LOOK_AROUND_SECONDS
                if not (is_due and await self._start_what_is_due()):
                    await first_of(self._freed.wait(), stopping, seconds=IDLE_SECONDS)
        finally:
            await self._leave()

    async def _leave(self) -> None:
        """What is under way ends and is recorded first, though the database be away for long; if the process is told
        to stop it has a moment only, and what does not end is found left behind."""
        under_way = [*self._under_way]
        if under_way:
            await first_of(asyncio.wait(under_way), self.context.stopping)
            await asyncio.wait(under_way, timeout=LEAVE_SECONDS)
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    # --- starting -----------------------------------------------------------------------------------------------------

    async def _start_what_is_due(self) -> bool:
        """One batch, no larger than what can start at once. False if nothing was due that can be dealt with now."""
        free = {channel: slots for channel, lane in self.lanes.items() if (slots := lane.free())}
        if not free:
            return False
        batch, ids = Batch(self.lanes), []
        try:
            async with self.context.transaction(self.seat.name) as tx:
                ids = await queries.due(tx.connection, tx.now, free)
                ids = ids[:1] if self._singly else ids
                if ids:
                    await batch.decide(tx, ids)
        except BaseException as error:
            batch.give_back()
            if isinstance(error, OUTAGES) or not (ids and isinstance(error, Exception)):
                raise
            await self._set_aside(ids, error)
            return True
        self._singly = max(0, self._singly - 1)
        for lane, letter in batch.letters:
            task = asyncio.create_task(self._send(lane, letter))
            self._under_way.add(task)
            task.add_done_callback(self._ended)
        return bool(ids)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        self._freed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # A defect of ours. What was not recorded is found left behind once this seat is given up.
            self._defect = error

    async def _set_aside(self, ids: Sequence[str], error: Exception) -> None:
        """A message that cannot be decided on, which is a defect of ours, does not hold up the others: the batch is
        taken one by one, and that one comes again later."""
        if len(ids) > 1:
            self._singly = len(ids)
            return
        _log.error("a message cannot be decided on", notification_id=ids[0], error=told(error, plain=True))
        async with self.context.transaction(self.seat.name) as tx:
            await queries.put_off(tx.connection, {ids[0]: tx.now + SET_ASIDE}, {})

    # --- asking and recording -----------------------------------------------------------------------------------------

    async def _send(self, lane: Lane, letter: Letter) -> None:
        try:
            self.context.crash_point("sending-started-not-sent")
            outcome = await lane.ask(letter)
            self.context.crash_point("sent-not-recorded")
            await self._record_in_the_end(letter, outcome)
        finally:
            lane.give_back()

    async def _record_in_the_end(self, letter: Letter, outcome: Outcome) -> None:
        """However long the database is away, unless the process is told to stop."""
        backoff = Backoff()
        while True:
            try:
                await self._record(letter, outcome)
            except OUTAGES:
                if self.context.stopping.is_set():
                    return
                await backoff.wait(self.context.stopping)
            else:
                return

    async def _record(self, letter: Letter, outcome: Outcome) -> None:
        async with self.context.transaction(self.seat.name) as tx:
            delivery = await tx.row(DELIVERIES, letter.notification_id)
            assert delivery is not None
            await tx.decide(decisions.record(delivery, letter.attempt, letter.channel, outcome))

    # --- what a dead worker left --------------------------------------------------------------------------------------

    async def _take_up_what_was_left_behind(self) -> None:
        while True:
            async with self.context.transaction(self.seat.name) as tx:
                ids = await queries.left_behind(tx.connection, self.seat.name, LEFT_BEHIND_AT_ONCE)
                rows = await tx.rows(DELIVERIES, [(id_,) for id_ in ids])
                await tx.decide(event for row in rows if row is not None for event in decisions.orphaned(row))
            if not ids:
                return
            _log.warning("messages were left behind by a worker that is no more", messages=len(ids))


class Batch:
    """Decides on messages whose time has come: ended, put off, or started, each with a slot of its lane."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self.letters: list[tuple[Lane, Letter]] = []
        self._events: list[Event] = []
        self._until: dict[str, datetime] = {}
        self._waiting: dict[str, Channel] = {}

    async def decide(self, tx: Transaction, ids: Sequence[str]) -> None:
        deliveries = [row for row in await tx.rows(DELIVERIES, [(id_,) for id_ in ids]) if row is not None]
        known = await circumstances_of(tx, deliveries)
        going = [d for d in deliveries if self._goes_on(d, known[d.notification_id], tx)]
        if going:
            reachable = await reach(tx, going, known)
            templates = await templates_of(tx)
            for delivery in going:
                id_ = delivery.notification_id
                self._start(delivery, known[id_], reachable[id_], templates[delivery.template_id])
        await tx.decide(self._events)
        await queries.put_off(tx.connection, self._until, self._waiting)
        await queries.no_longer_put_off(tx.connection, [id_ for id_ in ids if not self._is_put_off(id_)])

    def give_back(self) -> None:
        """Nothing was committed, so nothing starts."""
        for lane, _ in self.letters:
            lane.give_back()

    def _is_put_off(self, id_: str) -> bool:
        return id_ in self._until or id_ in self._waiting

    def _goes_on(self, delivery: Delivery, known: Circumstances, tx: Transaction) -> bool:
        if ends := decisions.end_before_sending(delivery, known, tx.now):
            self._events += ends
            return False
        version = known.rule.in_force
        loud_at = after_quiet_hours(tx.now, version.quiet_from, version.quiet_until)
        if loud_at > tx.now:
            self._until[delivery.notification_id] = loud_at
            return False
        return True

    def _start(self, delivery: Delivery, known: Circumstances, reachable: Reachable, template: Template) -> None:
        wanted = [
            (channel, address)
            for channel in decisions.channels_in_order(delivery, known.rule, known.contact)
            if (address := reachable.address(channel)) is not None
        ]
        ready = next((way for way in wanted if way[0] in self._lanes), None)
        if not wanted or (ready is None and delivery.refused):
            self._events += decisions.end_without_channel(delivery)
            return
        language = language_of(known.contact)
        try:
            written = write_to(delivery, template, language, reachable)
        except Unsendable as unfit:
            _log.error(
                "a message is not sent: its text is unfit",
                notification_id=delivery.notification_id,
                template_id=template.template_id,
                error=str(unfit),
            )
            self._events.append(decisions.fail(delivery, FailureReason.UNSAFE_TEXT))
            return
        # A channel without a sender is passed over. Where there is no other, its operator has until it is old news.
        channel, address = ready or wanted[0]
        lane = self._lanes.get(channel)
        if lane is None or not lane.take():
            self._waiting[delivery.notification_id] = channel
            return
        self._events += decisions.start(delivery, channel, repeatable=lane.sender.repeatable)
        self.letters.append(
            (
                lane,
                Letter(
                    delivery.notification_id,
                    delivery.attempt + 1,
                    channel,
                    language,
                    address,
                    written.subject,
                    written.text,
                ),
            )
        )
