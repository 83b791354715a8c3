#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with a Kafka cluster is told with names and numbers, costs no record, doubles none, and holds up neither the other topics nor the webhooks."""
import atexit
import contextlib
import functools
import json
import os
import re
import signal
import sys
import threading
from datetime import datetime

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import kafka  # noqa: E402
import state  # noqa: E402
from certs import Certs  # noqa: E402
from deliver import accepted, wait_landed  # noqa: E402
from kafka import Broker, Ledger  # noqa: E402
from postgres import Postgres  # noqa: E402
from server import Home, Server, config, has_faults, until, webhook  # noqa: E402
from zone import Reader  # noqa: E402

# deletion, cleaning and the end of transactions are looked for every half a second, not every few minutes
IMPATIENT = ["log.retention.check.interval.ms=500", "log.initial.task.delay.ms=100", "log.cleaner.backoff.ms=200", "log.segment.delete.delay.ms=100",
             "transaction.abort.timed.out.transaction.cleanup.interval.ms=500"]
SOON = {"topic.metadata.refresh.interval.ms": 1000}
PATIENCE = 60


@functools.cache
def shared():
    """The broker of all stories that neither stop it nor ask who comes."""
    broker = Broker(settings=IMPATIENT).start()
    atexit.register(broker.stop)
    return broker


def source(broker, *topics, brokers=None, **options):
    return {"kafka": {"brokers": brokers or [broker.bootstrap], "topics": list(topics), **options}}


@contextlib.contextmanager
def reading(broker, *topics, env=None, top=None, start=True, **options):
    """A server with the source `events`, and a webhook beside it; in a group of its own, so that no story waits for members of another one."""
    with Home("mr-kafka") as home:
        sources = {"events": source(broker, *topics, **{"group": topics[0], **options}), "github": webhook()}
        server = Server(home, config(home, sources, **(top or {})), env=env)
        try:
            if start:
                server.start()
            yield server
            if server.alive():
                server.stop()
            server.sanitized()
        except BaseException:
            print(server.tail(), file=sys.stderr)
            raise
        finally:
            server.kill9()


def batch(n, text, partition=0):
    return [(partition, f"{text}-key-{i}".encode(), json.dumps({"text": text, "i": i}).encode()) for i in range(n)]


# -- what is told -----------------------------------------------------------------------------------------------


def status(server):
    return json.loads(server.get("/api/status").text)


def alerts(server):
    """The open ones, {(name, source, stream): text}."""
    return {(a["name"], a["source"], a.get("stream") or ""): a["text"] for a in status(server)["alerts"]}


def counted(server):
    """What the metric says of the same."""
    labels = [dict(re.findall(r'(\w+)="([^"]*)"', key)) for key, value in server.metrics().items() if key.startswith("millrace_alerts_open{") and value == 1]
    return {(found["alert"], found.get("source", ""), found.get("stream", "")) for found in labels}


def opens(server, name, stream="", *words, timeout=PATIENCE):
    """The text of the alert, once it has all the words; the metric agrees."""
    key = name, "events", stream

    def look():
        text = alerts(server).get(key, "")
        return text if all(word in text for word in words) and key in counted(server) else None

    try:
        return until(f"{name} of {stream or 'the source'} tells of {words}", look, timeout)
    except AssertionError as e:
        raise AssertionError(f"{e}; open: {alerts(server)}") from None


def closes(server, name, stream="", timeout=PATIENCE):
    key = name, "events", stream
    until(f"{name} of {stream or 'the source'} closes", lambda: key not in alerts(server) and key not in counted(server), timeout)


def partitions(server, topic):
    """{number: what /api/status says of it}"""
    found = next(s for s in status(server)["sources"] if s["name"] == "events")
    return {p["partition"]: p for p in found.get("partitions", []) if p["topic"] == topic}


def is_at(server, topic, how, partition=0):
    return partitions(server, topic).get(partition, {}).get("state") == how


def losses(server):
    """The rows that keep what was lost, {(topic, key): value}."""
    return {(r["stream"], r["key"]): json.loads(r["value"]) for r in state.rows(server.data_dir, "source_rows") if r["kind"] == "loss"}


# -- what has landed --------------------------------------------------------------------------------------------


def landed(server):
    return Reader(server.zone).all("events")


def places(records):
    return {(p["topic"], p["partition"], p["offset"]) for p in (r.value["position"] for r in records)}


def lands(server, *ledgers, timeout=PATIENCE):
    wanted = {place for ledger in ledgers for place in ledger.delivered}
    try:
        until("all of it lands", lambda: wanted <= places(landed(server)), timeout, every=0.2)
    except AssertionError as e:
        raise AssertionError(f"{e}: missing {sorted(wanted - places(landed(server)))[:5]}; open: {alerts(server) if server.alive() else 'it has ended'}") from None


def exactly_once(server, *ledgers, stop=True):
    """Drained, the zone holds each record of the ledgers once. The second ledger is of the topic that was made anew, and so on: its ids say so."""
    if stop and server.alive():
        server.stop()
    server.sanitized()
    reader = Reader(server.zone)
    records = reader.all("events")
    reader.strangers()
    case.equal(reader.problems, [], "the zone")
    by_life = [[] for _ in ledgers]
    for r in records:
        topic, life, offset = re.fullmatch(r"(.+)/\d+(?:@(\d+))?/(\d+)", r.value["id"]).groups()
        case.equal((topic, int(offset)), (r.value["position"]["topic"], r.value["position"]["offset"]), r.value["id"])
        by_life[int(life or 0)].append(r)
    for ledger, found in zip(ledgers, by_life):
        case.equal(ledger.compare(found)[:10], [])


def goes_on(server, broker, topic, ledger):
    """Neither the other topic nor the webhook is held up."""
    broker.produce(topic, batch(5, f"others {len(ledger.delivered)}"), ledger)
    accepted(server, f"hook {len(ledger.delivered)}")
    lands(server, ledger)
    wait_landed(server, f"hook {len(ledger.delivered)}")


def ran(done):
    case.equal(done.returncode, 0, f"{done.args}: {done.stderr.decode()}")
    return done.stdout.decode()


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


class Stream:
    """Records that come at a steady pace, until it is left."""

    def __init__(self, broker, topic, ledger, partitions=1, n=20, every=0.1):
        self.broker, self.topic, self.ledger, self.partitions, self.n, self.every = broker, topic, ledger, partitions, n, every
        self.halt, self.fault, self.sent = threading.Event(), None, 0
        self.thread = threading.Thread(target=self.work, daemon=True)

    def work(self):
        try:
            while not self.halt.wait(self.every):
                self.broker.produce(self.topic, batch(self.n, f"stream {self.sent}", self.sent % self.partitions), self.ledger)
                self.sent += 1
        except AssertionError as e:
            self.fault = e

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.halt.set()
        self.thread.join(120)

    def end(self):
        """No more will come, and what was sent is in the ledger."""
        self.__exit__()
        if self.fault:
            raise self.fault


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


# -- transactions -----------------------------------------------------------------------------------------------


def test_a_transaction_that_hangs_is_told_until_it_is_ended():
    broker, ledger, others = shared(), Ledger(), Ledger()
    broker.create("hanging"), broker.create("hanging-beside")
    with reading(broker, "hanging", "hanging-beside", transaction_warning="3s") as server:
        broker.produce("hanging", batch(10, "before"), ledger)
        broker.produce_transaction("hanging", batch(5, "open"), commit=None)
        lands(server, ledger)
        broker.produce("hanging", batch(7, "after"), ledger)
        opens(server, "kafka_transaction_hanging", "hanging", "partition 0", "at offset 10 ", "12 offsets")
        goes_on(server, broker, "hanging-beside", others)
        case.equal(len([p for p in places(landed(server)) if p[0] == "hanging"]), 10, "nothing that may still be aborted")
        broker.left_open.pop().abort_transaction(30)
        lands(server, ledger)
        closes(server, "kafka_transaction_hanging", "hanging")
        broker.produce_transaction("hanging", batch(3, "given up"), commit=None, transaction_timeout_ms=12000)
        broker.produce("hanging", batch(7, "at last"), ledger)
        opens(server, "kafka_transaction_hanging", "hanging", "10 offsets")
        lands(server, ledger)
        closes(server, "kafka_transaction_hanging", "hanging")
        ledger.delivered.update(others.delivered)
        exactly_once(server, ledger)


def test_a_run_to_the_end_does_not_wait_for_a_transaction_that_hangs():
    broker, ledger, later = shared(), Ledger(), Ledger()
    broker.create("hanging-once")
    broker.produce("hanging-once", batch(10, "before"), ledger)
    broker.produce_transaction("hanging-once", batch(5, "open"), commit=None)
    broker.produce("hanging-once", batch(7, "after"), later)
    with reading(broker, "hanging-once", start=False) as server:
        server.drain()
        case.true('"left_for_later"' in server.log() and '"from":10,"offsets":12' in server.log(), f"it says where it ends: {server.log()}")
        exactly_once(server, ledger)
        broker.left_open.pop().abort_transaction(30)
        server.drain()
        ledger.delivered.update(later.delivered)
        exactly_once(server, ledger)


# -- topics that are not there, or not for us -------------------------------------------------------------------


def test_a_topic_that_is_not_there_is_told_by_name_and_the_others_are_read():
    broker, ledger, late = shared(), Ledger(), Ledger()
    broker.create("there")
    with reading(broker, "there", "not-yet", librdkafka=SOON) as server:
        text = opens(server, "kafka_topic_unreadable", "not-yet", "not-yet")
        case.true("nknown topic" in text, text)
        goes_on(server, broker, "there", ledger)
        case.true(("kafka_topic_unreadable", "events", "there") not in alerts(server), "of the other one nothing is told")
        broker.create("not-yet")
        broker.produce("not-yet", batch(20, "late"), late)
        lands(server, late)
        closes(server, "kafka_topic_unreadable", "not-yet")
        goes_on(server, broker, "there", ledger)
        ledger.delivered.update(late.delivered)
        exactly_once(server, ledger)


def test_a_name_that_is_corrected_in_the_config_is_told_no_more():
    broker, ledger = shared(), Ledger()
    broker.create("spelt")
    with reading(broker, "spelt", "mispelt") as server:
        for restart in (False, True):
            opens(server, "kafka_topic_unreadable", "mispelt")
            server.cfg["sources"]["events"]["kafka"]["topics"] = ["spelt"]
            server.write_config()
            if restart:
                server.stop()
                server.start()
            else:
                server.signal(signal.SIGHUP)
            closes(server, "kafka_topic_unreadable", "mispelt")
            goes_on(server, broker, "spelt", ledger)
            server.cfg["sources"]["events"]["kafka"]["topics"] = ["spelt", "mispelt"]
            server.write_config()
            server.signal(signal.SIGHUP)
        opens(server, "kafka_topic_unreadable", "mispelt")
        exactly_once(server, ledger)


def test_a_topic_that_was_deleted_stays_told_until_it_is_there_again():
    broker, ledger, anew, others = shared(), Ledger(), Ledger(), Ledger()
    broker.create("deleted"), broker.create("deleted-beside")
    with reading(broker, "deleted", "deleted-beside", librdkafka=SOON) as server:
        broker.produce("deleted", batch(20, "first"), ledger)
        lands(server, ledger)
        broker.delete("deleted")
        opens(server, "kafka_topic_unreadable", "deleted", "nknown topic")
        until("it is taken from us", lambda: not partitions(server, "deleted"))
        goes_on(server, broker, "deleted-beside", others)
        case.true(("kafka_topic_unreadable", "events", "deleted") in alerts(server), f"it is told still: {alerts(server)}")
        broker.create("deleted")
        broker.produce("deleted", batch(30, "anew"), anew)
        until("all of it lands", lambda: len([r for r in landed(server) if r.value["id"].startswith("deleted/0@1/")]) >= 30, PATIENCE)
        closes(server, "kafka_topic_unreadable", "deleted")
        ledger.delivered.update(others.delivered)
        exactly_once(server, ledger, anew)


def test_a_run_to_the_end_fails_where_a_topic_is_missing_or_held_and_lands_the_others():
    broker, ledger = shared(), Ledger()
    broker.create("once-good"), broker.create("once-held")
    broker.produce("once-good", batch(20, "first"), ledger)
    broker.produce("once-held", batch(20, "first"), ledger)
    with reading(broker, "once-good", "once-missing", "once-held", start=False, on_loss="stop") as server:
        server.drain(want=1)
        case.true('"once-missing' in server.log() or "topic once-missing" in server.log(), server.tail())
        exactly_once(server, ledger)
        broker.produce("once-held", batch(20, "second"))
        broker.delete_records("once-held", {0: 30})
        broker.create("once-missing")
        broker.produce("once-missing", batch(20, "first"), ledger)
        server.drain(want=1)
        case.true("once-held/0 is stopped" in server.log(), server.tail())
        exactly_once(server, ledger)


# -- who may come in --------------------------------------------------------------------------------------------

ALICE, ALICES = kafka.PLAIN_USER
BOB, BOBS = kafka.SCRAM_USER


@functools.cache
def guarded(version="4.4.0"):
    """A broker with all its listeners, where bob may do what he is allowed to."""
    broker = Broker(version, settings=IMPATIENT, security=True, authorizer=True).start()
    atexit.register(broker.stop)
    return broker


def sasl(user=ALICE, mechanism="PLAIN"):
    return {"mechanism": mechanism, "username": user, "password": "${env:MRT_KAFKA}"}


def at_door(broker, listener, **options):
    return {"brokers": [broker.listener(listener)], **options}


def lands_as(broker, topic, password=ALICES, **options):
    """A whole life of a source, from the start to the drained end, with nothing told."""
    ledger = Ledger()
    broker.create(topic)
    with reading(broker, topic, env={"MRT_KAFKA": password}, **options) as server:
        broker.produce(topic, batch(20, "first"), ledger)
        lands(server, ledger)
        case.equal(alerts(server), {}, "nothing is told")
        exactly_once(server, ledger)


def test_each_way_in_works():
    broker = guarded()
    ca = {"ca": broker.certs.crt("ca")}
    lands_as(broker, "plain", **at_door(broker, "SASL_PLAINTEXT", sasl=sasl()))
    lands_as(broker, "plain-tls", **at_door(broker, "SASL_SSL", sasl=sasl(), tls=ca))
    broker.allow("CN=client", "certificate", "test.certificate")
    lands_as(broker, "certificate", **at_door(broker, "SSL", tls={**ca, "cert": broker.certs.crt("client"), "key": broker.certs.key("client")}))


def goes_on_being_told(server, name):
    """Brokers that answer are not yet brokers that let us read: two rounds of their statistics (5 s) close nothing."""
    def old():
        now = status(server)
        opened = next((a["opened_at"] for a in now["alerts"] if a["name"] == name), None)
        return opened and (datetime.fromisoformat(now["now"]) - datetime.fromisoformat(opened)).total_seconds() > 11
    until(f"{name} is open for two rounds", old, 20, every=0.2)


def never_said(server, *secrets):
    said = [server.log(since_start=False)] + [server.get(path).text for path in ("/", "/metrics", "/api/status")]
    case.true(not any(secret in text for secret in secrets for text in said), "a secret is told")


def refused_at(broker, topic, words, right, wrong, restart):
    """Refused with these words as long as the options are wrong, and let in once they are right: by a reload, or by a restart, which finds the alert open."""
    ledger, hooks = Ledger(), topic
    broker.create(topic)
    broker.produce(topic, batch(20, "first"), ledger)
    with reading(broker, topic, env={"MRT_KAFKA": ALICES, "MRT_WRONG": "a-wrong-one"}, **wrong) as server:
        text = opens(server, "kafka_refused", "", *words)
        accepted(server, hooks)
        wait_landed(server, hooks)
        never_said(server, ALICES, "a-wrong-one")
        done = server.cli("check")
        case.equal(done.returncode, 1, f"check: {done.stdout} {done.stderr}")
        case.true(b"a-wrong-one" not in done.stdout + done.stderr, "a secret is told")
        case.equal(landed(server), [])
        server.cfg["sources"]["events"] = source(broker, topic, group=topic, **right)
        server.write_config()
        if restart:
            server.stop()
            server.start()
        else:
            server.signal(signal.SIGHUP)
        lands(server, ledger)
        closes(server, "kafka_refused")
        exactly_once(server, ledger)
        return text, done.stdout.decode() + done.stderr.decode()


def test_a_wrong_password_is_told_and_never_said():
    broker = guarded()
    right = at_door(broker, "SASL_PLAINTEXT", sasl=sasl())
    _, said = refused_at(broker, "password", ["uthentication"], right, {**right, "sasl": {**sasl(), "password": "${env:MRT_WRONG}"}}, restart=False)
    case.true("uthentication" in said, f"check says why: {said}")


def test_a_certificate_of_another_authority_is_told():
    broker = guarded()
    with Home("mr-kafka-ca") as home:
        other = Certs(home.at("certs"))
        other.ca()
        right = at_door(broker, "SASL_SSL", sasl=sasl(), tls={"ca": broker.certs.crt("ca")})
        _, said = refused_at(broker, "authority", ["ertificate"], right, {**right, "tls": {"ca": other.crt("ca")}}, restart=True)
        case.true("ertificate" in said, f"check says why: {said}")


def test_scram_works_and_where_the_library_is_too_old_for_the_brokers_it_is_told():
    old = guarded("3.9.1")
    for bits in (256, 512):
        old.allow(BOB, f"scram-{bits}", "test.scram-" + str(bits))
        lands_as(old, f"scram-{bits}", BOBS, **at_door(old, "SASL_PLAINTEXT", sasl=sasl(BOB, f"SCRAM-SHA-{bits}")))
    new = guarded()
    new.create("scram")
    with reading(new, "scram", env={"MRT_KAFKA": BOBS}, **at_door(new, "SASL_PLAINTEXT", sasl=sasl(BOB, "SCRAM-SHA-512"))) as server:
        opens(server, "kafka_refused", "", "SCRAM", "librdkafka 2.6.1")
        never_said(server, BOBS)


def test_rights_that_are_missing_are_told_and_once_given_it_goes_on_by_itself():
    broker, ledger, others = guarded("3.9.1"), Ledger(), Ledger()
    broker.create("secret"), broker.create("open")
    broker.disallow(BOB)
    broker.allow(BOB, "open", "test.rights")
    options = at_door(broker, "SASL_PLAINTEXT", sasl=sasl(BOB, "SCRAM-SHA-256"), group="rights", librdkafka=SOON)
    with reading(broker, "open", "secret", env={"MRT_KAFKA": BOBS}, **options) as server:
        text = opens(server, "kafka_topic_unreadable", "secret", "secret")
        case.true("uthorization" in text, text)
        goes_on(server, broker, "open", others)
        broker.produce("secret", batch(20, "first"), ledger)
        broker.allow(BOB, "secret")
        lands(server, ledger)
        closes(server, "kafka_topic_unreadable", "secret")
        ledger.delivered.update(others.delivered)
        exactly_once(server, ledger)


def test_a_group_that_is_not_ours_to_use_is_told_until_it_is():
    broker, ledger = guarded("3.9.1"), Ledger()
    broker.create("grouped")
    broker.disallow(BOB)
    broker.allow(BOB, "grouped")
    broker.produce("grouped", batch(20, "first"), ledger)
    options = at_door(broker, "SASL_PLAINTEXT", sasl=sasl(BOB, "SCRAM-SHA-256"))
    with reading(broker, "grouped", env={"MRT_KAFKA": BOBS}, **options) as server:
        text = opens(server, "kafka_refused")
        case.true("roup" in text, text)
        accepted(server, "hook")
        wait_landed(server, "hook")
        goes_on_being_told(server, "kafka_refused")
        broker.allow(BOB, group="test.grouped")
        lands(server, ledger)
        closes(server, "kafka_refused")
        exactly_once(server, ledger)


# -- brokers that do not answer ---------------------------------------------------------------------------------


def test_while_no_broker_is_there_the_source_waits_and_says_so():
    broker, ledger = Broker(), Ledger()
    try:
        with reading(broker, "later", librdkafka={"reconnect.backoff.max.ms": 1000, **SOON}) as server:
            opens(server, "kafka_unreachable", "", "no broker answers", timeout=90)
            case.equal(next(s for s in status(server)["sources"] if s["name"] == "events")["state"], "up")
            accepted(server, "hook")
            wait_landed(server, "hook")
            broker.start()
            broker.create("later")
            broker.produce("later", batch(20, "first"), ledger)
            lands(server, ledger)
            closes(server, "kafka_unreachable")
            exactly_once(server, ledger)
    finally:
        broker.stop()


@contextlib.contextmanager
def own_broker(*topics, **more):
    """A broker that the story freezes or kills."""
    with Broker(settings=IMPATIENT, **more) as broker:
        for topic in topics:
            broker.create(topic, 2)
        yield broker


def test_a_broker_that_hangs_holds_up_neither_the_end_nor_a_check():
    with own_broker("frozen") as broker:
        ledger = Ledger()
        with reading(broker, "frozen", librdkafka={"session.timeout.ms": 6000}) as server, Stream(broker, "frozen", ledger, 2) as stream:
            until("some has landed", lambda: len(landed(server)) > 300, PATIENCE)
            stream.end()
            broker.freeze()
            accepted(server, "hook")
            wait_landed(server, "hook")
            server.stop(timeout=10)
            case.true(len(landed(server)) > 300, "what was read has landed")
            for args in (("check",), ("run", "--once")):
                done = server.cli(*args, timeout=90)
                server.sanitized()
                case.equal(done.returncode, 1, f"{args}: {done.stdout} {done.stderr}")
            broker.thaw()
            server.start()
            lands(server, ledger)
            exactly_once(server, ledger)


def test_a_start_while_the_broker_hangs_ends_as_soon_and_reads_once_it_wakes():
    with own_broker("asleep") as broker:
        ledger = Ledger()
        broker.produce("asleep", batch(50, "first") + batch(50, "first", 1), ledger)
        broker.freeze()
        with reading(broker, "asleep") as server:
            accepted(server, "hook")
            wait_landed(server, "hook")
            server.stop(timeout=10)
            server.start()
            broker.thaw()
            lands(server, ledger)
            exactly_once(server, ledger)


def test_a_broker_that_is_killed_under_load_costs_and_doubles_nothing():
    with own_broker("killed", "killed-too") as broker:
        ledger = Ledger()
        with reading(broker, "killed", "killed-too") as server, Stream(broker, "killed", ledger, 2) as stream, Stream(broker, "killed-too", ledger, 2) as other:
            for round_ in (1, 2):
                before = len(landed(server))
                until("some has landed", lambda: len(landed(server)) > before + 200, PATIENCE, every=0.2)
                broker.kill()
                accepted(server, f"hook {round_}")
                wait_landed(server, f"hook {round_}")
                broker.start()
            stream.end(), other.end()
            lands(server, ledger, timeout=90)
            exactly_once(server, ledger)


def test_a_broker_that_hangs_for_longer_than_the_session_costs_and_doubles_nothing():
    with own_broker("long") as broker:
        ledger = Ledger()
        with reading(broker, "long", librdkafka={"session.timeout.ms": 6000}) as server, Stream(broker, "long", ledger, 2) as stream:
            until("some has landed", lambda: len(landed(server)) > 200, PATIENCE, every=0.2)
            broker.freeze()
            until("the session is over", lambda: "partitions_lost" in server.log() or "SESSTMOUT" in server.log(), PATIENCE)
            broker.thaw()
            before = len(landed(server))
            until("more lands", lambda: len(landed(server)) > before + 200, 90, every=0.2)
            stream.end()
            lands(server, ledger)
            exactly_once(server, ledger)


# -- several processes ------------------------------------------------------------------------------------------


@functools.cache
def postgres():
    server = Postgres()
    atexit.register(server.stop)
    return server


@contextlib.contextmanager
def fleet(broker, topic, n=2, **options):
    """n servers on one state store and one zone, started together; `options` may hold a list for each."""
    with contextlib.ExitStack() as stack:
        homes = [stack.enter_context(Home("mr-kafka")) for _ in range(n)]
        schema = postgres().at(postgres().port, "t" + "".join(c for c in topic if c.isalnum()))
        servers = []
        for i, home in enumerate(homes):
            sources = {"events": source(broker, topic, group=topic, **{k: v[i] if isinstance(v, list) else v for k, v in options.items()})}
            servers.append(Server(home, config(home, sources, zone={"url": "file:" + homes[0].at("zone")}, state=schema)))
        try:
            for server in servers:
                server.start()
            yield servers
        except BaseException:
            for server in servers:
                print(server.tail(), file=sys.stderr)
            raise
        finally:
            for server in servers:
                server.kill9()


def reads(server, topic):
    return [n for n, p in partitions(server, topic).items() if p["state"] == "reading"]


def each_reads(servers, topic):
    until("each of them reads", lambda: all(reads(server, topic) for server in servers), 90, every=0.1)


def all_end(servers, ledger):
    for server in servers:
        if server.alive():
            server.stop()
        server.sanitized()
    exactly_once(servers[0], ledger, stop=False)


def test_a_process_that_slept_past_its_session_lands_nothing_that_another_one_has_landed():
    broker, ledger, topic = shared(), Ledger(), "slept"
    broker.create(topic, 4)
    with fleet(broker, topic, librdkafka={"session.timeout.ms": 6000}) as (first, other), Stream(broker, topic, ledger, 4) as stream:
        each_reads((first, other), topic)
        until("both have landed some", lambda: len({p[1] for p in places(landed(first))}) == 4, PATIENCE)
        first.signal(signal.SIGSTOP)
        until("the other one has all of it", lambda: len(reads(other, topic)) == 4, PATIENCE)
        before = len(landed(other))
        until("the other one lands some of each", lambda: len(landed(other)) > before + 400, PATIENCE, every=0.2)
        first.signal(signal.SIGCONT)
        each_reads((first, other), topic)
        stream.end()
        lands(first, ledger)
        all_end((first, other), ledger)


def told(server, name):
    """What the log says of an alert as it opens: it may be over before anyone can look."""
    return until(f"the log tells {name}", lambda: next((e for e in map(json.loads, server.log().splitlines()) if e.get("alert") == name and e["event"] == "alert_opened"), None),
                 PATIENCE)["why"]


def test_a_second_process_with_the_same_instance_is_told_by_the_older_one():
    broker, ledger, topic = shared(), Ledger(), "twins"
    broker.create(topic, 2)
    with fleet(broker, topic, instance="pod-0") as (older, newer), Stream(broker, topic, ledger, 2) as stream:
        text = told(older, "kafka_refused")
        case.true("same `instance`" in text and "newer" in text, text)
        until("some has landed", lambda: len(landed(older)) > 200, PATIENCE, every=0.2)
        newer.stop()
        until("the older one reads", lambda: len(reads(older, topic)) == 2, 90)
        stream.end()
        lands(older, ledger)
        closes(older, "kafka_refused")
        all_end((older, newer), ledger)


def test_shares_by_range_stop_the_whole_group_and_lose_nothing():
    broker, ledger, topic = shared(), Ledger(), "range"
    broker.create(topic, 4)
    with fleet(broker, topic, assignment="range", librdkafka={"session.timeout.ms": 6000}) as servers, Stream(broker, topic, ledger, 4) as stream:
        each_reads(servers, topic)
        until("some has landed", lambda: len(landed(servers[0])) > 200, PATIENCE, every=0.2)
        servers[1].stop()
        until("one has all of it", lambda: len(reads(servers[0], topic)) == 4, PATIENCE)
        servers[1].start()
        each_reads(servers, topic)
        servers[0].kill9()
        servers[0].start()
        each_reads(servers, topic)
        stream.end()
        lands(servers[0], ledger, timeout=90)
        all_end(servers, ledger)


# -- our own disk and store -------------------------------------------------------------------------------------


def faulty(point, how):
    if not has_faults():
        raise case.Skip("this build has no named points")
    return {"MILLRACE_FAIL": f"{point}:{how}"}


def test_a_zone_without_room_costs_and_doubles_nothing():
    broker = shared()
    for point, how in (("stage_create", "3-8:ENOSPC"), ("stage_write", "2-8:ENOSPC"), ("stage_sync", "2-6:EIO"), ("publish_rename", "2-8:EACCES")):
        topic, ledger = point.replace("_", "-"), Ledger()
        broker.create(topic, 2), broker.create(topic + "-beside")
        with reading(broker, topic, topic + "-beside", env=faulty(point, how)) as server:
            with Stream(broker, topic, ledger, 2) as stream:
                until("it is told", lambda: '"alert_opened","alert":"zone_unwritable"' in server.log(), PATIENCE)
                accepted(server, "hook")
                wait_landed(server, "hook", timeout=PATIENCE)
                stream.end()
            broker.produce(topic + "-beside", batch(20, "beside"), ledger)
            lands(server, ledger, timeout=90)
            until("it is over", lambda: not [a for a in alerts(server) if a[0] == "zone_unwritable"], PATIENCE)
            exactly_once(server, ledger)


def test_a_store_that_refuses_costs_and_doubles_nothing():
    broker = shared()
    for point, how in (("decide_begin", "3-6:EIO"), ("decide_commit", "3-6:EIO"), ("decide_committed", "3-6:EIO")):
        topic, ledger = point.replace("_", "-"), Ledger()
        broker.create(topic, 2), broker.create(topic + "-beside")
        with reading(broker, topic, topic + "-beside", env=faulty(point, how)) as server:
            with Stream(broker, topic, ledger, 2) as stream:
                until("it is told", lambda: '"alert_opened","alert":"state_failed"' in server.log(), PATIENCE)
                accepted(server, "hook")
                wait_landed(server, "hook", timeout=PATIENCE)
                stream.end()
            broker.produce(topic + "-beside", batch(20, "beside"), ledger)
            lands(server, ledger, timeout=90)
            until("it is over", lambda: not [a for a in alerts(server) if a[0] == "state_failed"], PATIENCE)
            exactly_once(server, ledger)


if __name__ == "__main__":
    kafka.ensure()
    case.main(globals())
