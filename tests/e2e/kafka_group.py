#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Topics of a real broker, while things change: sources are paused and reloaded, processes join the group, leave and die, other stores read it, people set positions. What
was delivered is in a ledger, to which the zone is held."""
import json
import os
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))  # before this folder, which has a script of the name
import case  # noqa: E402
import kafka  # noqa: E402
from deliver import accepted, wait_landed  # noqa: E402
from fleet import fleet  # noqa: E402
from kafka import Ledger  # noqa: E402
from server import free_port, landed, ran, running, until, webhook  # noqa: E402
from topics import (SOON, Flow, alerts, broker, closes, exact, group, lands, landed_at_rest, Lander,  # noqa: E402
                    no_stage, numbered, of, opens, partitions, partitions_of, positions, share, source, state_of, whole)

# -- paused, reloaded ------------------------------------------------------------------------------------------------------------------------------------

def test_a_paused_source_reads_nothing_until_it_is_resumed():
    broker().create("paused", 2)
    ledger = Ledger()
    sources = {"k": source("paused"), "other": source("paused", group="not_paused")}
    with running(sources) as server:
        broker().produce("paused", numbered(10, partitions=2), ledger)
        lands(server, 10)
        ran(server.cli("pause", "k"))
        until("it is paused", lambda: state_of(server) == "paused")
        broker().produce("paused", numbered(10, 100, partitions=2), ledger)
        lands(server, 20, "other")
        case.equal(len(Lander(server).records()), 10, "nothing of what came since")
        server.stop()
        server.start()
        broker().produce("paused", numbered(10, 200, partitions=2), ledger)
        lands(server, 30, "other")
        case.equal(len(Lander(server).records()), 10, "still paused after a restart")
        ran(server.cli("resume", "k"))
        lands(server, 30)
        server.stop()
        exact(ledger, landed_at_rest(server, "k"))
        exact(ledger, landed_at_rest(server, "other"))


def test_pausing_under_load_loses_and_doubles_nothing():
    broker().create("toggled", 4)
    with running({"k": source("toggled")}) as server, Flow("toggled", 4) as flow:
        for _ in range(4):
            flow.more(1000)
            ran(server.cli("pause", "k"))
            until("it is paused", lambda: state_of(server) == "paused")
            flow.more(1000)
            ran(server.cli("resume", "k"))
            until("it is read again", lambda: state_of(server) != "paused")
        flow.stop()
        lands(server, len(flow.ledger.delivered))
        exact(flow.ledger, landed(server))


def test_a_reload_adds_removes_and_changes_sources_while_another_goes_on():
    for topic in ("stays", "goes", "comes", "changes"):
        broker().create(topic, 2)
    ledgers = {topic: Ledger() for topic in ("goes", "comes", "changes")}
    for topic, ledger in ledgers.items():
        broker().produce(topic, numbered(20, partitions=2), ledger)
    with running({"k": source("stays"), "goes": source("goes"), "changes": source("changes")}) as server, Flow("stays", 2) as flow:
        lands(server, 20, "goes")
        lands(server, 20, "changes")
        flow.more(1000)
        server.cfg["sources"] = {"k": source("stays"), "comes": source("comes"), "changes": source("changes", payload="exact", files="per_topic")}
        server.write_config()
        server.signal(signal.SIGHUP)
        lands(server, 20, "comes")
        until("the one is gone", lambda: {s["name"] for s in server.status()["sources"]} == {"k", "comes", "changes"})
        broker().produce("goes", numbered(5, 100, partitions=2))
        for topic in ("comes", "changes"):
            broker().produce(topic, numbered(20, 100, partitions=2), ledgers[topic])
        lands(server, 40, "comes")
        lands(server, 40, "changes")
        flow.more(1000)
        flow.stop()
        lands(server, len(flow.ledger.delivered))
        moved = [line for line in server.log().splitlines() if '"source":"k"' in line and '"partitions_' in line]
        case.equal(len(moved), 1, "the one that stays was given its partitions once")
        server.stop()
        exact(flow.ledger, landed_at_rest(server, "k"))
        for topic, ledger in ledgers.items():
            exact(ledger, landed_at_rest(server, topic))
        forms = [("data_text" in r.value) for r in sorted(landed_at_rest(server, "changes"), key=lambda r: r.value["ingested_at"])]
        case.equal(forms, [False] * 20 + [True] * 20, "as the new config has it, from then on")


# -- the group's offsets ---------------------------------------------------------------------------------------------------------------------------------

def store_id(server):
    with open(os.path.join(server.zone, "_millrace", "zone.json")) as f:
        return json.load(f)["store"]


def committed(topic):
    return broker().committed(group(topic), topic)


def commits(topic, want, timeout=20.0):
    """Waits until the group's offsets are these."""
    until(f"the group has {want} of {topic}", lambda: {p: offset for p, (offset, _) in committed(topic).items()} == want, timeout)


def test_the_groups_offsets_are_the_positions_and_name_the_store():
    broker().create("commits", 2)
    broker().produce("commits", numbered(20, partitions=2))
    broker().produce_transaction("commits", numbered(4, 100, partitions=2), commit=False)
    with running({"k": source("commits")}) as server:
        lands(server, 20)
        commits("commits", {0: 13, 1: 13}, 45)   # beyond the marks of the transaction
        broker().produce("commits", numbered(20, 200, partitions=2))
        lands(server, 40)
        commits("commits", {0: 23, 1: 23})
        case.equal({metadata for _, metadata in committed("commits").values()}, {"millrace/1 " + store_id(server)})
        server.stop()
        case.equal(positions(server, "commits"), {0: 23, 1: 23})
        case.equal({p: offset for p, (offset, _) in committed("commits").items()}, {0: 23, 1: 23})


def test_the_end_tells_the_group_without_delay():
    broker().create("commits_last")
    broker().produce("commits_last", numbered(10))
    with running({"k": source("commits_last")}, zone={"roll": {"age": "1h"}}) as server:
        until("all is read", lambda: partitions(server).get(("commits_last", 0), {}).get("read") == 10)
        server.stop()
        case.equal(committed("commits_last")[0][0], 10)


def test_a_strangers_commit_is_where_a_topic_begins_that_was_never_read():
    broker().create("inherited", 2)
    ledger = Ledger()
    broker().produce("inherited", numbered(20, partitions=2), ledger)
    broker().commit(group("inherited"), "inherited", {0: (7, "somebody else's")})
    ledger.forget("inherited", 0, 7)
    with running({"k": source("inherited")}) as server:
        lands(server, 13)
        exact(ledger, landed(server))
        broker().produce("inherited", numbered(8, 100, partitions=2), ledger)
        for offset in (2, 13):                  # behind the position, and before what is not landed yet
            broker().commit(group("inherited"), "inherited", {0: (offset, ""), 1: (offset, "somebody else's")})
            server.start()
            lands(server, 21)
            commits("inherited", {0: 14, 1: 14})
            exact(ledger, landed(server))
            case.true("group_offset_ignored" in server.log(), "the log says so")


# -- two stores in one group -----------------------------------------------------------------------------------------------------------------------------

def test_what_a_foreign_store_has_read_is_never_landed_twice():
    broker().create("foreign", 2)
    sources = {"k": source("foreign")}
    broker().produce("foreign", numbered(10, partitions=2))
    with running(sources, name="mr-first") as first:
        lands(first, 10)
        commits("foreign", {0: 5, 1: 5})
        first.stop()
        broker().produce("foreign", numbered(10, 100, partitions=2))
        with running(sources, name="mr-second") as second:
            told_of = opens(second, "kafka_foreign_store")
            case.true(store_id(first) in told_of["text"], told_of)
            until("both partitions are stopped", lambda: {p["state"] for p in partitions_of(second)} == {"stopped"})
            second.stop()
            case.equal(whole(second), [], "nothing lands in the second zone")
            second.drain(want=1)
            case.true("kafka_foreign_store" in second.log(), "nor with --once, which fails for it")
            case.equal(whole(second), [])
            second.cfg["sources"]["k"]["kafka"]["on_foreign_store"] = "follow"
            second.write_config()
            second.start()
            lands(second, 10)
            case.equal(alerts(second), {})
            commits("foreign", {0: 10, 1: 10})
            case.equal(sorted(of(landed(second))), [(p, n) for p in (0, 1) for n in range(5, 10)], "what the first one had not read")
            broker().produce("foreign", numbered(4, 200, partitions=2))
            # and back: the first one knows its own position, and the other's is beyond it
            first.start()
            opens(first, "kafka_foreign_store")
            case.equal(len(Lander(first).records()), 10)
            for part in (0, 1):
                ran(first.cli("state set", "k/foreign", str(part), "10"))
            closes(first, "kafka_foreign_store")
            lands(first, 14)
            commits("foreign", {0: 12, 1: 12})
            case.equal(sorted(of(landed(first))), [(p, n) for p in (0, 1) for n in (0, 1, 2, 3, 4, 10, 11)])
            broker().produce("foreign", numbered(2, 300, partitions=2))
            second.start()
            lands(second, 12)
            case.equal(sorted(of(landed(second))), [(p, n) for p in (0, 1) for n in (5, 6, 7, 8, 9, 12)], "follows over what the first one read")


def test_a_process_with_another_store_that_joins_the_group_lands_nothing_and_leaves_no_hole():
    broker().create("intruder", 4)
    sources = {"k": source("intruder")}
    with running(sources, name="mr-first") as first, Flow("intruder", 4) as flow:
        lands(first, 1000)
        until("the group has offsets of all", lambda: len(committed("intruder")) == 4)
        with running(sources, name="mr-second") as second:
            opens(second, "kafka_foreign_store")
            flow.more(1000)
            case.equal(landed(second), [])
        share([first], "intruder", 4)
        flow.more(1000)
        flow.stop()
        lands(first, len(flow.ledger.delivered))
        exact(flow.ledger, landed(first))


def test_a_topic_of_which_a_foreign_store_has_read_one_partition_is_not_begun_by_halves():
    broker().create("halves", 2)
    broker().produce("halves", numbered(10, partitions=2))
    broker().commit(group("halves"), "halves", {0: (3, "millrace/1 00000000-0000-4000-8000-000000000000")})
    with running({"k": source("halves")}) as server:
        opens(server, "kafka_foreign_store")
        until("both partitions are stopped", lambda: [p["state"] for p in partitions_of(server)] == ["stopped"] * 2)
        case.equal(landed(server), [])
        server.cfg["sources"]["k"]["kafka"]["on_foreign_store"] = "follow"
        server.write_config()
        server.start()
        lands(server, 7)
        case.equal(sorted(of(landed(server))), [(0, 3), (0, 4)] + [(1, n) for n in range(5)])


# -- positions that a person sets ------------------------------------------------------------------------------------------------------------------------

def set_position(server, topic, partition, value):
    ran(server.cli("state set", "k/" + topic, str(partition), value))


def test_a_position_that_is_set_is_where_a_running_server_goes_on():
    broker().create("moved")
    ledger = Ledger()
    broker().produce("moved", numbered(10), ledger)
    with running({"k": source("moved")}) as server:
        lands(server, 10)
        for value, next_, n in (("4", 4, 10), ('{"next":7}', 7, 11)):
            have = len(Lander(server).records())
            set_position(server, "moved", 0, value)
            broker().produce("moved", numbered(1, 100 + n), ledger)
            lands(server, have + n + 1 - next_)
            case.equal(sorted(of(Lander(server).records()))[-1:], [(0, n)])
        records = landed(server)
        case.equal(sorted(of(records)), sorted([(0, n) for n in range(12)] + [(0, n) for n in range(4, 10)] + [(0, n) for n in range(7, 11)]))
        exact(ledger, list({r.value["id"]: r for r in records}.values()))


def test_a_position_that_is_set_ahead_leaves_out_what_lies_between():
    broker().create("ahead")
    broker().produce("ahead", numbered(10))
    with running({"k": source("ahead")}) as server:
        lands(server, 10)
        set_position(server, "ahead", 0, "15")
        broker().produce("ahead", numbered(10, 100))
        lands(server, 15)
        case.equal(sorted(of(landed(server))), [(0, n) for n in [*range(10), *range(15, 20)]])


def test_a_position_that_makes_no_sense_stops_its_partition_until_a_good_one_is_set():
    broker().create("garbage", 2)
    ledger = Ledger()
    broker().produce("garbage", numbered(10, partitions=2), ledger)
    with running({"k": source("garbage")}) as server:
        lands(server, 10)
        set_position(server, "garbage", 0, '{"next":"yesterday"}')
        broker().produce("garbage", numbered(2, 100, partitions=2), ledger)
        opens(server, "kafka_stopped")
        lands(server, 11)
        case.equal(partitions(server)["garbage", 0]["state"], "stopped")
        server.stop()
        server.start()
        opens(server, "kafka_stopped")
        broker().produce("garbage", [(1, None, b"goes on")], ledger)
        lands(server, 12)
        set_position(server, "garbage", 0, "5")
        closes(server, "kafka_stopped")
        lands(server, 13)
        exact(ledger, landed(server))


def test_a_position_that_is_reset_begins_again_at_start():
    broker().create("again")
    ledger = Ledger()
    broker().produce("again", numbered(10), ledger)
    with running({"k": source("again")}) as server:
        lands(server, 10)
        server.stop()
        ran(server.cli("state reset", "k/again"))
        server.start()
        lands(server, 20)
        ran(server.cli("state reset", "k/again"))
        broker().produce("again", numbered(1, 100), ledger)
        lands(server, 31)
        records = landed(server)
        case.equal(sorted(of(records)), sorted([(0, n) for n in range(10)] * 3 + [(0, 10)]))


# -- under load ------------------------------------------------------------------------------------------------------------------------------------------

def test_sigterm_under_load_lands_what_was_taken():
    broker().create("sigterm", 4)
    with running({"k": source("sigterm")}, zone={"roll": {"age": "1h"}}) as server, Flow("sigterm", 4) as flow:
        for _ in range(4):
            flow.more(2000)
            before = len(Lander(server).records())
            server.stop()
            case.true(len(Lander(server).records()) > before, "what was taken has landed")
            no_stage(server)
            server.start()
        flow.more(1000)
        flow.stop()
        until("all is read", lambda: sum(p["read"] for p in partitions_of(server)) == len(flow.ledger.delivered), 60)
        exact(flow.ledger, landed(server))
        no_stage(server)


def test_a_process_that_ends_while_it_joins_the_group_ends_well():
    broker().create("joining", 3)
    ledger = Ledger()
    broker().produce("joining", numbered(30, partitions=3), ledger)
    with running({"k": source("joining")}) as server:
        lands(server, 30)
        server.stop()
        for n in range(20):
            server.spawn()
            until("it is up", lambda: '"to":"up"' in server.log(), 20, 0.001)
            if n % 2:
                until("the group has it", lambda: broker().members(group("joining")), 20, 0.001)
            server.stop()
        exact(ledger, whole(server))


def test_many_small_landings_keep_up_and_keep_the_order():
    """Faster than they can be decided: reading waits for landing, and goes on."""
    broker().create("small_rolls", 6)
    ledger = Ledger()
    broker().produce("small_rolls", [(n % 6, b"k%d" % n, b'{"n":%d,"pad":"%s"}' % (n, os.urandom(1000).hex().encode())) for n in range(30_000)], ledger)
    with running({"k": source("small_rolls", prefetch="1MiB")}, zone={"roll": {"age": "1s", "size": "1MiB"}}) as server:
        lands(server, 30_000, timeout=90)
        records = landed(server)
        exact(ledger, records)
        no_stage(server)
    case.true(len({r.file for r in records}) > 12, "many files")


def test_kill_9_under_load_loses_and_doubles_nothing():
    broker().create("kill9", 4)
    with running({"k": source("kill9", librdkafka=SOON)}) as server, Flow("kill9", 4) as flow:
        for n in range(3):
            have = len(Lander(server).records())
            lands(server, have + 1000)
            server.kill9()
            flow.more(500)
            server.start()
        flow.stop()
        lands(server, len(flow.ledger.delivered), timeout=60)
        exact(flow.ledger, landed(server))
        no_stage(server)


# -- a fleet ---------------------------------------------------------------------------------------------------------------------------------------------


def test_processes_with_one_store_share_partitions_come_go_and_die_and_land_everything_once():
    broker().create("fleet", 6)
    with fleet(*[{"k": source("fleet", librdkafka=SOON)}] * 2) as (a, b), Flow("fleet", 6) as flow:
        a.start()
        share([a], "fleet", 6)
        flow.more(1000)
        b.start()
        share([a, b], "fleet", 6)
        flow.more(2000)
        a.stop()
        share([b], "fleet", 6)
        flow.more(1000)
        a.start()
        share([a, b], "fleet", 6)
        flow.more(1000)
        b.kill9()
        share([a], "fleet", 6)
        flow.more(1000)
        b.start()
        share([a, b], "fleet", 6)
        flow.more(2000)
        flow.stop()
        lands(a, len(flow.ledger.delivered), timeout=90)
        case.equal({n: a for n, a in {**alerts(a), **alerts(b)}.items() if n.startswith("kafka")}, {})
        a.stop()
        b.stop()
        exact(flow.ledger, landed_at_rest(a, "k"))


def test_an_assignment_that_stops_the_whole_group_loses_and_doubles_nothing_either():
    broker().create("eager", 4)
    with fleet(*[{"k": source("eager", assignment="roundrobin", librdkafka=SOON)}] * 2) as (a, b), Flow("eager", 4) as flow:
        a.start()
        share([a], "eager", 4)
        flow.more(1000)
        b.start()
        share([a, b], "eager", 4)
        flow.more(1000)
        a.stop()
        share([b], "eager", 4)
        flow.more(1000)
        flow.stop()
        lands(b, len(flow.ledger.delivered), timeout=60)
        b.stop()
        exact(flow.ledger, landed_at_rest(b, "k"))


# -- with others in one process --------------------------------------------------------------------------------------------------------------------------

def test_brokers_that_do_not_answer_keep_nobody_else_waiting():
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections and says nothing
        sources = {"github": webhook(), "gone": {"kafka": {"brokers": [f"127.0.0.1:{free_port()}"], "topics": ["t"]}},
                   "silent": {"kafka": {"brokers": ["127.0.0.1:%d" % silent.getsockname()[1]], "topics": ["t"]}}}
        begun = time.monotonic()
        with running(sources) as server:
            case.true(time.monotonic() - begun < 5, "ready at once")
            for n in range(20):
                accepted(server, f"e{n}", timeout=2)
            wait_landed(server, "e19")
            until("the status page says so", lambda: not next(s for s in server.status()["sources"] if s["name"] == "gone")["answering"])
            begun = time.monotonic()
            case.equal(len(landed(server, "github")), 20)
            case.true(time.monotonic() - begun < 15, "and its end")


if __name__ == "__main__":
    kafka.ensure()
    case.main(globals())
