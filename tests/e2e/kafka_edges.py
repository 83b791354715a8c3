#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two things at once: a position that is set under a landing, a share that comes under a failure or an end, brokers that go under a reader; each costs and doubles nothing."""
import contextlib
import json
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import kafka  # noqa: E402
from deliver import accepted  # noqa: E402
from hold import Hold  # noqa: E402
from kafka import Broker, Ledger  # noqa: E402
from server import has_faults, ran, until, webhook  # noqa: E402
from topics import broker, closes, exact, lands, numbered, opens, partitions, positions, reads, resting, source, whole  # noqa: E402
from zone import Reader  # noqa: E402

SOON = {"topic.metadata.refresh.interval.ms": 1000}                # new partitions are seen soon
LOOK = 2.5                                         # seconds in which a fault would show, where nothing tells that there is none; a landing rolls after one


def may_come(condition, timeout=LOOK):
    """Gives a fault its time. It need not come."""
    end = time.monotonic() + timeout
    while time.monotonic() < end and not condition():
        time.sleep(0.05)


def set_position(server, place, part, value):
    ran(server.cli("state set", place, part, value))


def rows(server):
    """{(source, stream, part): (version, value)}"""
    lines = [line.split("\t") for line in ran(server.cli("state show")).splitlines()]
    return {tuple(row[:3]): (int(row[3]), row[4]) for row in lines if len(row) > 4 and row[3].isdigit()}


@contextlib.contextmanager
def held(sources, **top):
    with resting(sources, **top) as server:
        yield server, Hold(server)


# -- a position is set while its landings are on the way ----------------------------------------------------------


def test_a_position_set_while_landings_are_under_way_jumps_over_nothing():
    """The landing at hand loses; one that was closed behind it would win over the gap, since it expects the version that the person made."""
    broker().create("set")
    ledger = Ledger()
    with held({"k": source("set")}) as (server, hold):
        server.start()
        broker().produce("set", numbered(10), ledger)
        lands(server, 10)
        until("its position follows", lambda: positions(server, "set") == {0: 10})
        hold.on("stage")
        broker().produce("set", numbered(10, 10), ledger)
        hold.comes("stage", 1)
        broker().produce("set", numbered(10, 20), ledger)
        may_come(lambda: hold.held("stage", 2))
        set_position(server, "k/set", "0", '{"next":10}')
        hold.let_all_go("stage")
        lands(server, 30)
        broker().produce("set", numbered(5, 30), ledger)
        lands(server, 35)
        server.stop()
        exact(ledger, whole(server))


def test_a_webhooks_position_set_while_landings_are_under_way_jumps_over_nothing():
    """The same, of the queue: every event that was acknowledged lands."""
    with held({"github": webhook()}) as (server, hold):
        def events(start, end):
            for n in range(start, end):
                accepted(server, f"e{n}")

        def names():
            return sorted(r.value["data"]["id"] for r in Reader(server.zone).all("github"))
        server.start()
        events(0, 10)
        until("they land", lambda: len(names()) == 10)
        ((place, (_, value)),) = until("the position follows", lambda: [row for row in rows(server).items() if row[1][1] == "10"])
        hold.on("stage")
        events(10, 20)
        hold.comes("stage", 1)
        events(20, 30)
        may_come(lambda: hold.held("stage", 2))
        set_position(server, "/".join(place[:2]), place[2], value)
        hold.let_all_go("stage")
        events(30, 35)
        until("the last one lands", lambda: "e34" in names())
        server.stop()
        case.equal(names(), sorted(f"e{n}" for n in range(35)))


# -- what the group gives while something else goes on --------------------------------------------------------------


def test_a_partition_that_comes_to_a_file_that_fails_loses_nothing():
    """The topic's file cannot be made while the one before it is still on its way: what has been read of the new partition meanwhile is read again."""
    if not has_faults():
        raise case.Skip("this build has no named points")
    broker().create("fails")
    ledger = Ledger()
    with held({"k": source("fails", files="per_topic", librdkafka=SOON)}) as (server, hold):
        hold.on("stage")
        server.start(extra={"MILLRACE_FAIL": "stage_create:2:EIO"})
        broker().produce("fails", numbered(10), ledger)
        hold.comes("stage", 1)
        broker().produce("fails", numbered(10, 10), ledger)
        until("the next file fails", lambda: "landing_again" in server.log())
        broker().add_partitions("fails", 2)
        broker().produce("fails", [(1, b"k%d" % n, b"%d" % n) for n in range(10)], ledger)
        until("the new partition is read", lambda: partitions(server).get(("fails", 1), {}).get("read") == 10)
        case.true(hold.held("stage", 1) and not hold.held("stage", 2), "all that was behind the one landing")
        hold.let_all_go("stage")
        broker().produce("fails", [(1, b"k%d" % n, b"%d" % n) for n in range(10, 15)], ledger)
        lands(server, 35)
        server.stop()
        exact(ledger, whole(server))


def test_a_drain_that_ends_while_a_share_is_taken_accepts_nothing_behind_the_gap():
    """Records of the new partition that came too late for the drain are dropped; those after them, which come while another source still drains, must not be taken."""
    broker().create("drain")
    broker().create("other")
    ledger, others = Ledger(), Ledger()
    with held({"k": source("drain", librdkafka=SOON), "other": source("other")}) as (server, hold):
        server.start()
        broker().produce("drain", numbered(1), ledger)
        broker().produce("other", numbered(1), others)
        lands(server, 1)
        lands(server, 1, "other")
        hold.on("stage")
        broker().produce("other", numbered(1, 1), others)
        hold.comes("stage", 1)
        broker().produce("drain", numbered(1, 1), ledger)
        hold.comes("stage", 2)
        hold.off("stage")
        hold.on("committed")
        broker().add_partitions("drain", 2)
        broker().produce("drain", [(1, b"k%d" % n, b"%d" % n) for n in range(10)], ledger)
        hold.comes("committed", 1)
        server.signal(signal.SIGTERM)
        until("it drains", lambda: '"draining"' in server.log())
        server.get("/api/status")                 # a turn of its loop
        hold.let_all_go("committed")
        until("the share is taken", lambda: partitions(server).get(("drain", 1), {}).get("state") == "reading")
        may_come(lambda: partitions(server)["drain", 1]["read"] > 0)
        hold.let_go("stage", 2)
        lands(server, 2)
        server.get("/api/status")
        broker().produce("drain", [(1, b"k%d" % n, b"%d" % n) for n in range(10, 15)], ledger)
        may_come(lambda: positions(server, "drain").get(1))
        case.true(hold.held("stage", 1), "the other source has drained all the while")
        hold.let_go("stage", 1)
        case.equal(server.wait(), 0, "exit code")
        server.start()
        lands(server, 17)
        server.stop()
        records = whole(server)
        exact(ledger, records)
        exact(others, Reader(server.zone).all("other"))


def test_a_server_that_is_told_to_stop_while_its_client_is_made_ends():
    """Both ways: the client comes while it still drains, and after its time is over. The group is not left at the first look."""
    for late in (False, True):
        with held({"k": {"kafka": {"brokers": ["127.0.0.1:1"], "topics": ["a"]}}}, shutdown_timeout="1s") as (server, hold):
            hold.on("client")
            hold.on("closed")
            server.spawn()
            hold.comes("client", 1)
            server.wait_ready()
            server.signal(signal.SIGTERM)
            until("it drains", lambda: '"draining"' in server.log())
            if late:
                until("its time is over", lambda: "drain_out_of_time" in server.log())
            hold.let_all_go("client")
            hold.comes("closed", 1)
            hold.let_all_go("closed")
            case.equal(server.wait(20), int(late), "exit code")


# -- positions that do not fit the log, or are not there ------------------------------------------------------------


def test_a_replay_whose_records_have_gone_meanwhile_moves_no_live_position():
    """It was at offset 100 when the topic lost all up to 200: exit 1, with the offsets; the live positions are of no concern to it."""
    broker().create("gone")
    broker().produce("gone", numbered(300))
    with resting({"k": source("gone")}) as server:
        def live():
            return {place: row for place, row in rows(server).items() if "/" not in place[2]}
        server.drain()
        ran(server.cli("replay", "k", "--from", "0", "--to", "100", "--run", "x"))
        before = rows(server)
        case.equal(json.loads(before["k", "gone", "0"][1])["next"], 300, "the live position")
        broker().produce("gone", numbered(100, 300))
        broker().delete_records("gone", {0: 200})
        done = server.cli("replay", "k", "--from", "0", "--to", "300", "--run", "x")
        case.equal(done.returncode, 1, f"it says so: {done.stdout!r} {done.stderr!r}")
        case.true(b"are no longer there" in done.stderr and b'"from":100,"first_left":200' in done.stderr, f"what is missing: {done.stderr!r}")
        case.equal(rows(server), before, "positions, the live ones and the run's")
        ran(server.cli("replay", "k", "--from", "200", "--to", "300", "--run", "y"))
        landed = [(r.value.get("replay"), r.value["position"]["offset"]) for r in Reader(server.zone).all("k")]
        case.equal(sorted(landed, key=str), sorted([(None, n) for n in range(300)] + [("x", n) for n in range(100)] + [("y", n) for n in range(200, 300)], key=str))
        case.equal({place: row for place, row in rows(server).items() if "/" not in place[2]}, live(), "live positions")


def test_a_position_reset_beside_a_running_server_begins_again_in_all_partitions():
    """Records come to one of two partitions only; the other one, which is idle, is read from `start` too."""
    broker().create("reset", 2)
    ledger = Ledger()
    broker().produce("reset", numbered(20, partitions=2), ledger)
    with resting({"k": source("reset")}) as server:
        server.start()
        lands(server, 20)
        until("the positions follow", lambda: positions(server, "reset") == {0: 10, 1: 10})
        ran(server.cli("state reset", "k/reset"))
        broker().produce("reset", numbered(5, 20), ledger)
        records = lands(server, 20 + 25, timeout=20)
        case.equal(sorted(r.value["position"]["offset"] for r in records if r.value["position"]["partition"] == 1), sorted(list(range(10)) * 2), "of the idle one")
        reads(server, ("reset", 0), ("reset", 1))
        server.stop()
        records = whole(server)
        case.equal(len(records), 45)
        exact(ledger, list({r.value["id"]: r for r in records}.values()))


# -- brokers that go --------------------------------------------------------------------------------------------------


def test_brokers_that_go_while_they_are_read_are_told_after_a_minute_and_forgotten_when_they_come():
    """The group's session ends meanwhile, which the library says by itself: that is no sign of life."""
    with Broker() as own:
        own.create("goes")
        ledger = Ledger()
        own.produce("goes", numbered(10), ledger)
        with resting({"k": {"kafka": {"brokers": [own.bootstrap], "topics": ["goes"], "librdkafka": {"session.timeout.ms": 6000, "reconnect.backoff.max.ms": 1000}}}}) as server:
            server.start()
            lands(server, 10)
            own.kill()
            until("the share is lost", lambda: "partitions_lost" in server.log(), 30)
            opens(server, "kafka_unreachable", 80)
            own.start()
            own.produce("goes", numbered(10, 10), ledger)
            lands(server, 20, timeout=60)
            closes(server, "kafka_unreachable")
            server.stop()
            exact(ledger, whole(server))


if __name__ == "__main__":
    kafka.ensure()
    case.main(globals())
