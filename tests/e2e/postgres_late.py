#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tables are read while writers do to them all that loses rows elsewhere (lib/churn); then the zone is held to the tables and to what their triggers noted (lib/pulled)."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))  # before this folder, which has a script of the name
import case  # noqa: E402
import replica  # noqa: E402
from pulled import judge  # noqa: E402
from pulls import BOTH, ORDERS, SECONDS, busy, churned, ids, orders, shop  # noqa: E402
from server import until  # noqa: E402


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


if __name__ == "__main__":
    replica.ensure()
    case.main(globals())
