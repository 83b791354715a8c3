#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tables are read while writers do to them all that loses rows elsewhere (lib/churn); then the zone is held to the tables and to what their triggers noted (lib/pulled)."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))  # before this folder, which has a script of the name
import case  # noqa: E402
import replica  # noqa: E402
from pulled import Watch, judge, sight  # noqa: E402
from pulls import ORDERS, busy, ids, orders, shop  # noqa: E402
from server import until  # noqa: E402

BOTH = (Watch("orders"), Watch("events", whole=True))
SECONDS = 12


def churned(s, writers, seconds=SECONDS, watches=BOTH, meanwhile=None):
    """The server reads while there is writing; all that is left afterwards lands by run --once."""
    with writers:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            meanwhile() if meanwhile else time.sleep(0.2)
    print(f"    {writers}", flush=True)
    return s.finish(watches)


def test_by_range_while_transactions_stay_open():
    with busy(11, method="exact", every="200ms", start=True) as (s, writers):
        verdict = churned(s, writers)
        case.equal(verdict.late, 0, "no sweep was asked for")


def test_by_transaction_ids_with_times_that_mean_nothing():
    with busy(12, method="xid", every="200ms", start=True, churning={"stale": True}) as (s, writers):
        churned(s, writers)


def test_as_it_chooses_itself():
    with busy(13, every="100ms", start=True) as (s, writers):
        churned(s, writers)


def test_a_sweep_finds_stale_times_and_untouched_ones():
    with busy(14, method="exact", every="200ms", sweep="2s", start=True, churning={"stale": True}) as (s, writers):
        with writers:
            time.sleep(SECONDS)
        until("the sweep has found the rest", lambda: not judge(s.primary, s.db, s.records(), BOTH).lost, 30, 1)
        case.true(s.finish(BOTH).late > 0, "what a sweep found says so")


def test_stragglers_are_left_behind_and_read_when_they_end():
    with busy(15, method="exact", every="200ms", straggler_after="1s", start=True, churning={"hold": 3.5}) as (s, writers):
        churned(s, writers, 16)


def test_a_transaction_of_long_ago_is_told_holds_nobody_back_and_is_not_lost():
    with shop({"orders": orders(method="exact")}, *ORDERS, every="200ms", straggler_after="2s", start=True) as s:
        s.sql("INSERT INTO orders VALUES (1)")
        s.lands(1)
        old = s.begin("INSERT INTO orders VALUES (2)", "SAVEPOINT a", "INSERT INTO orders VALUES (3)")
        s.opens("postgres_straggler", str(old.info.backend_pid))
        until("it is far behind the range", lambda: s.value("SELECT now() > %s::timestamptz + interval '13 s'", old.execute("SELECT now()::text").fetchone()[0]), 30, 0.5)
        s.sql("INSERT INTO orders VALUES (4)")
        case.equal(ids(s.lands(2)), [1, 4])
        old.execute("COMMIT")
        case.equal(ids(s.lands(4)), [1, 2, 3, 4])
        s.closes("postgres_straggler")
        s.server.stop()
        case.equal(s.pull(), [])


def test_a_straggler_that_ends_while_nobody_reads_is_not_lost():
    with shop({"orders": orders(method="exact")}, *ORDERS, every="200ms", straggler_after="1s") as s:
        s.sql("INSERT INTO orders VALUES (1)")
        s.pull()
        old = s.begin("INSERT INTO orders VALUES (2)")
        s.start()
        s.opens("postgres_straggler")
        until("it is far behind the range", lambda: s.value("SELECT now() > %s::timestamptz + interval '10 s'", old.execute("SELECT now()::text").fetchone()[0]), 30, 0.5)
        s.server.kill9()
        old.execute("COMMIT")
        case.equal(ids(s.pull() + s.pull()), [2])
        case.equal(s.pull(), [])


def test_run_after_run_what_stood_before_and_after_is_there():
    with busy(16, method="exact", churning={"hold": 1.0, "writers": 6}) as (s, writers):
        must, before = {"orders": set(), "events": set()}, {}
        with writers:
            for _ in range(10):
                for t in must:
                    before[t] = sight(s.primary, s.db, t)
                s.server.drain()
                for t in must:
                    must[t] |= before[t] & sight(s.primary, s.db, t)
        s.finish((Watch("orders", must=must["orders"]), Watch("events", whole=True, must=must["events"])))


def test_partitions_under_writers():
    with busy(17, rows=2500, partitions=3, every="200ms", start=True, method="auto", churning={"first": 1800}) as (s, writers):
        s.sql("DELETE FROM orders WHERE id >= 1800")
        churned(s, writers)


def test_many_writers_of_few_rows():
    """Two thirds of what is committed is overwritten before anybody reads it."""
    with busy(18, rows=0, tables={"orders": "rows"}, method="exact", every="100ms", start=True, churning={"writers": 14, "pace": 0.005, "hold": 0.5, "prepared": False}) as (s, writers):
        churned(s, writers, 10, (Watch("orders"),))


def test_the_window_method_loses_nothing_of_what_is_inserted_in_time():
    streams = {"events": orders("events", method="window")}
    with busy(19, tables={"events": "inserts"}, streams=streams, every="200ms", start=True, skew="5s", churning={"odd": False, "ahead": False}) as (s, writers):
        with writers:
            time.sleep(SECONDS)
        watches = (Watch("events", whole=True, window=True),)
        until("the window has passed the last of them", lambda: not judge(s.primary, s.db, s.records(), watches).lost, 40, 1)
        s.finish(watches)


def test_a_table_that_grows_fast_with_large_rows():
    with busy(20, rows=0, tables={"events": "inserts"}, method="exact", every="100ms", start=True, churning={"writers": 10, "pace": 0.001, "hold": 0.3, "big": 0.01}) as (s, writers):
        churned(s, writers, 10, (Watch("events", whole=True),))


if __name__ == "__main__":
    replica.ensure()
    case.main(globals())
