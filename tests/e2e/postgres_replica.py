#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tables are read from a standby, whose snapshots list nobody, whose replay lags, which cancels who reads for long, and which becomes a primary one day."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))  # before this folder, which has a script of the name
import case  # noqa: E402
import replica  # noqa: E402
from pulled import Watch  # noqa: E402
from pulls import BOTH, ORDERS, busy, ids, orders, primary, shop, standby  # noqa: E402
from replica import Way  # noqa: E402
from server import until  # noqa: E402


def each_way(**more):
    """From the standby: with the primary asked for open transactions, and without."""
    for method, asked in (("exact", True), ("xid", None), ("auto", None), ("auto", True)):
        print(f"    method {method}, {'with' if asked else 'without'} the primary", flush=True)
        with shop({"orders": orders(method=method)}, *ORDERS, node=standby(), primary_dsn=asked, **more) as s:
            yield s


def test_late_commits_from_a_standby():
    for s in each_way():
        s.sql("INSERT INTO orders VALUES (1)")
        case.equal(ids(s.pull()), [1])
        late = s.begin("INSERT INTO orders VALUES (2)", "SAVEPOINT a", "INSERT INTO orders VALUES (3)")
        early = s.begin("SELECT now()")
        s.sql("INSERT INTO orders VALUES (4)")
        case.equal(ids(s.pull()), [4])
        early.execute("INSERT INTO orders VALUES (5)")
        late.execute("COMMIT")
        early.execute("COMMIT")
        case.equal(ids(s.pull()), [2, 3, 5])
        case.equal(s.pull(), [])


def test_prepared_transactions_from_a_standby():
    for s in each_way():
        s.sql("INSERT INTO orders VALUES (1)")
        s.pull()
        t = s.begin("INSERT INTO orders VALUES (2)", f"PREPARE TRANSACTION '{s.db}'")
        t.close()
        s.sql("INSERT INTO orders VALUES (3)")
        case.equal(ids(s.pull()), [3])
        s.sql(f"COMMIT PREPARED '{s.db}'")
        case.equal(ids(s.pull()), [2])


def test_under_writers_with_the_primary_asked():
    with busy(61, node=standby(), primary_dsn=True, method="exact", every="200ms", start=True) as (s, writers):
        with writers:
            time.sleep(10)
        s.finish(BOTH)


def test_under_writers_by_ids_alone():
    with busy(62, node=standby(), method="auto", every="200ms", start=True, churning={"stale": True}) as (s, writers):
        with writers:
            time.sleep(10)
        s.finish(BOTH)


def test_a_first_read_from_a_standby_under_writers():
    with busy(63, rows=40_000, size=300, node=standby(), primary_dsn=True, method="exact", every="200ms", chunk="1MiB", tables={"orders": "rows"}) as (s, writers):
        with writers:
            s.start()
            time.sleep(8)
        s.finish((Watch("orders"),))


def test_replay_that_is_paused_delays_and_is_told():
    with shop({"orders": orders(method="exact")}, *ORDERS, node=standby(), primary_dsn=True, every="300ms", start=True) as s:
        s.sql("INSERT INTO orders VALUES (1)")
        s.lands(1)
        standby().pause()
        try:
            s.sql("INSERT INTO orders VALUES (2)")
            s.opens("postgres_replica_behind", timeout=120)
            case.equal(ids(s.records()), [1])
            case.true((s.metric("millrace_postgres_replica_lag_seconds") or 0) > 0, "lag is a metric")
        finally:
            standby().resume()
        s.lands(2)
        s.closes("postgres_replica_behind")


def test_the_primary_goes_away_and_the_standby_stays():
    """Without the probe nobody knows who is open: it waits, or reads by ids; it does not lose."""
    with Way(primary().port) as way, shop({"orders": orders(method="exact")}, *ORDERS, node=standby(), every="300ms") as s:
        s.change(primary_dsn=s.primary.dsn(s.db, password=None, port=way.port), primary_password="${env:MRT_PG_PASSWORD}")
        s.sql("INSERT INTO orders VALUES (1)")
        s.start()
        s.lands(1)
        way.refuse()
        late = s.begin("INSERT INTO orders VALUES (2)")
        s.sql("INSERT INTO orders VALUES (3)")
        time.sleep(3)
        case.true(s.server.alive(), "it stays up")
        late.execute("COMMIT")
        way.refuse(False)
        s.lands(3, timeout=60)
        s.server.stop()
        case.equal(ids(s.records()), [1, 2, 3])


def test_a_recovery_conflict_is_tried_again():
    """The standby cancels whoever needs rows that the primary has cleaned away, half a second later."""
    with busy(64, rows=30_000, size=600, node=standby(), primary_dsn=True, method="exact", every="100ms", max_rows_per_s=20_000, chunk="2MiB", tables={"orders": "rows"},
              churning={"keep_house": False, "hold": 0.3}) as (s, writers):
        with writers:
            s.start()
            end = time.monotonic() + 14
            while time.monotonic() < end:
                s.sql("DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE id < 1000000 ORDER BY random() LIMIT 300)")
                s.sql("UPDATE orders SET payload = payload || 'x', updated_at = now() WHERE id IN (SELECT id FROM orders WHERE id < 1000000 ORDER BY random() LIMIT 300)")
                s.sql("VACUUM orders")
                time.sleep(0.1)
            conflicts = s.metric("millrace_postgres_conflicts_total")
            print(f"    {conflicts} conflicts", flush=True)
        s.finish((Watch("orders"),))


def test_a_long_read_that_the_standby_cancels_ends_in_shorter_ones():
    with shop({"orders": orders(method="xid")}, *ORDERS, node=standby(), every="100ms", chunk="64MiB", max_rows_per_s=15_000) as s:
        s.sql("INSERT INTO orders SELECT n, now(), repeat('x', 500) FROM generate_series(1, 40000) n")
        s.start()
        end = time.monotonic() + 8
        while time.monotonic() < end:
            s.sql("UPDATE orders SET note = note || 'y' WHERE id % 100 = 0")
            s.sql("VACUUM orders")
            time.sleep(0.3)
        until("all rows are there", lambda: len({r.value["data"]["id"] for r in s.records()}) == 40000, 60, 0.5)


if __name__ == "__main__":
    replica.ensure()
    case.main(globals())
