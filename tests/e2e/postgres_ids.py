#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Transaction ids of a server that has given out billions: a row holds the lower 32 bits of one. pg_resetwal moves a stopped server's next id on, as years of writing would;
no jump is farther than the server lives with, and before each all rows are frozen."""
import contextlib
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))  # before this folder, which has a script of the name
import case  # noqa: E402
import replica  # noqa: E402
from postgres import tool  # noqa: E402
from pulled import Watch, judge  # noqa: E402
from pulls import EXACT, ORDERS, busy, doubled, ids, orders, shop  # noqa: E402
from replica import Primary  # noqa: E402
from server import until  # noqa: E402

HALF, WHOLE = 2 ** 31, 2 ** 32
JUMP = 1_400_000_000                             # far from the 2^31 at which a server takes no more writes
SEGMENT = 2 ** 20                                # ids whose outcome stands in one file of pg_xact, 256 KiB
# The server freezes nothing by itself: who is old stays old.
STILL = ["autovacuum=off", "autovacuum_freeze_max_age=2000000000", "vacuum_freeze_min_age=1000000000", "vacuum_failsafe_age=2100000000"]


class Wheel(Primary):
    """A primary whose ids can be moved on."""

    def __init__(self):
        super().__init__(STILL)

    def next(self):
        """All 64 bits of the id that is given out next."""
        return self.value("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")

    def freeze(self, database=None):
        """Every row of every database, or of one."""
        self.rows("UPDATE pg_database SET datallowconn = true WHERE NOT datallowconn")
        for name, in self.rows("SELECT datname FROM pg_database"):
            if database in (None, name):
                self.rows("VACUUM (FREEZE)", database=name)

    def jump(self, to):
        """Once: the server stops, and goes on with `to`."""
        self.end()
        subprocess.run([*self.owner, tool("pg_resetwal"), "-e", str(to >> 32), "-x", str(to % WHOLE), "-D", self.data], check=True, stdout=subprocess.DEVNULL, cwd="/")
        path = os.path.join(self.data, "pg_xact", f"{to % WHOLE // SEGMENT:04X}")
        if not os.path.exists(path):
            with open(path, "wb") as f:
                f.write(bytes(SEGMENT // 4))
            self.own(path)
        self.start()

    def turn_to(self, to):
        """However far it is."""
        while (left := to - self.next()) > 0:
            self.freeze()
            self.jump(min(to, self.next() + JUMP) if left > 1000 else to)

    def burn(self, to):
        """Gives out ids while all go on, as others' small transactions do."""
        n = to - self.next()
        if n > 0:
            self.rows(f"DO $$ BEGIN FOR i IN 1..{n} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$")


@contextlib.contextmanager
def wheel(at=None):
    w = Wheel()
    try:
        if at:
            w.turn_to(at)
        yield w
    finally:
        w.stop()


def both():
    """One table, read in both ways."""
    return {method: orders(method=method) for method in EXACT}


def telling(s, n, stamp="now()", table="orders"):
    """A row that says which transaction wrote it."""
    s.sql(f"INSERT INTO {table} (id, updated_at, note) VALUES (%s, {stamp}, pg_current_xact_id()::text)", n)


def true_ids(records):
    """Each record has the id that its transaction was given, all 64 bits, also in its name."""
    for r in records:
        d, xid = r.value["data"], r.value["position"]["xid"]
        case.equal((xid, r.value["id"]), (int(d["note"]), f"[{d['id']},{int(d['note'])}]"), f"row {d['id']}")


def each_lands(s, wanted):
    """The next run, of both streams; its records."""
    new = s.pull(timeout=120)
    for method in EXACT:
        case.equal(ids(r for r in new if r.stream == method), wanted, f"method {method}")
    return new


# -- the end of the room ---------------------------------------------------------------------------------------------


def test_an_old_database_is_told():
    with wheel() as w, shop({"orders": orders()}, *ORDERS, server=w) as s:
        s.sql("INSERT INTO orders VALUES (1)")
        w.freeze()
        w.jump(w.next() + 1_600_000_000)
        s.sql("INSERT INTO orders VALUES (2)")
        s.start()
        case.equal(ids(s.lands(2)), [1, 2], "it is told, and read all the same")
        s.opens("postgres_xid_age", "1600", "vacuum")
        case.true(s.metric("millrace_postgres_xid_age") > 1_600_000_000, "the metric")
        w.freeze()
        s.closes("postgres_xid_age", timeout=90) # at the next look at the catalog
        case.true(s.metric("millrace_postgres_xid_age") < 1_000_000, "the metric")


# -- past a power of two ---------------------------------------------------------------------------------------------


def each_id_on_the_way(boundary):
    """Step by step, by run --once: transactions that are open while ids pass the boundary, and rows on its either side."""
    with wheel(boundary - 60) as w, shop(both(), *ORDERS, server=w, skew="60s") as s:
        telling(s, 1)
        records = each_lands(s, [1])
        early = s.begin("INSERT INTO orders VALUES (2, now(), pg_current_xact_id()::text)")
        sub = s.begin("SELECT pg_current_xact_id()", "SAVEPOINT a")
        w.burn(boundary - 3)
        for n in range(10, 20):
            telling(s, n)
            records += each_lands(s, [n])
        case.true(w.next() > boundary, "passed")
        sub.execute("INSERT INTO orders VALUES (3, now(), pg_current_xact_id()::text)") # in a savepoint: an id beyond, and one before it for the whole
        early.execute("COMMIT")
        records += each_lands(s, [2])
        sub.execute("ROLLBACK TO a")
        sub.execute("RELEASE a")
        sub.execute("INSERT INTO orders VALUES (4, now(), pg_current_xact_id()::text)")
        w.burn(boundary + 70_000)                # a piece of ids further
        sub.execute("COMMIT")
        records += each_lands(s, [4])
        for method in EXACT:
            xids = [r.value["position"]["xid"] for r in records if r.stream == method and r.value["data"]["id"] >= 10]
            case.equal(xids, sorted(xids), "rising")
            case.true(xids[0] < boundary < xids[-1], f"on both sides: {xids}")
        true_ids(records)
        w.freeze()
        each_lands(s, [])


def under_writers(boundary, seed):
    """While many write, and millrace dies on either side; a sweep looks behind it."""
    tables = {"orders": "rows", "events": "inserts"}
    streams = {"orders": orders(method="exact"), "by_ids": orders(method="xid"), "events": orders("events", method="exact")}
    watches = (Watch("orders"), Watch("by_ids", "orders"), Watch("events", whole=True))
    with wheel(boundary - 4000) as w, busy(seed, rows=400, tables=tables, streams=streams, server=w, every="200ms", sweep="1s", start=True, churning={"stale": True, "keep_house": True}) as (s, writers):
        with writers:
            until("rows of before have landed", lambda: len(s.records("events")) > 600, 60, 0.3)
            early = s.begin("INSERT INTO events (id, how) VALUES (500000, 'early')")
            s.server.kill9()
            s.start()
            w.burn(boundary - 300)
            time.sleep(1)
            w.burn(boundary + 100)
            time.sleep(1)
            s.server.kill9()
            s.start()
            time.sleep(3)
            early.execute("COMMIT")
            time.sleep(2)
        print(f"    {writers}", flush=True)
        until("the sweep has found the rest", lambda: not judge(w, s.db, s.records(), watches).lost, 30, 1)
        verdict = s.finish(watches)
        xids = [r.value["position"]["xid"] for r in s.records("events")]
        case.true(min(xids) < boundary < max(xids), "on both sides")
        case.true(verdict.late > 0, "the sweep has found something")


def test_ids_pass_2_to_the_31():
    each_id_on_the_way(HALF)


def test_ids_pass_2_to_the_32():
    each_id_on_the_way(WHOLE)


def test_ids_pass_2_to_the_31_under_writers():
    under_writers(HALF, 61)


def test_ids_pass_2_to_the_32_under_writers():
    under_writers(WHOLE, 62)


def test_a_transaction_that_is_prepared_on_one_side_and_ended_on_the_other():
    """Not farther: a server that starts clears the room of all ids since the oldest that is open."""
    with wheel(WHOLE - 4 * SEGMENT) as w, shop(both(), *ORDERS, server=w, skew="60s", sweep="1ms") as s:
        telling(s, 1)
        true_ids(each_lands(s, [1]))
        old = s.begin("INSERT INTO orders VALUES (2, now(), pg_current_xact_id()::text)")
        old.execute("PREPARE TRANSACTION 'old'")
        for n, to in enumerate((WHOLE - SEGMENT, WHOLE + SEGMENT, WHOLE + 4 * SEGMENT)):
            w.turn_to(to)
            telling(s, 10 + n)
            true_ids(each_lands(s, [10 + n]))
        s.sql("COMMIT PREPARED 'old'")
        true_ids(each_lands(s, [2]))
        each_lands(s, [])
        w.turn_to(WHOLE + JUMP)
        telling(s, 20)
        true_ids(each_lands(s, [20]))


# -- rows that nobody touches ----------------------------------------------------------------------------------------


def test_frozen_rows_do_not_land_again_before_ids_have_come_round_to_them():
    with wheel(1000 * SEGMENT) as w, shop(both(), *ORDERS, server=w, skew="60s", sweep="1ms") as s:
        s.sql("INSERT INTO orders SELECT n, CASE WHEN n % 10 = 0 THEN NULL WHEN n % 10 = 1 THEN '-infinity' ELSE now() + (n - 500) * interval '1 day' END, "
              "pg_current_xact_id()::text FROM generate_series(1, 1000) n")
        wrote, last = int(s.value("SELECT note FROM orders LIMIT 1")), 1000
        true_ids(each_lands(s, list(range(1, 1001))))
        for distance in (JUMP, HALF - 100, HALF + 100, HALF + JUMP, WHOLE - 100_000):
            w.turn_to(wrote + distance)
            last += 1
            telling(s, last)
            true_ids(each_lands(s, [last]))
        case.equal(doubled(s.records()), [])
        # until they come round to the rows' own: of those nothing but 32 bits is left
        w.turn_to(wrote + WHOLE - 50)
        each_lands(s, [])
        w.burn(wrote + WHOLE + 50)
        again = each_lands(s, list(range(1, 1001)))
        case.equal({r.value["position"]["xid"] for r in again}, {wrote + WHOLE})
        each_lands(s, [])


# -- and runs that nobody made ---------------------------------------------------------------------------------------


def test_a_stream_that_stood_still_while_ids_went_far_lands_each_version_once():
    for distance in (JUMP, HALF - 1000, HALF + 1000, HALF + JUMP):
        print(f"    {distance:,} ids", flush=True)
        with wheel(500 * SEGMENT) as w, shop(both(), *ORDERS, server=w, skew="60s", sweep="1ms") as s:
            s.sql("INSERT INTO orders SELECT n, now() - n * interval '1 hour', pg_current_xact_id()::text FROM generate_series(1, 500) n")
            each_lands(s, list(range(1, 501)))
            at, wanted = w.next(), [7]
            s.sql("UPDATE orders SET note = pg_current_xact_id()::text WHERE id = 7") # which the range does not see
            for n, part in enumerate((0, 1 / 3, 2 / 3, 1)):
                w.turn_to(at + int(distance * part))
                telling(s, 1000 + n)
                wanted.append(1000 + n)
            new = each_lands(s, wanted)
            true_ids(new)
            if distance == JUMP:                 # farther, all is looked through at once
                case.equal([r.value["data"]["id"] for r in new if r.value.get("late")], [7], "what the sweep has found")
            telling(s, 2000)
            true_ids(each_lands(s, [2000]))
            each_lands(s, [])
            w.turn_to(w.next() + 500_000_000)    # as if nothing had been
            telling(s, 2001)
            true_ids(each_lands(s, [2001]))


def test_a_stream_that_stood_still_for_longer_than_ids_can_tell_is_read_anew_and_that_is_told():
    with wheel(500 * SEGMENT) as w, shop(both(), *ORDERS, server=w, skew="60s", sweep="1ms") as s:
        s.sql("INSERT INTO orders SELECT n FROM generate_series(1, 300) n")
        each_lands(s, list(range(1, 301)))
        at = w.next()
        s.sql("INSERT INTO orders VALUES (301)")
        w.turn_to(at + WHOLE)
        s.sql("INSERT INTO orders VALUES (302)")
        new = s.pull(timeout=120)
        for method in EXACT:
            case.equal(ids(r for r in new if r.stream == method), list(range(1, 303)), f"method {method}")
        told = [(r.value["data"]["stream"], r.value["data"]["change"]) for r in new if r.stream == "_schema"]
        case.equal(sorted(told), [("exact", "reread"), ("xid", "reread")])
        telling(s, 303)
        true_ids(each_lands(s, [303]))
        each_lands(s, [])


if __name__ == "__main__":
    replica.ensure()
    case.main(globals())
