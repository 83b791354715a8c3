#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A first read of a large table that is killed, the server that ends, resets and stalls in the middle of it, passwords and names that change: each is told, nothing is lost and
nothing lands twice."""
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))  # before this folder, which has a script of the name
import case  # noqa: E402
import replica  # noqa: E402
from pulls import BOTH, LARGE, ONE, ORDERS, SOURCE, busy, by, ids, orders, primary, shop  # noqa: E402
from replica import READER, SECRET, Primary, Way, names  # noqa: E402
from server import has_faults, until, webhook  # noqa: E402


def caught_reading(s, timeout=30):
    """Waits until a session of ours is in the middle of a COPY; rows are changed until there is one."""
    with s.session() as look:
        n, end = 0, time.monotonic() + timeout
        while s.server.alive():
            if time.monotonic() > end:
                raise AssertionError(f"no COPY within {timeout} s:\n{s.server.tail()}")
            if n % 100 == 0:                     # something to read
                look.execute("UPDATE orders SET updated_at = now() WHERE id <= 20000")
            n += 1
            if look.execute("SELECT 1 FROM pg_stat_progress_copy WHERE datname = current_database()").fetchone():
                return
            time.sleep(0.002)


# -- the server, and the way to it ----------------------------------------------------------------------------------------


def test_the_server_restarts_in_the_middle_of_a_copy():
    server = Primary()
    try:
        with busy(35, server=server, method="exact", every="300ms", **LARGE) as (s, writers):
            with writers:
                s.start()
                for how in (signal.SIGINT, signal.SIGKILL, signal.SIGQUIT):
                    caught_reading(s)
                    server.restart(how)
                    time.sleep(1)
                    case.true(s.server.alive(), f"it stays up:\n{s.server.tail()}")
                writers.more(20)
            s.finish(ONE)
    finally:
        server.stop()


def test_a_server_that_is_away_is_told_and_awaited():
    server = Primary()
    try:
        with shop({"orders": orders()}, *ORDERS, server=server, every="300ms", start=True) as s:
            s.sql("INSERT INTO orders VALUES (1)")
            s.lands(1)
            server.end()
            s.opens("postgres_unreachable", timeout=90)
            case.equal(s.server.get("/readyz").status, 200)
            server.start()
            s.sql("INSERT INTO orders VALUES (2)")
            s.lands(2)
            s.closes("postgres_unreachable")
    finally:
        server.stop()


def test_sessions_that_are_terminated_again_and_again():
    with busy(36, rows=20_000, method="exact", every="100ms", size=200, chunk="1MiB", tables={"orders": "rows", "events": "inserts"}) as (s, writers):
        with writers:
            s.start()
            end, ended = time.monotonic() + 12, 0
            while time.monotonic() < end:
                ended += s.primary.terminate()
                time.sleep(0.25)
            case.true(ended > 2, f"{ended} sessions were ended")
        s.finish(BOTH)


def test_a_backend_that_crashes_takes_all_sessions_with_it():
    server = Primary()
    try:
        with busy(37, server=server, rows=5000, method="exact", every="200ms", start=True) as (s, writers):
            with writers:
                for _ in range(3):
                    writers.more(10)
                    server.crash()
                writers.more(10)
            s.finish(BOTH)
    finally:
        server.stop()


def test_connections_that_are_reset():
    with Way(primary().port) as way, busy(38, rows=20_000, size=200, method="exact", every="100ms", chunk="1MiB") as (s, writers):
        by(s, way)
        with writers:
            s.start()
            end = time.monotonic() + 12
            while time.monotonic() < end:
                time.sleep(random.Random(way.resets).uniform(0.05, 0.5))
                way.cut()
        case.true(way.resets > 10, f"{way.resets} resets")
        s.finish(BOTH)


def test_a_server_that_stalls_is_left():
    with Way(primary().port) as way, shop({"orders": orders()}, *ORDERS, every="200ms", stall="2s") as s:
        by(s, way)
        s.sql("INSERT INTO orders VALUES (1)")
        s.start()
        s.lands(1)
        way.stall()
        s.sql("INSERT INTO orders VALUES (2)")
        time.sleep(4)
        case.equal(s.server.get("/readyz").status, 200)
        way.flow()
        s.lands(2, timeout=30)
        way.stall()
        begun = time.monotonic()
        s.server.stop()
        case.true(time.monotonic() - begun < 15, f"a stop does not wait for it: {time.monotonic() - begun:.1f} s")
        way.flow()
        s.new()
        case.equal(s.pull(), [])
        case.equal(ids(s.records()), [1, 2])


def test_a_server_that_accepts_and_never_speaks():
    with Way(primary().port) as way, shop({"orders": orders()}, *ORDERS, every="200ms", stall="2s") as s:
        by(s, way, connect_timeout=3)
        way.stall()
        s.start()
        time.sleep(3)
        case.equal(s.server.get("/readyz").status, 200)
        s.sql("INSERT INTO orders VALUES (1)")
        way.flow()
        s.lands(1, timeout=40)


def test_a_password_that_is_rotated():
    server = Primary()
    try:
        with shop({"orders": orders()}, *ORDERS, server=server, every="300ms") as s:
            path = s.home.at("password")

            def tell(text):
                with open(path, "w") as f:
                    f.write(text)
            tell(SECRET)
            s.change(password=f"${{file:{path}}}")
            s.sql("INSERT INTO orders VALUES (1)")
            s.start()
            s.lands(1)
            with server.session() as admin:
                admin.execute(names.SQL("ALTER ROLE {} PASSWORD 'rotated'").format(names.Identifier(READER)))
            server.terminate()
            s.opens("postgres_refused", timeout=90)
            case.true(SECRET not in s.server.log(False) and "rotated" not in s.server.log(False), "no secret in the log")
            tell("rotated")
            s.server.signal(signal.SIGHUP)
            s.sql("INSERT INTO orders VALUES (2)")
            s.lands(2, timeout=60)
            s.closes("postgres_refused")
            case.true("rotated" not in s.server.log(False), "nor the new one")
    finally:
        server.stop()


def test_a_name_that_does_not_resolve_holds_up_nobody():
    with shop({"orders": orders()}, *ORDERS) as s:
        s.change(dsn=f"host=no-such-host.invalid dbname={s.db} user={READER}")
        s.server.cfg["sources"]["github"] = webhook()
        s.server.write_config()
        s.start()
        s.opens("postgres_unreachable", "no-such-host.invalid", timeout=90)
        begun = time.monotonic()
        s.server.stop()
        case.true(time.monotonic() - begun < 12, "a stop does not wait for the resolver")
        case.true("no-such-host.invalid" in s.check(code=1), "check says so")


def test_nobody_there_and_once():
    """run --once does not wait for ever."""
    with Way(1) as way, shop({"orders": orders()}, *ORDERS) as s:
        by(s, way)
        done = s.server.cli("run", "--once", timeout=90)
        case.true(done.returncode != 0, f"it cannot have caught up: {done.stderr[-500:]}")


def test_a_table_that_is_locked_is_awaited():
    with shop({"orders": orders(), "other": orders("other")}, *ORDERS, "CREATE TABLE other (id int, updated_at timestamptz DEFAULT now())", every="300ms", start=True) as s:
        s.sql("INSERT INTO orders VALUES (1)")
        s.lands(1)
        lock = s.begin("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE", "INSERT INTO orders VALUES (2)")
        for n in range(3):
            s.sql("INSERT INTO other VALUES (%s)", n)
            s.lands(n + 1, "other")
        case.equal(s.value("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'orders'::regclass") <= 2, True)
        lock.execute("COMMIT")
        s.lands(2, "orders", timeout=30)


def test_the_zone_cannot_be_written_for_a_while():
    if not has_faults():
        raise case.Skip("this build has no named points")
    with busy(41, rows=3000, method="exact", every="200ms") as (s, writers):
        with writers:
            s.server.start(extra={"MILLRACE_FAIL": "stage_write:3-6:ENOSPC"})
            time.sleep(6)
        s.finish(BOTH)


def test_a_source_that_is_paused_reads_nothing_and_then_everything():
    with shop({"orders": orders()}, *ORDERS, every="200ms", start=True) as s:
        s.sql("INSERT INTO orders VALUES (1)")
        s.lands(1)
        s.cli("pause", SOURCE)
        until("it is paused", lambda: [x for x in s.status()["sources"] if x["name"] == SOURCE][0]["paused"])
        time.sleep(1)
        s.sql("INSERT INTO orders VALUES (2)")
        time.sleep(1.5)
        case.equal(ids(s.records()), [1])
        s.cli("resume", SOURCE)
        s.lands(2)


if __name__ == "__main__":
    replica.ensure()
    case.main(globals())
