"""Owns the worker's job that applies received lists, in small transactions that each note how far they got."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic

from contracts.envelope import Envelope, Event
from contracts.registry import HouseholdDetails, HouseholdId, HouseholdListed, PersonDetails
from services.kit.jobs import JobContext
from services.kit.keys import unwrap
from services.kit.rows import Connection
from services.kit.tasks import sleep_unless
from services.kit.transaction import Transaction
from services.registry import search
from services.registry.households.decisions import head_of
from services.registry.households.state import HOUSEHOLDS, MEMBERS, Household
from services.registry.participants.decisions import reprioritise
from services.registry.participants.state import PARTICIPANTS
from services.registry.rules.decisions import PRIORITY
from services.registry.rules.queries import rule_in_force
from services.registry.snapshots import decisions, gathering, imports, queries
from services.registry.snapshots.decisions import (
    Candidates,
    KnownPerson,
    Outcome,
    SameHead,
    Settlement,
    StagedHousehold,
)
from services.registry.snapshots.queries import Import, StagedFamily, Standing
from services.registry.snapshots.reading import row_problem
from services.registry.snapshots.staging import RowSeal, unpack
from services.registry.snapshots.state import SNAPSHOTS, Snapshot

HOUSEHOLDS_AT_ONCE = 500
ROWS_SWEPT_AT_ONCE = 20_000
IDLE_SECONDS = 0.5
SWEEP_SECONDS = 60.0


async def apply_snapshots(context: JobContext) -> None:
    """Applies received lists one by one, in the order in which they came in, until the process stops.

    However it ends, it goes on exactly where its last transaction got: nothing is listed twice, or left out.
    """
    next_sweep = 0.0
    while not context.stopping.is_set():
        if await apply_next(context):
            context.crash_point("half-an-import")
        elif monotonic() >= next_sweep:
            await imports.sweep(context.workplace)
            next_sweep = monotonic() + SWEEP_SECONDS
        else:
            await sleep_unless(context.stopping, IDLE_SECONDS)


async def apply_next(context: JobContext) -> bool:
    """Applies the next households of the list whose turn it is. False if there is nothing to do here and now."""
    async with context.transaction("importer") as tx:
        if not await queries.try_to_lead(tx.connection):
            return False
        work = await queries.next_import(tx.connection)
        if work is None:
            return await gathering.sweep_applied(tx.connection, ROWS_SWEPT_AT_ONCE)
        snapshot = await tx.row(SNAPSHOTS, work.snapshot_id)
        assert snapshot is not None
        cause = await queries.received_as(tx.connection, work.snapshot_id)
        if work.stage == "listing":
            master = context.settings.master_key()
            key = unwrap(master, work.snapshot_id, work.wrapped_key)
            await _settle_next(tx, work, snapshot, RowSeal(key, work.snapshot_id), cause)
        else:
            await _delist_next(tx, work, snapshot, cause)
    return True


# --- Households that the list names -----------------------------------------------------------------------------------


async def _settle_next(tx: Transaction, work: Import, snapshot: Snapshot, seal: RowSeal, cause: Envelope) -> None:
    families = await queries.staged_families(tx.connection, work.number, work.last_row, HOUSEHOLDS_AT_ONCE)
    if not families:
        await gathering.count_what_is_listed(tx.connection)
        await queries.advance(tx.connection, work, stage="delisting")
        return
    known = await _known_by_family(tx, snapshot, families)
    staged = [_opened(family, seal, whole=not known.is_listed(family)) for family in families]
    await _look_up_heads(tx, work, snapshot, known, families, staged)
    settled = [_settle(known, family, household, snapshot) for family, household in zip(families, staged, strict=True)]
    # Ids that were made a moment ago have no rows; saying so saves looking for them.
    new = [one.household_id for one, two in zip(staged, settled, strict=True) if one.household_id == two.household_id]
    tx.working_set.begin(HOUSEHOLDS.topic, new)
    await tx.decide((event for settlement in settled for event in settlement.events), cause=cause)
    await _reprioritise(tx, settled, cause)
    _note(tx, work, snapshot.source, known, families, staged, settled)


def _opened(family: StagedFamily, seal: RowSeal, *, whole: bool) -> StagedHousehold:
    """Of a household that is on the list already the first row says all that is needed; the others stay sealed."""
    rows = family.rows if whole else family.rows[:1]
    return unpack([(row, seal.open(row, sealed)) for row, sealed in rows], shares_head=family.shares_head)


@dataclass
class _Known:
    """What is known that the families of a batch may mean."""

    by_family: dict[bytes, HouseholdId]
    households: dict[HouseholdId, Household]
    by_head: dict[str, list[search.Listed]] = field(default_factory=dict)  # by NIK
    standings: dict[HouseholdId, Standing] = field(default_factory=dict)
    details: dict[HouseholdId, HouseholdDetails | None] = field(default_factory=dict)
    people: dict[HouseholdId, tuple[KnownPerson, ...]] = field(default_factory=dict)

    def named(self, family: StagedFamily) -> Household | None:
        return self.households.get(self.by_family.get(family.family, ""))

    def is_listed(self, family: StagedFamily) -> bool:
        household = self.named(family)
        return household is not None and household.is_listed

    def candidates(self, family: StagedFamily, staged: StagedHousehold) -> Candidates:
        if (known := self.named(family)) is not None:
            return Candidates(same_family=known, people=self.people.get(known.household_id, ()))
        same_head = tuple(
            SameHead(household, standing.named, self.details.get(found.household_id))
            for found in self.by_head.get(_nik_of_head(staged) or "", ())
            if (household := self.households.get(found.household_id)) is not None
            and household.head_person_id == found.person_id
            and (standing := self.standings[found.household_id]).known_before
        )
        people = self.people.get(same_head[0].household.household_id, ()) if len(same_head) == 1 else ()
        return Candidates(same_head=same_head, people=people)


async def _known_by_family(tx: Transaction, snapshot: Snapshot, families: Sequence[StagedFamily]) -> _Known:
    by_family = await queries.households_by_family(
        tx.connection, snapshot.source, [family.family for family in families]
    )
    return _Known(by_family, await _households(tx, by_family.values()))


async def _look_up_heads(
    tx: Transaction,
    work: Import,
    snapshot: Snapshot,
    known: _Known,
    families: Sequence[StagedFamily],
    staged: Sequence[StagedHousehold],
) -> None:
    """Finds by the head's NIK those whose family id is new; a few queries for the whole batch."""
    new = [household for family, household in zip(families, staged, strict=True) if known.named(family) is None]
    niks = {nik for household in new if (nik := _nik_of_head(household)) is not None}
    if niks:
        known.by_head = await search.people_by_national_id(tx.connection, niks)
        found = {listed.household_id for people in known.by_head.values() for listed in people}
        heads = await _households(tx, found)
        known.households |= heads
        known.standings = await queries.standings(tx.connection, work.number, snapshot.source, found)
        known.details = await _details(tx, list(heads.values()))
    known.people = await _people(tx, [household for household in known.households.values() if not household.is_listed])


async def _households(tx: Transaction, ids: Iterable[HouseholdId]) -> dict[HouseholdId, Household]:
    rows = await tx.rows(HOUSEHOLDS, [(household_id,) for household_id in sorted(set(ids))])
    return {row.household_id: row for row in rows if row is not None}


def _nik_of_head(staged: StagedHousehold) -> str | None:
    return next(person.details.national_id for person in staged.people if person.head)


async def _details(tx: Transaction, households: Sequence[Household]) -> dict[HouseholdId, HouseholdDetails | None]:
    sealed = [(household.household_id, household.sealed_by, household.sealed) for household in households]
    opened = await tx.open(sealed, HouseholdDetails, "match-list")
    return {household.household_id: details for household, details in zip(households, opened, strict=True)}


async def _people(tx: Transaction, delisted: Sequence[Household]) -> dict[HouseholdId, tuple[KnownPerson, ...]]:
    """The members of households that were delisted: whoever is listed again keeps their id."""
    ids = [household.household_id for household in delisted]
    await tx.load_streams(MEMBERS, ids)
    members = [member for id_ in ids for member in await tx.stream_rows(MEMBERS, id_)]
    sealed = [(member.person_id, member.sealed_by, member.sealed) for member in members]
    people: dict[HouseholdId, tuple[KnownPerson, ...]] = {}
    for member, details in zip(members, await tx.open(sealed, PersonDetails, "match-list"), strict=True):
        known = KnownPerson(member.person_id, member.left_because, details)
        people[member.household_id] = (*people.get(member.household_id, ()), known)
    return people


def _settle(known: _Known, family: StagedFamily, staged: StagedHousehold, snapshot: Snapshot) -> Settlement:
    settlement = decisions.settle(staged, known.candidates(family, staged), snapshot)
    taken = known.households.get(settlement.household_id or "")
    if taken is not None:
        # The next family of this batch must see it, though nothing is folded yet.
        known.households[taken.household_id] = replace(taken, snapshot_id=snapshot.snapshot_id)
    return settlement


async def _reprioritise(tx: Transaction, settled: Sequence[Settlement], cause: Envelope) -> None:
    """A newer rank gives the participants of a household another priority."""
    changed = [one.household_id for one in settled if one.outcome is Outcome.RANK_CHANGED and one.household_id]
    if not changed:
        return
    participants = await tx.rows(
        PARTICIPANTS, [(id_,) for id_ in sorted(await queries.verified_participants(tx.connection, changed))]
    )
    if not participants:
        return
    rule = await rule_in_force(tx, PRIORITY)
    concerned = sorted({participant.household_id for participant in participants if participant})
    await tx.load_streams(MEMBERS, concerned)
    events: list[Event] = []
    for participant in participants:
        if participant is None:
            continue
        household = await tx.row(HOUSEHOLDS, participant.household_id)
        assert household is not None
        head = head_of(household, await tx.stream_rows(MEMBERS, household.household_id))
        events += reprioritise(participant, household, head, household.rank, rule)
    await tx.decide(events, cause=cause)


def _note(
    tx: Transaction,
    work: Import,
    source: str,
    known: _Known,
    families: Sequence[StagedFamily],
    staged: Sequence[StagedHousehold],
    settled: Sequence[Settlement],
) -> None:
    """Has the transaction write what stands outside the fold: indexes, reports, progress."""
    entries = [entry for settlement in settled for entry in _search_entries(settlement)]
    learned = [
        (family.family, settlement.household_id)
        for family, settlement in zip(families, settled, strict=True)
        if settlement.household_id is not None and known.named(family) is None
    ]
    problems = [row_problem(row, problem) for settlement in settled for row, problem in settlement.problems]
    spared = {household_id for settlement in settled for household_id in settlement.spared}
    people = sum(
        len(family.rows)
        for family, settlement in zip(families, settled, strict=True)
        if settlement.outcome is not Outcome.UNRESOLVED
    )

    async def write(connection: Connection) -> None:
        await search.index(connection, entries)
        await queries.learn_families(connection, work.number, source, learned)
        await queries.spare(connection, work.number, spared)
        await gathering.add_problems(connection, work.number, work.area_code, problems)
        await queries.advance(
            connection,
            work,
            last_row=staged[-1].row,
            settled=Counter(settlement.outcome for settlement in settled),
            people_on_list=people,
        )

    tx.before_log(write)


def _search_entries(settlement: Settlement) -> list[search.Entry]:
    return [
        search.entry(event.household_id, person_id, details)
        for event in settlement.events
        if isinstance(event, HouseholdListed)
        for person_id, details in event.personal.items()
        if isinstance(details, PersonDetails)
    ]


# --- Households that it names no longer -------------------------------------------------------------------------------


async def _delist_next(tx: Transaction, work: Import, snapshot: Snapshot, cause: Envelope) -> None:
    ids = await queries.households_not_named(
        tx.connection, work.number, snapshot, work.last_household, HOUSEHOLDS_AT_ONCE
    )
    if not ids:
        await tx.decide(decisions.conclude(snapshot, work.outcomes, work.people_on_list, work.delisted), cause=cause)
        await queries.advance(tx.connection, work, stage="applied")
        return
    households = [household for household in await tx.rows(HOUSEHOLDS, [(id_,) for id_ in ids]) if household]
    events = [event for household in households for event in decisions.delist(household, snapshot)]
    await tx.decide(events, cause=cause)
    await queries.advance(tx.connection, work, last_household=ids[-1], delisted=len(events))
