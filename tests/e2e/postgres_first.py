#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The first read of a large table, in chunks, while it is written to: killed at any time and at each step, with connections that never live for long, and rewritten in the middle."""
import os
import random
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))  # before this folder, which has a script of the name
import case  # noqa: E402
import replica  # noqa: E402
from pulls import LARGE, ONE, ORDERS, ROWS, busy, by, orders, primary, shop  # noqa: E402
from replica import Way  # noqa: E402
from server import has_faults, until  # noqa: E402


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
        verdict = s.finish(ONE, check=False)
        # where its rows are now nobody can tell: it begins anew, and rather lands what was there twice than not at all
        again = [f for f in verdict.doubled if int(re.search(r"\[(\d+),", f)[1]) > ROWS]
        case.equal((verdict.lost + verdict.invented + verdict.altered + verdict.misnamed + again)[:8], [])


def test_connections_that_never_live_for_long():
    """Each is reset after 2.5 MB: a read that begins again from the start would never end."""
    with Way(primary().port) as way, busy(39, method="exact", every="200ms", **LARGE) as (s, writers):
        by(s, way)
        way.limit = 2_500_000
        with writers:
            s.start()
            s.lands(ROWS, timeout=90)
        way.limit = None
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
        way.limit = None
        s.finish(ONE)
        case.true(way.resets > 3, f"{way.resets} resets")


def test_memory_does_not_grow_with_the_table():
    with shop({"orders": orders()}, *ORDERS) as s:
        s.sql("INSERT INTO orders SELECT n, now(), repeat('x', 400) FROM generate_series(1, 20000) n")
        s.server.env["ASAN_OPTIONS"] = "detect_leaks=1:quarantine_size_mb=4" # what it has freed it gives back
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
