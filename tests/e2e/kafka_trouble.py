#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with a Kafka cluster and beside it is told with names and numbers, costs no record, doubles none, and holds up neither the other topics nor the webhooks."""
import contextlib
import json
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import kafka  # noqa: E402
from deliver import accepted, wait_landed  # noqa: E402
from fleet import fleet  # noqa: E402
from kafka import Broker, Ledger  # noqa: E402
from server import has_faults, until  # noqa: E402
from trouble import (IMPATIENT, PATIENCE, SOON, Stream, alerts, batch, closes, exactly_once, goes_on, landed, lands, opens, partitions,  # noqa: E402
                     places, reading, shared, source, takes_config)

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
            takes_config(server, restart)
            closes(server, "kafka_topic_unreadable", "mispelt")
            goes_on(server, broker, "spelt", ledger)
            server.cfg["sources"]["events"]["kafka"]["topics"] = ["spelt", "mispelt"]
            takes_config(server, restart=False)
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


# -- brokers that do not answer ---------------------------------------------------------------------------------


def test_while_no_broker_is_there_the_source_waits_and_says_so():
    broker, ledger = Broker(), Ledger()
    try:
        with reading(broker, "later", librdkafka={"reconnect.backoff.max.ms": 1000, **SOON}) as server:
            opens(server, "kafka_unreachable", "", "no broker answers", timeout=90)
            case.equal(next(s for s in server.status()["sources"] if s["name"] == "events")["state"], "up")
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


@contextlib.contextmanager
def together(broker, topic, **options):
    """Two servers of one group, started one after the other."""
    with fleet(*[{"events": source(broker, topic, group=topic, **options)}] * 2) as servers:
        for server in servers:
            server.start()
        yield servers


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
    with together(broker, topic, librdkafka={"session.timeout.ms": 6000}) as (first, other), Stream(broker, topic, ledger, 4) as stream:
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
    with together(broker, topic, instance="pod-0") as (older, newer), Stream(broker, topic, ledger, 2) as stream:
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
    with together(broker, topic, assignment="range", librdkafka={"session.timeout.ms": 6000}) as servers, Stream(broker, topic, ledger, 4) as stream:
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


def goes_wrong(point, how, alert):
    """It is told, and over by itself; the webhook goes on, and of what came meanwhile nothing is lost or doubled."""
    broker, topic, ledger = shared(), point.replace("_", "-"), Ledger()
    broker.create(topic, 2), broker.create(topic + "-beside")
    with reading(broker, topic, topic + "-beside", env=faulty(point, how)) as server:
        with Stream(broker, topic, ledger, 2) as stream:
            until("it is told", lambda: f'"alert_opened","alert":"{alert}"' in server.log(), PATIENCE)
            accepted(server, "hook")
            wait_landed(server, "hook", timeout=PATIENCE)
            stream.end()
        broker.produce(topic + "-beside", batch(20, "beside"), ledger)
        lands(server, ledger, timeout=90)
        until("it is over", lambda: not [a for a in alerts(server) if a[0] == alert], PATIENCE)
        exactly_once(server, ledger)


def test_a_zone_without_room_costs_and_doubles_nothing():
    for point, how in (("stage_create", "3-8:ENOSPC"), ("stage_write", "2-8:ENOSPC"), ("stage_sync", "2-6:EIO"), ("publish_rename", "2-8:EACCES")):
        goes_wrong(point, how, "zone_unwritable")


def test_a_store_that_refuses_costs_and_doubles_nothing():
    for point, how in (("decide_begin", "3-6:EIO"), ("decide_commit", "3-6:EIO"), ("decide_committed", "3-6:EIO")):
        goes_wrong(point, how, "state_failed")


if __name__ == "__main__":
    kafka.ensure()
    case.main(globals())
