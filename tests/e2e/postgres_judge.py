#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Those who judge the pull door are judged first, on a server and without millrace: a reader that is right passes under the writers of lib/churn, readers as they are commonly
built are convicted, and a zone in which one record is missing, doubled or changed is found."""
import json
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import churn  # noqa: E402
import replica  # noqa: E402
from churn import Churn  # noqa: E402
from pulled import Watch, judge, sight  # noqa: E402
from replica import READER, Primary  # noqa: E402
from zone import Reader  # noqa: E402

TABLES = {"orders": "rows", "events": "inserts"}
WATCHES = [Watch("orders"), Watch("events", whole=True)]
FINITE = "isfinite(t.updated_at) AND t.updated_at >= '0001-01-01 00:00:00+00' AND t.updated_at < '10000-01-01 00:00:00+00'"
LINE = ("json_build_object('source', 'shop', 'stream', %s::text, 'id', format('[%%s,%%s]', id, {x}), 'key', format('[%%s]', id), "
        f"'event_at', CASE WHEN {FINITE} THEN t.updated_at END, 'position', json_build_object('xid', {{x}}), 'data', row_to_json(t))::text")
# of a row's 32 bits the number that the transaction has, as the running counter tells
X = "(pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1 - mod(pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1 - t.xmin::text::bigint + 4294967296, 4294967296))"


class Plain:
    """A reader in a few lines, and its zone."""

    def __init__(self, server, folder):
        self.server, self.folder, self.number = server, folder, 0

    def land(self, stream, lines):
        if lines:
            self.number += 1
            path = os.path.join(self.folder, "source=shop", f"stream={stream}", "ingest_date=2026-11-22", f"{self.number}.ndjson")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as f:
                f.writelines(line + "\n" for line in lines)

    def lines(self, s, table, where="true", values=()):
        return s.execute("SELECT " + LINE.format(x=X) + f", id, {X}, updated_at::text FROM {table} t WHERE {where}", (table, *values)).fetchall()


class Right(Plain):
    """All of the table at each pull; what has landed is known by key and transaction."""
    seen = frozenset()

    def pull(self):
        with self.server.session("shop", READER, replica.SECRET) as s:
            s.execute("SET timezone = 'UTC'")
            for table in TABLES:
                got = self.lines(s, table)
                self.land(table, [line for line, i, x, _ in got if (table, i, x) not in self.seen])
                self.seen = self.seen | {(table, i, x) for _, i, x, _ in got}


class Highest(Plain):
    """From the highest time that was seen on, as the most common readers do; equal ones by key."""
    def __init__(self, *args):
        super().__init__(*args)
        self.mark, self.seen = {t: "-infinity" for t in TABLES}, set()

    def pull(self):
        with self.server.session("shop", READER, replica.SECRET) as s:
            s.execute("SET timezone = 'UTC'")
            for table in TABLES:
                got = self.lines(s, table, "updated_at >= %s AND updated_at < now() + interval '1 day'", (self.mark[table],))
                self.land(table, [line for line, i, x, _ in got if (table, i, x) not in self.seen])
                self.seen |= {(table, i, x) for _, i, x, _ in got}
                self.mark[table] = max([self.mark[table].replace("-infinity", ""), *(at for *_, at in got if at)]) or "-infinity"


class Visible(Plain):
    """By what the last snapshot did not see, which looks right, and is wrong where a transaction has savepoints."""
    def __init__(self, *args):
        super().__init__(*args)
        self.snapshot = {}

    def pull(self):
        with self.server.session("shop", READER, replica.SECRET) as s:
            s.execute("SET timezone = 'UTC'")
            for table in TABLES:
                s.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
                now = s.execute("SELECT pg_current_snapshot()::text").fetchone()[0]
                before = self.snapshot.get(table)
                where = "true" if before is None else f"NOT pg_visible_in_snapshot({X}::text::xid8, %s::pg_snapshot)"
                self.land(table, [line for line, *_ in self.lines(s, table, where, (before,) if before else ())])
                s.execute("COMMIT")
                self.snapshot[table] = now


def read(kind, seconds=6, seed=1):
    """(verdict, zone folder) of a reader that pulls while there is writing, and once after."""
    server = Primary()
    folder = tempfile.mkdtemp(prefix="mr-judge-")
    try:
        server.database("shop")
        with server.session("shop") as s:
            for table in TABLES:
                churn.make(s, table)
                churn.fill(s, table, 2000)
        reader, pulls, must = kind(server, folder), 0, set()
        with Churn(server, "shop", seed, TABLES, hold=1.0) as writers:
            end = time.monotonic() + seconds
            before = sight(server, "shop", "orders")
            while time.monotonic() < end:
                reader.pull()
                pulls, after = pulls + 1, sight(server, "shop", "orders")
                must, before = must | before & after, after
                time.sleep(0.1)
        reader.pull()
        print(f"    {kind.__name__}: {pulls} pulls under {writers}", flush=True)
        watches = [Watch("orders", must=must), Watch("events", whole=True)]
        verdict = judge(server, "shop", Reader(folder).all(), watches)
        print(f"    {verdict}", flush=True)
        if kind is Right:
            mutants(server, folder, watches)
        return verdict
    finally:
        server.stop()


def mutants(server, folder, watches):
    """Each zone is the right one but for a single record."""
    records = Reader(folder).all()
    alive = server.rows("SELECT v FROM orders WHERE updated_at > '2000-01-01' AND payload IS NOT NULL AND isfinite(updated_at) ORDER BY v DESC LIMIT 1", database="shop")[0][0]
    at = next(n for n, r in enumerate(records) if r.stream == "orders" and r.value["data"]["v"] == alive)
    event = next(n for n, r in enumerate(records) if r.stream == "events")

    def changed(n, change):
        value = json.loads(records[n].text)
        change(value)
        return [*records[:n], type(records[n])(records[n].file, records[n].source, records[n].stream, records[n].date, json.dumps(value), value), *records[n + 1:]]

    def other_v(value):
        value["data"]["v"] = 10 ** 9

    def other_text(value):
        value["data"]["payload"] += "."

    def other_amount(value):
        value["data"]["amount"] = 0.0001

    def later(value):
        value["data"]["updated_at"] = value["data"]["updated_at"].replace("+00:00", "+00:01")

    def other_x(value):
        value["id"] = json.dumps([value["data"]["id"], value["position"]["xid"] + 1], separators=(",", ":"))
        value["position"]["xid"] += 1

    def no_time(value):
        del value["event_at"]

    def again(value):
        value["id"] = value["id"].replace(",", ",1")
        value["position"]["xid"] = json.loads(value["id"])[1]
    for name, zone, kind, count in [
            ("one row is missing", records[:at] + records[at + 1:], "lost", 1), ("one event is missing", records[:event] + records[event + 1:], "lost", 1),
            ("one is there twice", records + [records[at]], "doubled", 1), ("one was never there", changed(at, other_v), "invented", 1),
            ("a text has changed", changed(at, other_text), "altered", 1), ("a number has changed", changed(at, other_amount), "altered", 1),
            ("a time has changed", changed(at, later), "altered", 1), ("another transaction's", changed(at, other_x), "misnamed", 1),
            ("a time is not told", changed(at, no_time), "misnamed", 1), ("twice by another name", records + changed(at, again)[at:at + 1], "doubled", 1)]:
        found = judge(server, "shop", zone, watches)
        case.equal(len(getattr(found, kind)), count, f"{name}: {kind}, of {found.faults[:5]}")
    case.equal(judge(server, "shop", records, watches).faults, [], "and none of the zone itself")


def test_a_right_reader_passes_and_each_single_fault_in_its_zone_is_found():
    case.equal(read(Right).faults, [])


def test_the_highest_time_seen_loses_rows():
    verdict = read(Highest)
    case.true([f for f in verdict.lost if ", insert now," in f], f"rows that were committed late, and it was not noticed: {verdict}")
    case.equal(verdict.doubled + verdict.invented + verdict.altered, [])


def test_what_the_last_snapshot_did_not_see_loses_rows_of_savepoints():
    verdict = read(Visible)
    case.true(verdict.lost, f"rows of savepoints, and it was not noticed: {verdict}")


if __name__ == "__main__":
    replica.ensure()
    case.main(globals())
