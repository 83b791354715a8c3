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
from pulled import Watch  # noqa: E402
from pulls import ORDERS, SOURCE, busy, ids, orders, primary, shop  # noqa: E402
from replica import READER, SECRET, Primary, Way, names  # noqa: E402
from server import has_faults, until, webhook  # noqa: E402

BOTH = (Watch("orders"), Watch("events", whole=True))
ROWS = 60_000                                    # about 30 MB, thirty chunks
LARGE = {"rows": ROWS, "size": 400, "tables": {"orders": "rows"}, "chunk": "1MiB", "top": {"zone": {"roll": {"age": "1s", "size": "1MiB"}}}}
ONE = (Watch("orders"),)


def reading(s):
    """Sessions of ours in the middle of a COPY."""
    return s.primary.activity("starts_with(query, 'COPY') AND state = 'active'") if s.primary.process else []


def caught_reading(s, timeout=30):
    until("a COPY is under way", lambda: reading(s) or not s.server.alive(), timeout, 0.005)


# -- the first read of a large table ------------------------------------------------------------------------------------


def test_a_first_read_in_chunks_under_writers():
    with busy(31, method="exact", every="300ms", parallel=3, **LARGE) as (s, writers):
        with writers:
            s.server.drain()
            case.true(len(s.records()) >= ROWS, "--once has read all of it")
            s.start()
            time.sleep(4)
        s.finish(ONE)


def test_a_first_read_that_is_killed_goes_on_where_it_was():
    rnd = random.Random(32)
    with busy(32, method="exact", every="300ms", max_rows_per_s=40_000, **LARGE) as (s, writers):
        with writers:
            landed = []
            for n in range(6):
                s.server.spawn(*(["--once"] if n % 2 else []))
                before = len(landed)
                until("some of it has landed", lambda: len(s.records()) > before + 2000 or not s.server.alive(), 30, 0.01)
                time.sleep(rnd.uniform(0, 0.2))
                s.server.kill9()
                landed = s.records()
        s.server.drain()                         # publishes what was decided
        print(f"    {len(landed)} when it was killed for the last time", flush=True)
        s.finish(ONE)


def test_a_first_read_that_is_killed_at_each_step():
    if not has_faults():
        raise case.Skip("this build has no named points")
    with busy(33, method="exact", **LARGE) as (s, writers):
        with writers:
            for point in ("stage_create:3", "stage_synced:4", "decide_begin:3", "decide_commit:4", "decide_committed:3", "publish_rename:5", "publish_noted:3"):
                done = s.server.cli("run", "--once", extra={"MILLRACE_CRASH": point})
                case.equal(done.returncode, -signal.SIGKILL, f"{point}: {done.stderr[-500:]}")
        s.finish(ONE)


def test_a_table_that_is_rewritten_in_the_middle_of_its_first_read():
    with busy(34, method="exact", every="300ms", max_rows_per_s=30_000, churning={"keep_house": False}, **LARGE) as (s, writers):
        with writers:
            s.start()
            until("some of it has landed", lambda: len(s.records()) > 5000, 30, 0.01)
            s.sql("DELETE FROM orders WHERE id % 3 = 0 AND id < 40000")
            s.sql("VACUUM FULL orders")
            time.sleep(3)
        s.finish(ONE)


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
                    case.true(s.server.alive(), "it stays up")
                    until("it goes on", lambda: s.records(), 30)
                    s.sql("UPDATE orders SET updated_at = now() WHERE id <= 20000") # something to read
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
            case.true(ended > 5, f"{ended} sessions were ended")
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


def by(s, way, **more):
    s.change(dsn=s.primary.dsn(s.db, password=None, port=way.port, **more))


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


def test_connections_that_never_live_for_long():
    """Each is reset after 2.5 MB: a read that begins again from the start would never end."""
    with Way(primary().port) as way, busy(39, method="exact", every="200ms", **LARGE) as (s, writers):
        by(s, way)
        way.limit = 2_500_000
        with writers:
            s.start()
            s.lands(ROWS, timeout=90)
        s.finish(ONE)
        case.true(way.resets > 3, f"{way.resets} resets")


def test_a_backlog_that_is_larger_than_a_connection_lives():
    with Way(primary().port) as way, busy(40, method="exact", every="200ms", **LARGE) as (s, writers):
        by(s, way)
        s.server.drain()
        s.sql("UPDATE orders SET updated_at = now()")
        way.limit = 2_500_000
        with writers:
            s.start()
            s.lands(2 * ROWS - 5000, timeout=90)
        s.finish(ONE)
        case.true(way.resets > 3, f"{way.resets} resets")


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


def test_memory_does_not_grow_with_the_table():
    with shop({"orders": orders()}, *ORDERS) as s:
        s.sql("INSERT INTO orders SELECT n, now(), repeat('x', 400) FROM generate_series(1, 20000) n")
        s.start()
        s.lands(20000)
        small = s.server.memory_kib()
        s.server.stop()
        s.sql("INSERT INTO orders SELECT n, now(), repeat('x', 400) FROM generate_series(20001, 220000) n")
        s.start()
        s.lands(220000, timeout=60)
        case.true(s.server.memory_kib() < small + 64 * 1024, f"{small} KiB, then {s.server.memory_kib()}")


if __name__ == "__main__":
    replica.ensure()
    case.main(globals())
