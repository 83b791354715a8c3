#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Transaction ids of 32 bits come round: a real server is brought to their end, and is read across it, under writers. Old rows that were frozen an age ago still have the ids
that are given now."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))  # before this folder, which has a script of the name
import case  # noqa: E402
import replica  # noqa: E402
from pulls import BOTH, EXACT, ORDERS, busy, ids, orders, shop  # noqa: E402
from replica import Primary  # noqa: E402
from server import until  # noqa: E402

ROUND = 1 << 32
STEPS = (1_900_000_000, 3_800_000_000)


def at_the_end(server, left, meanwhile=None):
    """`left` ids before they come round."""
    for xid in (*STEPS, ROUND - left):
        server.jump(xid)
        if meanwhile:
            meanwhile()
    case.true(ROUND - left <= next_id(server) < ROUND, f"{next_id(server)} ids are used up")


def next_id(server):
    return server.value("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")


def use_up(s, n):
    s.sql(f"DO $$ BEGIN FOR i IN 1..{n} LOOP BEGIN PERFORM pg_current_xact_id(); INSERT INTO spent VALUES (i); EXCEPTION WHEN division_by_zero THEN END; END LOOP; END $$")


def test_ids_that_come_round_between_pulls():
    server = Primary()
    try:
        at_the_end(server, 300)
        for method in EXACT:
            with shop({"orders": orders(method=method)}, *ORDERS, "CREATE TABLE spent (n int)", server=server) as s:
                s.sql("INSERT INTO orders SELECT n FROM generate_series(1, 20) n")
                case.equal(len(s.pull()), 20)
                late = s.begin("INSERT INTO orders VALUES (100)", "SAVEPOINT a", "INSERT INTO orders VALUES (101)")
                n = 200
                while next_id(server) < ROUND + 50 or n < 203:
                    use_up(s, 100)
                    s.sql("INSERT INTO orders VALUES (%s)", n)
                    case.equal(ids(s.pull()), [n], f"{method}, at {next_id(server)}")
                    n += 1
                late.execute("COMMIT")
                case.equal(ids(s.pull()), [100, 101])
                case.equal(s.pull(), [])
                s.sql("VACUUM (FREEZE) orders")
                case.equal(s.pull(), [])
        case.true(next_id(server) > ROUND, "they have come round")
    finally:
        server.stop()


def test_ids_that_come_round_under_writers():
    server = Primary()
    try:
        at_the_end(server, 2500)
        for method, left in (("exact", True), ("xid", False)):
            with busy(71, rows=500, server=server, method=method, every="200ms", start=True, churning={"writers": 10, "pace": 0.005, "hold": 0.8}) as (s, writers):
                s.sql("CREATE TABLE spent (n int)")
                with writers:
                    until("the writers are at work", lambda: writers.done["commit"] > 20)
                    for _ in range(30):
                        use_up(s, 200)
                        time.sleep(0.2)
                        if next_id(server) > ROUND + 3000:
                            break
                    writers.more(30)
                    case.true(next_id(server) > ROUND, "they have come round")
                s.finish(BOTH)
    finally:
        server.stop()


def given_again(reads_meanwhile):
    """What was frozen an age ago reads as if it were of now. It may land again; nothing new may be taken for it."""
    server = Primary()
    try:
        with shop({"orders": orders(method="xid"), "exact": orders(method="exact")}, *ORDERS, "CREATE TABLE spent (n int)", server=server) as s:
            for n in range(100):
                s.sql("INSERT INTO orders VALUES (%s, now() - interval '30 days')", n)
            s.pull()
            first, numbers = next_id(server), iter(range(500, 1000))

            def read():
                n = next(numbers)
                s.sql("INSERT INTO orders VALUES (%s)", n)
                s.pull()
                for stream in ("orders", "exact"):
                    case.equal([i for i in ids(s.records(stream)) if i >= 500], list(range(500, n + 1)), f"{stream}, at {next_id(server)}")
            at_the_end(server, 100, read if reads_meanwhile else None)
            use_up(s, 300)
            case.true(ROUND < next_id(server) < ROUND + first, f"{next_id(server)} is before the old ids")
            while next_id(server) < ROUND + first + 100:
                read()
                use_up(s, 40)
            for stream in ("orders", "exact") if reads_meanwhile else (): # else it has begun anew, and landed again what is still there
                case.equal(len({r.value["id"] for r in s.records(stream)}), len(s.records(stream)), f"{stream}: no identity twice")
    finally:
        server.stop()


def test_old_rows_with_ids_that_are_given_again():
    given_again(True)


def test_a_table_that_nobody_has_read_while_all_ids_were_used_up():
    given_again(False)


if __name__ == "__main__":
    replica.ensure()
    case.main(globals())
