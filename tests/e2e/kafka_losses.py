#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a Kafka log has lost before it was read, be it by retention, by hand or with its topic, is told with names and numbers and kept in the store; nothing else is lost by it."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import kafka  # noqa: E402
from deliver import accepted, wait_landed  # noqa: E402
from kafka import Ledger  # noqa: E402
from server import ran, until  # noqa: E402
from trouble import (PATIENCE, SOON, Stream, alerts, batch, closes, exactly_once, goes_on, is_at, landed, lands, losses, opens, places,  # noqa: E402
                     reading, shared)

# -- what is gone before it was read ----------------------------------------------------------------------------


def landed_and_stopped(server, broker, topic, ledger, n):
    """n records are in the zone, the server is down."""
    broker.produce(topic, batch(n, "first"), ledger)
    lands(server, ledger)
    server.stop()


def test_records_deleted_before_they_were_read_are_told_with_their_range_and_reading_goes_on():
    broker, ledger, others = shared(), Ledger(), Ledger()
    broker.create("gone"), broker.create("gone-beside")
    with reading(broker, "gone", "gone-beside") as server:
        landed_and_stopped(server, broker, "gone", ledger, 30)
        last = landed(server)[-1].value["event_at"]
        broker.produce("gone", batch(50, "second"), ledger)
        broker.delete_records("gone", {0: 47})
        lost = Ledger()
        lost.delivered = {p: v for p, v in ledger.delivered.items() if 30 <= p[2] < 47}
        for place in lost.delivered:
            del ledger.delivered[place]
        server.start()
        text = opens(server, "kafka_data_lost", "gone", "partition 0", "offsets 30 to 46 (17)", "going on")
        case.true(last in text, f"the time of the last record that landed, {last}: {text}")
        lands(server, ledger)
        goes_on(server, broker, "gone-beside", others)
        row = losses(server)["gone", "0/00000000000000000030"]
        case.equal((row["partition"], row["from"], row["to"], row["reason"]), (0, 30, 47, "retention"))
        server.stop()
        server.start()
        broker.produce("gone", batch(10, "third"), ledger)
        lands(server, ledger)
        case.equal(len(losses(server)), 1, "told once, kept once")
        ledger.delivered.update(others.delivered)
        exactly_once(server, ledger)


def test_records_deleted_while_the_source_is_paused_are_told_when_it_is_resumed():
    broker, ledger = shared(), Ledger()
    broker.create("paused", 2)
    with reading(broker, "paused") as server:
        broker.produce("paused", batch(20, "first") + batch(20, "first", 1), ledger)
        lands(server, ledger)
        ran(server.cli("pause", "events"))
        until("it is paused", lambda: '"event":"paused"' in server.log())
        broker.produce("paused", batch(20, "second"))
        broker.produce("paused", batch(20, "second", 1), ledger)
        broker.delete_records("paused", {0: 40})
        broker.produce("paused", batch(7, "third"), ledger)
        ran(server.cli("resume", "events"))
        opens(server, "kafka_data_lost", "paused", "partition 0", "offsets 20 to 39 (20)")
        lands(server, ledger)
        case.equal(losses(server)["paused", "0/00000000000000000020"]["to"], 40)
        exactly_once(server, ledger)


def test_after_a_loss_a_partition_may_wait_for_a_person():
    broker, ledger, others = shared(), Ledger(), Ledger()
    broker.create("held", 2), broker.create("held-beside")
    with reading(broker, "held", "held-beside", on_loss="stop") as server:
        broker.produce("held", batch(20, "first", 1), ledger)
        landed_and_stopped(server, broker, "held", ledger, 10)
        broker.produce("held", batch(30, "second"), ledger)
        broker.delete_records("held", {0: 25})
        for offset in range(10, 27):
            del ledger.delivered["held", 0, offset]
        server.start()
        opens(server, "kafka_data_lost", "held", "offsets 10 to 24 (15)", "stopped", "millrace state set")
        until("it is stopped", lambda: is_at(server, "held", "stopped"))
        broker.produce("held", batch(20, "third", 1), others)
        goes_on(server, broker, "held-beside", others)
        case.equal([p for p in places(landed(server)) if p[:2] == ("held", 0) and p[2] >= 10], [], "nothing of it is read")
        case.true(is_at(server, "held", "reading", 1), "its other partition is read")
        case.equal(losses(server), {}, "nothing is given up")
        ran(server.cli("state", "set", "events/held", "0", "27"))
        lands(server, ledger)
        ledger.delivered.update(others.delivered)
        exactly_once(server, ledger)


def test_retention_that_took_the_last_record_landed_and_no_other_costs_nothing():
    broker, ledger = shared(), Ledger()
    broker.create("brink", 2)
    with reading(broker, "brink") as server:
        broker.produce("brink", batch(12, "first", 1), ledger)
        landed_and_stopped(server, broker, "brink", ledger, 30)
        broker.produce("brink", batch(10, "second"), ledger)
        broker.delete_records("brink", {0: 30, 1: 12}) # of partition 1 nothing is left
        server.start()
        lands(server, ledger)
        broker.produce("brink", batch(10, "third", 1) + batch(10, "third"), ledger)
        lands(server, ledger)
        case.equal((alerts(server), losses(server)), ({}, {}), "nothing is lost, and nothing is told")
        exactly_once(server, ledger)


# -- another log under the same name ----------------------------------------------------------------------------


def made_anew(broker, topic, n, ledger):
    broker.delete(topic)
    broker.create(topic)
    broker.produce(topic, batch(n, "anew"), ledger)


def test_a_topic_made_anew_with_fewer_records_lands_them_under_ids_of_their_own():
    broker, ledger, anew, others = shared(), Ledger(), Ledger(), Ledger()
    broker.create("fewer"), broker.create("fewer-beside")
    with reading(broker, "fewer", "fewer-beside") as server:
        landed_and_stopped(server, broker, "fewer", ledger, 30)
        made_anew(broker, "fewer", 10, anew)
        server.start()
        opens(server, "kafka_log_changed", "fewer", "partition 0", "ends at offset 10", "before 30", "going on")
        until("all of it lands", lambda: len([r for r in landed(server) if r.value["id"].startswith("fewer/0@1/")]) >= 10)
        goes_on(server, broker, "fewer-beside", others)
        row = losses(server)["fewer", "0/00000000000000000030"]
        case.equal((row["from"], row["to"], row["reason"]), (30, 0, "cut"))
        ledger.delivered.update(others.delivered)
        exactly_once(server, ledger, anew)


def test_a_topic_made_anew_with_more_records_is_noticed_by_the_last_record_that_landed():
    broker, ledger, anew, twice = shared(), Ledger(), Ledger(), Ledger()
    broker.create("more")
    with reading(broker, "more") as server:
        landed_and_stopped(server, broker, "more", ledger, 30)
        made_anew(broker, "more", 50, anew)
        server.start()
        opens(server, "kafka_log_changed", "more", "partition 0", "offset 29", "offsets 0 to 50", "going on")
        until("all of it lands", lambda: len([r for r in landed(server) if r.value["id"].startswith("more/0@1/")]) >= 50)
        case.equal(losses(server)["more", "0/00000000000000000030"]["reason"], "another_log")
        server.stop()
        made_anew(broker, "more", 60, twice)
        server.start()
        until("all of it lands", lambda: len([r for r in landed(server) if r.value["id"].startswith("more/0@2/")]) >= 60, PATIENCE)
        exactly_once(server, ledger, anew, twice)


def test_a_topic_made_anew_while_it_is_read_is_noticed():
    broker = shared()
    for topic, options in (("quickly", {}), ("quickly-soon", {"librdkafka": SOON})):
        ledger, anew = Ledger(), Ledger()
        broker.create(topic)
        with reading(broker, topic, **options) as server:
            broker.produce(topic, batch(30, "first"), ledger)
            lands(server, ledger)
            made_anew(broker, topic, 10, anew)
            opens(server, "kafka_log_changed", topic, "partition 0")
            broker.produce(topic, batch(40, "and more"), anew)
            until("all of it lands", lambda: len([r for r in landed(server) if r.value["id"].startswith(topic + "/0@1/")]) >= 50, PATIENCE)
            closes(server, "kafka_topic_unreadable", topic)
            exactly_once(server, ledger, anew)


def test_a_topic_made_anew_while_the_source_is_paused_is_noticed_when_it_is_resumed():
    broker, ledger, anew = shared(), Ledger(), Ledger()
    broker.create("asleep-anew")
    with reading(broker, "asleep-anew") as server:
        broker.produce("asleep-anew", batch(30, "first"), ledger)
        lands(server, ledger)
        ran(server.cli("pause", "events"))
        until("it is paused", lambda: '"event":"paused"' in server.log())
        made_anew(broker, "asleep-anew", 50, anew)
        ran(server.cli("resume", "events"))
        opens(server, "kafka_log_changed", "asleep-anew", "partition 0", "offset 29", "offsets 0 to 50")
        until("all of it lands", lambda: len([r for r in landed(server) if r.value["id"].startswith("asleep-anew/0@1/")]) >= 50, PATIENCE)
        exactly_once(server, ledger, anew)


def test_a_topic_made_anew_may_wait_for_a_person():
    broker, ledger, anew = shared(), Ledger(), Ledger()
    broker.create("anew-held")
    with reading(broker, "anew-held", on_loss="stop") as server:
        landed_and_stopped(server, broker, "anew-held", ledger, 30)
        made_anew(broker, "anew-held", 50, anew)
        server.start()
        opens(server, "kafka_log_changed", "anew-held", "stopped", "millrace state set")
        until("it is stopped", lambda: is_at(server, "anew-held", "stopped"))
        case.equal(len(landed(server)), 30, "nothing of it is read")
        ran(server.cli("state", "set", "events/anew-held", "0", '{"next":0,"incarnation":1}'))
        until("all of it lands", lambda: len([r for r in landed(server) if r.value["id"].startswith("anew-held/0@1/")]) >= 50, PATIENCE)
        exactly_once(server, ledger, anew)


def first_from(broker, topic, offset):
    """The first offset from there on that a record has."""
    reader = kafka.client.Consumer(broker.settings(group_id="somebody", enable_auto_commit=False))
    try:
        reader.assign([kafka.client.TopicPartition(topic, 0, offset)])
        message = reader.poll(10)
        return message.offset() if message and not message.error() else None
    finally:
        reader.close()


def test_a_last_record_that_was_compacted_away_alarms_nobody():
    broker, ledger = shared(), Ledger()
    broker.create("compact", cleanup_policy="compact", segment_ms="50", min_cleanable_dirty_ratio="0.001", min_compaction_lag_ms="0", max_compaction_lag_ms="100")
    with reading(broker, "compact") as server:
        landed_and_stopped(server, broker, "compact", ledger, 30)
        key = batch(30, "first")[29][1]
        broker.produce("compact", [(0, key, b"the newer one of its key")], ledger)

        def compacted():
            """Only what lies in a segment that has ended is; a new one begins when something is written."""
            broker.produce("compact", batch(1, f"tick {len(ledger.delivered)}"), ledger)
            return first_from(broker, "compact", 29) != 29

        until("the last record that landed is compacted away", compacted, PATIENCE)
        server.start()
        lands(server, ledger)
        case.equal((alerts(server), losses(server)), ({}, {}), "nothing is told")
        exactly_once(server, ledger)




# -- what is about to go ----------------------------------------------------------------------------------------


def moves_on(broker, topic, times=1):
    """The log's start moves as often."""
    for _ in range(times):
        was = broker.first_offsets(topic)[0]
        until("retention deletes something", lambda: broker.first_offsets(topic)[0] > was, PATIENCE, every=0.3)


def test_retention_that_comes_near_a_paused_source_is_told_until_it_has_caught_up():
    broker, ledger, others = shared(), Ledger(), Ledger()
    broker.create("near", retention_ms="20000", segment_ms="500"), broker.create("near-beside")
    with reading(broker, "near", "near-beside") as server, Stream(broker, "near", ledger) as stream:
        moves_on(broker, "near")
        ran(server.cli("pause", "events"))
        text = opens(server, "kafka_retention_near", "near", "partition 0", "minutes")
        case.true(re.search(r"in \d+ minutes: .* come to \d+ offsets behind us", text), text)
        ran(server.cli("resume", "events"))
        closes(server, "kafka_retention_near", "near")
        goes_on(server, broker, "near-beside", others)
        stream.end()
        lands(server, ledger)
        case.true("kafka_data_lost" not in server.log(), "it was told in time")
        ledger.delivered.update(others.delivered)
        exactly_once(server, ledger)


def test_retention_that_comes_near_while_the_zone_cannot_be_written_is_told():
    broker, ledger = shared(), Ledger()
    broker.create("jam")
    with reading(broker, "jam") as server:
        broker.produce("jam", batch(100, "first"), ledger)
        lands(server, ledger)
        folder, aside = os.path.join(server.zone, "source=events"), server.home.at("aside")
        os.rename(folder, aside)
        with open(folder, "w"):
            pass                                 # nothing can be published under it
        before = iter(range(1, 90))
        with Stream(broker, "jam", ledger) as stream:
            def near():
                broker.delete_records("jam", {0: next(before)})
                return ("kafka_retention_near", "events", "jam") in alerts(server)
            until("it is told", near, PATIENCE, every=0.5)
            case.true(("zone_unwritable", "", "") in {(name, "", "") for name, _, _ in alerts(server)}, alerts(server))
            accepted(server, "meanwhile")
            wait_landed(server, "meanwhile")
            stream.end()
        os.unlink(folder)
        os.rename(aside, folder)
        lands(server, ledger, timeout=90)
        closes(server, "kafka_retention_near", "jam")
        exactly_once(server, ledger)


def test_a_reader_that_keeps_up_is_not_warned_however_short_retention_is():
    broker, ledger = shared(), Ledger()
    broker.create("brief", retention_ms="6000", segment_ms="300")
    with reading(broker, "brief") as server, Stream(broker, "brief", ledger):
        moves_on(broker, "brief", 25)
        case.true('"alert_opened"' not in server.log(), server.tail())


if __name__ == "__main__":
    kafka.ensure()
    case.main(globals())
