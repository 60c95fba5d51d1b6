"""The faults that `make saboteur` plants: where, what, and the test that must see it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    name: str
    file: str
    sound: str  # occurs exactly once in the file
    broken: str
    test: str


LOG, RELAY, CONSUMER = "tests/kit/test_log.py", "tests/kit/test_relay.py", "tests/kit/test_consumer.py"
PARKING = "tests/kit/test_parking.py"
CHECKPOINTS = "tests/kit/test_checkpoints.py"

FAULTS = (
    # --- The log ----------------------------------------------------------------------------------------------------
    Fault(
        "outbox first, tables after",
        "services/kit/transaction.py",
        "        await self.working_set.write(self.connection, copied=self._is_foreign)\n",
        "        await log.append(self.connection, self._entries)\n"
        "        self._entries = []\n"
        "        await self.working_set.write(self.connection, copied=self._is_foreign)\n",
        f"{LOG}::test_the_outbox_is_the_transactions_last_statement",
    ),
    Fault(
        "rows are read without a lock",
        "services/kit/rows.py",
        'records = await connection.fetch(known.sql.select + (" FOR UPDATE OF t" if lock else ""), *arrays)',
        "records = await connection.fetch(known.sql.select, *arrays)",
        f"{LOG}::test_commands_on_one_stream_at_once_follow_one_another_without_a_gap",
    ),
    Fault(
        "an oversized event is let through",
        "services/kit/log.py",
        "    if size > MAX_RECORD_BYTES:\n",
        "    if size > 100 * MAX_RECORD_BYTES:\n",
        f"{LOG}::test_an_event_too_large_for_kafka_is_refused_at_append",
    ),
    Fault(
        "the log can be changed",
        "services/kit/migrations/0001_log.sql",
        "CREATE TRIGGER log_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON log",
        "CREATE TRIGGER log_is_append_only BEFORE TRUNCATE ON log",
        f"{LOG}::test_the_log_is_append_only",
    ),
    Fault(
        "an erased person gets a new key",
        "services/kit/keyring.py",
        "        if erased := [subject for subject in subjects if subject not in keys]:\n",
        "        if erased := []:\n",
        f"{LOG}::test_an_erased_person_can_be_neither_read_nor_sealed_again",
    ),
    Fault(
        "a look at personal data is not logged",
        "services/kit/transaction.py",
        "    if subjects:\n        await log_look(",
        "    if not subjects:\n        await log_look(",
        f"{LOG}::test_personal_data_is_sealed_before_fold_and_log_and_opens_for_its_person_alone",
    ),
    Fault(
        "rows that fold to nothing stay",
        "services/kit/rows.py",
        "            if gone:\n",
        "            if gone and False:\n",
        f"{LOG}::test_a_row_that_folds_to_none_is_deleted_and_can_come_again",
    ),
    # --- The relay --------------------------------------------------------------------------------------------------
    Fault(
        "plain send() instead of one record batch per partition",
        "services/kit/relay.py",
        "        if not await first_of(send_all(producer, builders), stopping):\n",
        "        async def plainly() -> None:\n"
        "            sent = [\n"
        "                await producer.send(\n"
        "                    e.envelope.topic, e.value, e.envelope.key.encode(), partition=e.partition,\n"
        "                    headers=headers_of(e.envelope, e.position),\n"
        "                )\n"
        "                for e in batch.events\n"
        "            ]\n"
        "            await asyncio.gather(*sent)\n"
        "\n"
        "        if not await first_of(plainly(), stopping):\n",
        f"{RELAY}::test_one_record_batch_per_partition_holds_a_sealed_batch",
    ),
    Fault(
        "a batch that was not marked sent is forgotten",
        "services/kit/relay.py",
        "            batch = await self._unsent(connection)\n",
        "            batch = None\n",
        f"{RELAY}::test_a_batch_sealed_but_not_marked_is_sent_again_identical",
    ),
    Fault(
        "the chain names the sequence before, whatever its partition",
        "services/kit/relay.py",
        "position = Position(sequence, tails.get(tail, NOTHING_BEFORE))",
        "position = Position(sequence, sequence - 1)",
        f"{RELAY}::test_everything_reaches_kafka_in_order_and_chained",
    ),
    Fault(
        "two relays lead at once",
        "services/kit/relay.py",
        'while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LEADER_LOCK):',
        'while not await connection.fetchval("SELECT $1 > 0", LEADER_LOCK):',
        f"{RELAY}::test_of_two_relays_one_leads_and_the_other_takes_over",
    ),
    Fault(
        "a leaf does not cover the value",
        "contracts/envelope.py",
        "    return hashlib.sha256(value).digest()\n",
        '    return hashlib.sha256(b"").digest()\n',
        "tests/contracts/test_proof.py",
    ),
    Fault(
        "batches are not cut at what a record batch holds",
        "services/kit/relay.py",
        "        if shares[place] > MAX_BATCH_BYTES and count:\n",
        "        if shares[place] > 100 * MAX_BATCH_BYTES and count:\n",
        f"{RELAY}::test_a_large_transaction_is_cut_at_what_a_record_batch_holds",
    ),
    # --- The consumer -----------------------------------------------------------------------------------------------
    Fault(
        "no compare-and-set of the cursor",
        "services/kit/cursor.py",
        "        if found.get(piece.place) != piece.before.next_offset:\n",
        "        if found.get(piece.place) is None:\n",
        f"{CONSUMER}::test_a_member_with_an_outdated_position_changes_nothing",
    ),
    Fault(
        "no chain check",
        "services/kit/positions.py",
        "        elif position.previous_sequence > last:\n",
        "        elif position.previous_sequence > last and False:\n",
        f"{CONSUMER}::test_a_hole_in_the_chain_stops_the_partition_with_an_alarm",
    ),
    Fault(
        "copies are folded again",
        "services/kit/positions.py",
        "        if position.sequence <= last:\n",
        "        if position.sequence < 0:\n",
        f"{CONSUMER}::test_whole_copies_and_a_restart_change_nothing",
    ),
    Fault(
        "the cursor moves before the fold, in a transaction of its own",
        "services/kit/consumer.py",
        "                await hold_cursor(connection, slices, self._workplace.service, self._folds)\n",
        "                async with self._workplace.pool.acquire() as own:\n"
        "                    await move_cursor(own, slices)\n",
        f"{CONSUMER}::test_a_handler_that_raises_in_the_middle_skips_nothing",
    ),
    Fault(
        "a client that brings nothing any more is waited for",
        "services/kit/consumer.py",
        "            self._has_left = True\n",
        "            self._has_left = False\n",
        "tests/kit/test_cursor.py::test_a_client_that_brings_nothing_any_more_is_replaced",
    ),
    Fault(
        "what was fetched ahead is handed on though another place was sought",
        "services/kit/consumer.py",
        "        self._ahead.drop(*place)\n",
        "",
        f"{CONSUMER}::test_a_place_that_is_sought_takes_nothing_that_was_fetched_before",
    ),
    Fault(
        "what was fetched ahead is handed on twice",
        "services/kit/ahead.py",
        "            records, self._records = tuple(self._records), []\n",
        "            records = tuple(self._records)\n",
        "tests/kit/test_ahead.py::test_what_was_fetched_ahead_is_read_and_handed_on_once_before_the_next_fetch",
    ),
    Fault(
        "a rebalance that begins while the next batch is fetched holds up this one",
        "services/kit/ahead.py",
        "            if consumer._subscription.reassignment_in_progress:\n",
        "            if not self._records and consumer._subscription.reassignment_in_progress:\n",
        "tests/kit/test_ahead.py::test_a_rebalance_that_begins_meanwhile_holds_up_no_batch",
    ),
    Fault(
        "an error of a fetch is told after what came later",
        "services/kit/ahead.py",
        "        if consumer is None or self._error is not None:\n",
        "        if consumer is None:\n",
        "tests/kit/test_ahead.py::test_a_fetch_that_fails_raises_when_its_turn_comes_and_not_before",
    ),
    Fault(
        "headers that a newer publisher adds are dropped",
        "services/kit/positions.py",
        "        if len(headers) == headers_said_by(envelope):\n",
        "        if headers:\n",
        "tests/kit/test_positions.py::test_headers_that_a_newer_publisher_adds_are_kept",
    ),
    Fault(
        "each batch holds itself",
        "services/kit/consumer.py",
        "    message.raw_message = ()\n",
        "    message.itself = message\n",
        f"{CONSUMER}::test_a_batch_that_was_taken_is_gone_though_nobody_looks_for_garbage",
    ),
    Fault(
        "where Kafka ended a while ago is held against what was read since",
        "services/kit/consumer.py",
        "place in held and held[place].next_offset > end and",
        "place in held and self._standing(place) > end and",
        "tests/kit/test_cursor.py::test_where_kafka_ended_a_while_ago_says_nothing_of_what_was_read_since",
    ),
    Fault(
        "every fact is taken for the first of its stream",
        "services/kit/batch.py",
        "        if fact.envelope.version == 1:\n",
        "        if fact.envelope.version > 0:\n",
        f"{PARKING}::test_of_a_stream_that_begins_nobody_asks_for_rows",
    ),
    Fault(
        "a reaction looks at rows that nobody locked",
        "services/kit/batch.py",
        "lock=bool(reacted_to)",
        "lock=False",
        "tests/kit/test_parking.py::test_rows_are_locked_where_a_reaction_may_look_at_them_and_else_only_as_they_are_written",
    ),
    Fault(
        "an event that changes nothing leaves the version of its row",
        "services/kit/table.py",
        "            return replace(after, version=envelope.version)\n",
        "            return after\n",
        "tests/kit/test_rows.py::test_a_head_row_bears_the_version_of_its_streams_last_event_and_none_changes_in_place",
    ),
    Fault(
        "a failed batch is not read again",
        "services/kit/consumer.py",
        "                self._rewind(pieces)\n",
        "                self._in_doubt.clear()\n",
        f"{CONSUMER}::test_a_handler_that_raises_in_the_middle_skips_nothing",
    ),
    Fault(
        "a fold that raises is skipped",
        "services/kit/batch.py",
        '                    parks.park(fact.failed("its fold failed", error))\n',
        "                    pass\n",
        f"{PARKING}::test_a_fold_that_raises_parks_its_stream_though_nothing_reacts",
    ),
    Fault(
        "a reaction that raises is skipped",
        "services/kit/batch.py",
        '                parks.park(fact.failed(f"its fold or {reaction.name} failed", error))\n',
        "                pass\n",
        f"{PARKING}::test_what_fails_is_parked_with_the_rest_of_its_stream_and_everything_else_goes_on",
    ),
    Fault(
        "a stream goes on past what is parked of it",
        "services/kit/parking.py",
        "        self.held.add(parked.stream)\n",
        "",
        f"{PARKING}::test_what_fails_is_parked_with_the_rest_of_its_stream_and_everything_else_goes_on",
    ),
    Fault(
        "the fold stays where the reaction fails",
        "services/kit/transaction.py",
        "        self.working_set.undo(steps)\n",
        "",
        f"{PARKING}::test_what_fails_is_parked_with_the_rest_of_its_stream_and_everything_else_goes_on",
    ),
    Fault(
        "a rehearsal commits",
        "services/kit/parked.py",
        "await (transaction.rollback() if rehearse else transaction.commit())",
        "await transaction.commit()",
        f"{PARKING}::test_mended_code_takes_what_was_parked_in_its_order_and_the_stream_goes_on",
    ),
    Fault(
        "what is released does not wait for the batch under way",
        "services/kit/parking.py",
        "        FOR UPDATE OF c\n",
        "",
        f"{PARKING}::test_what_is_released_waits_for_the_batch_that_is_under_way",
    ),
    Fault(
        "a partner's parked message is kept in the clear",
        "services/kit/parking.py",
        "    if key is None or subject is None:\n        return plain\n",
        "    if key is None or subject is None or plain:\n        return plain\n",
        f"{PARKING}::test_of_a_partners_message_nothing_is_kept_in_the_clear",
    ),
    Fault(
        "a newer version is skipped",
        "services/kit/batch.py",
        "        except NewerVersion as error:\n"
        "            raise StepFailed(place, count, arrival.record.offset, "
        '"it is too new", error) from error\n',
        "        except NewerVersion:\n            return False\n",
        f"{CONSUMER}::test_a_newer_version_stops_its_partition_and_says_what_to_deploy",
    ),
    # --- HTTP -------------------------------------------------------------------------------------------------------
    Fault(
        "a repeated request is done twice",
        "services/kit/http.py",
        "        if stored is None:\n            return\n",
        "        return\n",
        "tests/training/test_api.py::test_a_repeated_request_enrols_nobody_twice",
    ),
    Fault(
        "If-Match is ignored",
        "services/kit/http.py",
        "row.version != self.if_match:",
        "row.version < 0:",
        "tests/training/test_api.py::test_a_list_that_changed_since_it_was_read_is_not_decided_on",
    ),
    Fault(
        "areas match without their borders",
        "services/kit/migrations/0001_log.sql",
        "OR left(area_code, 5) = ANY ((SELECT kit_areas())::text[])'",
        "OR left(area_code, 4) = left((SELECT kit_areas())[1], 4)'",
        "tests/kit/test_http.py",
    ),
    Fault(
        "a national id is shown in logs",
        "services/kit/masking.py",
        'return _MASKED.sub(lambda found: found["kept"] or MASK, text)',
        "return text",
        "tests/kit/test_logs.py",
    ),
    # --- Contracts --------------------------------------------------------------------------------------------------
    Fault(
        "an unclassed field",
        "contracts/registry.py",
        "    reason: Open[DelistingReason]\n",
        "    reason: DelistingReason\n",
        "tests/contracts/test_privacy.py::test_every_field_is_classed_and_none_is_personal_in_the_clear",
    ),
    Fault(
        "a proof does not cover the stream version",
        "contracts/envelope.py",
        "            _known_part(str(version)),\n",
        "",
        "tests/contracts/test_proof.py",
    ),
    # --- Training ---------------------------------------------------------------------------------------------------
    Fault(
        "no capacity check",
        "services/training/enrolments/decisions.py",
        "    free = free_places(cohort, enrolments)\n    if not free:\n",
        "    free = free_places(cohort, enrolments) or [cohort.capacity + 1]\n    if not free:\n",
        "tests/training/test_enrolment.py::test_a_full_cohort_refuses_a_new_participant",
    ),
    Fault(
        "two overlapping cohorts take one person",
        "services/training/enrolments/decisions.py",
        "    if clash := sorted(commitments.days.intersection(cohort.days)):\n",
        "    if clash := []:\n",
        "tests/training/test_enrolment.py::test_nobody_is_on_the_lists_of_two_cohorts_that_meet_on_one_day",
    ),
    Fault(
        "a quota is exceeded",
        "services/training/enrolments/decisions.py",
        "        if free and quotas.admits(person.area_code, taken):\n",
        "        if free:\n",
        "tests/training/test_enrolment.py::test_each_kabupaten_stays_within_its_quota_and_who_is_above_it_may_wait",
    ),
    Fault(
        "who attended too little completes",
        "services/training/classes/decisions.py",
        "    if person.days_present * 100 < terms.applied.minimum_attendance_percent * days:\n",
        "    if person.days_present < 0:\n",
        "tests/training/test_classes.py::test_who_attended_too_little_gets_nothing_however_competent",
    ),
    Fault(
        "who waits the longest follows, whatever the priority",
        "services/training/enrolments/decisions.py",
        "    return -person.score, person.participant_id\n",
        "    return 0, person.participant_id\n",
        "tests/training/test_enrolment.py::test_free_places_go_to_the_highest_priority_and_the_next_wait_in_line",
    ),
    Fault(
        "a fold changes the row that it is given",
        "services/training/candidates/state.py",
        "def evolve_candidate(",
        "def evolve_candidate(row, event, envelope):  # type: ignore[no-untyped-def]\n"
        "    if row is not None:\n"
        '        object.__setattr__(row, "reachable", not row.reachable)\n'
        "    return _evolve_candidate(row, event, envelope)\n\n\n"
        "def _evolve_candidate(",
        "tests/training/test_tables.py::test_no_fold_changes_the_row_that_it_is_given",
    ),
    # --- Registry ---------------------------------------------------------------------------------------------------
    Fault(
        "a verification never expires",
        "services/registry/participants/decisions.py",
        "    if participant.expires_at > now:\n        return []\n    return [\n        VerificationExpired(",
        "    if participant.expires_at:\n        return []\n    return [\n        VerificationExpired(",
        "tests/registry/test_participants.py::test_a_verification_expires_at_its_time_and_not_before",
    ),
    Fault(
        "a second list delists nobody",
        "services/registry/snapshots/decisions.py",
        "        or household.snapshot_id == snapshot.snapshot_id\n",
        "        or household.snapshot_id\n",
        "tests/registry/test_imports_again.py::test_a_second_list_changes_ranks_confirms_and_delists",
    ),
    Fault(
        "a partner's bad message is swallowed",
        "services/kit/batch.py",
        "        await self._reject(tx, [message for message in messages if message.faults])\n        await parking",
        "        await self._reject(tx, [])\n        await parking",
        "tests/registry/test_dukcapil.py::test_what_cannot_be_taken_in_is_rejected_by_field_and_the_rest_of_the_batch_goes_on",
    ),
    # --- Outcomes ---------------------------------------------------------------------------------------------------
    Fault(
        "a baseline from facts after the completion",
        "services/outcomes/people/state.py",
        "reversed(history) if then.since <= instant), None)",
        "reversed(history)), None)",
        "tests/outcomes/test_cases.py"
        "::test_facts_of_before_the_completion_that_come_late_mend_the_baseline_and_later_ones_do_not",
    ),
    Fault(
        "a follow-up is recorded twice",
        "services/outcomes/follow_ups/decisions.py",
        "    if follow_up.status is FollowUpStatus.RECORDED:\n",
        "    if follow_up.status is FollowUpStatus.DROPPED:\n",
        "tests/outcomes/test_follow_ups.py::test_what_a_visit_may_not_be",
    ),
    Fault(
        "a copy of a visit is another visit",
        "services/outcomes/follow_ups/decisions.py",
        "        _refuse_difference(known, command, facilitator_id)\n        return []\n",
        "        _refuse_difference(known, command, facilitator_id)\n",
        "tests/outcomes/test_follow_ups.py::test_a_copy_of_a_visit_changes_nothing_even_on_a_closed_case",
    ),
    Fault(
        "graduation without enough follow-ups in a row",
        "services/outcomes/follow_ups/decisions.py",
        "    return row if all(_meets(",
        "    return row if any(_meets(",
        "tests/outcomes/test_follow_ups.py::test_each_visit_of_the_row_has_to_meet_the_whole_rule",
    ),
    Fault(
        "a missed visit does not break the row",
        "services/outcomes/follow_ups/decisions.py",
        "    if any(first < follow_up.due_on <= last for follow_up in missed):\n",
        "    if any(last < follow_up.due_on <= last for follow_up in missed):\n",
        "tests/outcomes/test_follow_ups.py::test_a_missed_visit_between_breaks_the_row",
    ),
    Fault(
        "a relapse is ignored",
        "services/outcomes/follow_ups/decisions.py",
        "    return [latest] if latest",
        "    return [] if latest",
        "tests/outcomes/test_follow_ups.py::test_a_graduated_household_that_falls_below_the_line_relapses",
    ),
    Fault(
        "an intervention goes to the first of several who bear the number",
        "services/outcomes/interventions/decisions.py",
        "    if len(bearers) == 1:\n",
        "    if bearers:\n",
        "tests/outcomes/test_interventions.py::test_the_one_person_who_bears_the_number_is_meant_and_else_nothing_is_guessed",
    ),
    Fault(
        "an unmatched intervention is dropped",
        "services/outcomes/interventions/decisions.py",
        "    return [InterventionUnmatched(intervention_id=intervention.intervention_id, because=because)]\n",
        "    return [InterventionDismissed(intervention_id=intervention.intervention_id, because=because)]\n",
        "tests/outcomes/test_interventions.py::test_the_one_person_who_bears_the_number_is_meant_and_else_nothing_is_guessed",
    ),
    Fault(
        "the key of a matched number is not destroyed",
        "services/outcomes/matching.py",
        "            await context.workplace.destroy_keys([subject_of(id_) for id_ in ids])\n",
        "",
        "tests/outcomes/test_matching.py::test_what_is_matched_stands_on_the_case_and_its_number_is_forgotten",
    ),
    Fault(
        "matching and the opening of cases overlook each other",
        "services/outcomes/interventions/queries.py",
        "SELECT pg_advisory_xact_lock(hashtextextended('outcomes: interventions and cases', 0))",
        "SELECT hashtextextended('outcomes: interventions and cases', 0)",
        "tests/outcomes/test_matching.py::test_matching_while_the_case_is_being_opened_loses_nothing",
    ),
    Fault(
        "small cells are shown",
        "services/outcomes/figures/protection.py",
        "    return 0 < count < smallest\n",
        "    return 0 < count < smallest - 1\n",
        "tests/outcomes/test_figures_protection.py::test_what_is_shown_is_true_and_never_small",
    ),
    Fault(
        "nothing is hidden beside a small cell",
        "services/outcomes/figures/protection.py",
        "            self._keep(secret)\n",
        "            self._has_another_world(secret)\n",
        "tests/outcomes/test_figures_protection.py::test_no_small_number_can_be_worked_out_from_all_that_is_public",
    ),
    # --- Notifications ----------------------------------------------------------------------------------------------
    Fault(
        "a message goes out before it is on the log that it does",
        "services/notifications/deliveries/sending.py",
        "                    await batch.decide(tx, ids)\n",
        "                    await batch.decide(tx, ids)\n"
        "                for lane, letter in batch.letters:\n"
        "                    await lane.sender.send(letter)\n",
        "tests/notifications/test_sending.py::test_in_doubt_another_provider_is_never_asked_again",
    ),
    Fault(
        "a mail server is asked again after a crash",
        "services/notifications/senders/smtp.py",
        "    repeatable = False\n",
        "    repeatable = True\n",
        "tests/notifications/test_outages.py::test_a_mail_server_dies_in_the_middle",
    ),
    Fault(
        "people are woken by a message",
        "services/notifications/wita.py",
        "    if now >= begins:\n        return at(here.date() + timedelta(days=1), ends)\n",
        "    if now >= begins:\n        return instant\n",
        "tests/notifications/test_wanting.py::test_in_quiet_hours_over_midnight_a_message_waits_for_the_morning",
    ),
    Fault(
        "who has opted out is told all the same",
        "services/notifications/deliveries/decisions.py",
        "    if known.contact is not None and known.contact.opted_out:\n",
        "    if known.contact is None:\n",
        "tests/notifications/test_deliveries.py::test_who_has_opted_out_is_told_nothing",
    ),
    Fault(
        "who lost the place is reminded of it",
        "services/notifications/deliveries/decisions.py",
        "                and placement.status is PlacementStatus.HELD\n",
        "                and placement.status is not PlacementStatus.ENDED\n",
        "tests/notifications/test_deliveries.py::test_a_reminder_of_a_place_goes_out_unless_the_place_is_lost",
    ),
    Fault(
        "a national id stands in a template",
        "services/notifications/templates/decisions.py",
        "        if holds_national_id(text):\n",
        "        if holds_national_id(text[:9]):\n",
        "tests/notifications/test_rules.py::test_no_template_can_hold_a_national_id",
    ),
    Fault(
        "a national id that comes together in the text is sent",
        "services/notifications/templates/rendering.py",
        "    if holds_national_id(written.subject) or holds_national_id(written.text):\n",
        "    if holds_national_id(written.subject):\n",
        "tests/notifications/test_texts.py::test_a_national_id_that_only_comes_together_in_the_text_is_seen",
    ),
    Fault(
        "a stream that is read anew tells everybody",
        "services/notifications/deliveries/decisions.py",
        "    if now >= send_before:\n        return [requested,",
        "    if now < happened.at:\n        return [requested,",
        "tests/notifications/test_wanting.py::test_a_stream_that_is_read_anew_tells_nobody",
    ),
    # --- The proof ---------------------------------------------------------------------------------------------------
    Fault(
        "proof: what kafka does not have yet is signed",
        "services/kit/checkpoints.py",
        "            WHERE sent_at IS NOT NULL\n",
        "            WHERE sent_at IS NULL OR true\n",
        f"{CHECKPOINTS}::test_only_what_kafka_has_in_full_is_signed",
    ),
    Fault(
        "proof: a checkpoint whose publishing failed is left",
        "services/kit/checkpoints.py",
        "WHERE published_at IS NULL ORDER BY",
        "WHERE published_at IS NULL AND tree_size = (SELECT max(tree_size) FROM checkpoint) ORDER BY",
        f"{CHECKPOINTS}::test_a_note_whose_publishing_failed_is_published_again",
    ),
    Fault(
        "proof: the log is shown to an auditor of one district",
        "services/kit/log_api.py",
        '    principal.must_cover("")\n',
        "    principal.must_cover(principal.areas[0])\n",
        "tests/kit/test_log_api.py::test_only_auditors_and_operators_of_the_whole_country_read_the_log",
    ),
    Fault(
        "proof: an event is not held against its leaf",
        "services/audit/verify.py",
        "        if sealed and sealed != leaf:\n            self._say(",
        "        if sealed and not leaf:\n            self._say(",
        "tests/audit/test_live.py::test_a_row_that_somebody_changed_is_named_over_the_endpoint",
    ),
    Fault(
        "proof: what a witness saw is passed over",
        "services/audit/verify.py",
        "            if root is not None and note.checkpoint.root != root:\n",
        "            if root is not None and note.own and note.checkpoint.root != root:\n",
        "tests/audit/test_live.py::test_another_history_signed_by_the_service_itself_is_named_by_the_witness",
    ),
    Fault(
        "proof: the archive's verifier takes any signature",
        "services/audit/standalone.py",
        "    return (x - nonce[0] * z) % P == 0 and",
        "    return x != nonce[0] or",
        "tests/audit/test_archive.py::test_signatures_are_verified_as_rfc_8032_says",
    ),
    # --- Replay, rebuild, recovery ------------------------------------------------------------------------------------
    Fault(
        "replay: the past goes one event too far",
        "services/kit/replay.py",
        "WHERE s.sequence > $1 AND s.sequence <= $4 AND",
        "WHERE s.sequence > $1 AND s.sequence <= $4 + 1 AND",
        "tests/kit/test_replay.py::test_the_past_is_cut_by_sequence_or_by_time",
    ),
    Fault(
        "rebuild: rows that no fact speaks of stay",
        "services/kit/rebuild.py",
        "THEN DELETE",
        "THEN DO NOTHING",
        "tests/kit/test_rebuild.py::test_a_rebuild_writes_the_rows_that_differ_and_no_other",
    ),
    Fault(
        "rebuild: a batch folds on with another fold than made the rows",
        "services/kit/cursor.py",
        "    if others:\n        raise OtherFold(others)\n",
        "",
        "tests/kit/test_rebuild.py::test_a_batch_that_waited_for_the_cursor_sees_the_rebuild_that_held_it",
    ),
    Fault(
        "rebuild: each part folds the partitions of all",
        "services/kit/rebuild.py",
        "for place, at in building.standings.items() if place.partition in partitions}",
        "for place, at in building.standings.items()}",
        "tests/kit/test_rebuild.py::test_processes_side_by_side_fold_the_same_rows",
    ),
    Fault(
        "recovery: a restored database seals on",
        "services/kit/relay.py",
        "            raise RelayDefect(str(differ)) from differ\n",
        '            _log.warning("tails differ", error=str(differ))\n',
        "tests/kit/test_recovery.py::test_a_restored_database_refuses_to_fork_and_takes_its_tail_back",
    ),
    Fault(
        "recovery: what the tail had answered is answered again",
        "services/kit/recovery.py",
        "done.moved = await fold_what_was_answered(connection, bootstrap, service, tables, partners, causes)",
        "done.moved = {}",
        "tests/kit/test_recovery.py::test_what_the_tail_had_answered_is_not_answered_again",
    ),
    Fault(
        "recovery: cursors move into another history",
        "services/kit/reseeding.py",
        "        if standing.last_event_id is not None and place not in known:\n",
        "        if standing.last_event_id is None and place not in known:\n",
        "tests/kit/test_recovery.py::test_cursors_do_not_move_into_another_history",
    ),
    Fault(
        "recovery: who was erased comes back with the backup",
        "services/registry/people/queries.py",
        "            await forget(connection, event.household_id, event.participant_id)\n",
        "",
        "tests/registry/test_people.py::test_who_was_erased_after_a_backup_stays_erased_where_it_is_restored",
    ),
    Fault(
        "a token outlives its proof",
        "services/kit/auth.py",
        "proven.good_until < self._monotonic() or ",
        "",
        "tests/kit/test_auth.py::test_what_a_token_proved_is_good_for_half_a_minute_and_never_longer_than_the_token",
    ),
    Fault(
        "a list is held against households that nobody has counted",
        "services/registry/snapshots/gathering.py",
        "ANALYZE household, household_family, snapshot_spared",
        "ANALYZE snapshot_spared",
        "tests/registry/test_imports_again.py"
        "::test_the_planner_knows_how_many_are_listed_before_each_is_held_against_the_list",
    ),
)
