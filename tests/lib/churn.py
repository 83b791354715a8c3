# SPDX-License-Identifier: Apache-2.0
"""Writers that do to tables what readers by watermark lose rows over, drawn from a seed; and what they committed, told by the database itself.

Each table has a column `v` that a trigger draws from a sequence for every version of a row, and an audit table that a second trigger fills in the same transaction (and
savepoint): what is in the audit was committed, what is not was never there, whatever happened to the writer, its connection or the server.

    churn = Churn(primary, "shop", seed=7, tables={"orders": "rows", "events": "inserts"})
    with churn:
        ...                                      # the reader reads
    # all have ended, prepared transactions too
"""
import collections
import itertools
import random
import threading
import time

from replica import READER, names, psycopg

COLUMNS = "id bigint PRIMARY KEY, updated_at timestamptz DEFAULT now(), v bigint NOT NULL DEFAULT 0, how text, amount numeric(24,4), payload text"
TEXTS = ("plain", "", None, "quote\" and \\ back", "line\nand\r\ttab", "\u2028 \u00e4 \U0001f980", "'; DROP TABLE x; --", "\u0001\u001f\u007f", "{\"json\": [1, 2.50]}", "x" * 3000)
# What a transaction writes as the time of a row: (name, SQL); {skew} is what the reader was told that clocks may be behind.
STAMPS = [("now", "now()")] * 6 + [("clock", "clock_timestamp()")] * 3 + [("statement", "statement_timestamp()"), ("second", "date_trunc('second', now())"),
          ("second", "date_trunc('second', now())"), ("behind", "now() - interval '{skew} s'"), ("ahead", "now() + interval '3 days'")]
# Such as no reader by watermark finds but by looking through the whole table.
STALE = [("stale", "now() - interval '3 days'"), ("stale", "now() - interval '{skew} s' - interval '20 s'")]
ODD = [("null", "NULL"), ("infinity", "'infinity'"), ("-infinity", "'-infinity'"), ("bc", "'0044-03-15 12:00:00+00 BC'")]


def make(session, table, partitions=0):
    """The table, its audit and the triggers. With partitions: by range of the id, a thousand each, and one for the rest."""
    audit, counter = table + "_audit", table + "_v"
    session.execute(f"""
        CREATE SEQUENCE {counter};
        CREATE TABLE {table} ({COLUMNS}) {"PARTITION BY RANGE (id)" if partitions else ""};
        CREATE INDEX ON {table} (updated_at);
        CREATE TABLE {audit} (v bigint PRIMARY KEY, id bigint, wm timestamptz, how text);
        CREATE FUNCTION {table}_number() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v := nextval('{counter}'); RETURN NEW; END $$;
        CREATE FUNCTION {table}_tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO {audit} VALUES (NEW.v, NEW.id, NEW.updated_at, NEW.how); RETURN NULL; END $$;
        CREATE TRIGGER number BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_number();
        CREATE TRIGGER tell AFTER INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_tell();
        """)
    for n in range(partitions):
        session.execute(f"CREATE TABLE {table}_{n} PARTITION OF {table} FOR VALUES FROM ({n * 1000}) TO ({n * 1000 + 1000})")
    if partitions:
        session.execute(f"CREATE TABLE {table}_rest PARTITION OF {table} DEFAULT")


def fill(session, table, rows, size=100, start=1):
    """Rows that were there before anybody read; their ids go on from `start`."""
    session.execute(f"INSERT INTO {table} (id, updated_at, how, amount, payload) SELECT n, now() - interval '1 day' + n * interval '1 ms', 'before', n / 7.0, rpad(n::text, {size}, 'p') "
                    f"FROM generate_series({start}, {start + rows - 1}) n")


class Churn:
    """tables: {name: "rows" (updated, deleted, put back) or "inserts" (never touched again)}. `hold`: the longest that a transaction stays open, but for few. stale: also times
    beyond the skew, and updates that leave the time alone. odd: also NULL and infinities. first: ids are given from here on."""

    def __init__(self, server, database, seed, tables, writers=8, pace=0.02, hold=2.0, skew=5, big=0.002, stale=False, odd=True, prepared=True, keep_house=True, first=1_000_001,
                 ahead=True):
        self.server, self.database, self.seed, self.tables = server, database, seed, dict(tables)
        self.pace, self.hold, self.skew, self.big, self.prepared = pace, hold, skew, big, prepared
        self.stamps = [one for one in STAMPS * 2 + ODD * bool(odd) + STALE * (2 if stale else 0) if ahead or one[0] != "ahead"]
        self.stale, self.first = stale, first
        self.ids, self.last = {t: itertools.count(first) for t in tables}, {t: first for t in tables}
        self.gids, self.waiting, self.lock = itertools.count(1), [], threading.Lock()
        self.halt, self.resting, self.done, self.faults = threading.Event(), threading.Event(), collections.Counter(), []
        works = [(self.write, n) for n in range(writers)] + [(self.end_prepared, "ender")] * bool(prepared) + [(self.keep_house, "house"), (self.read_long, "long")] * bool(keep_house)
        self.threads = [threading.Thread(target=self.run, args=work, daemon=True) for work in works]

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *rest):
        self.stop()
        if kind is None and self.faults:
            raise AssertionError(f"the writers: {self.faults[:3]}")

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def stop(self, timeout=60.0):
        """All end; what is prepared is committed or rolled back. The server must be up."""
        self.halt.set()
        for thread in self.threads:
            thread.join(timeout)
            if thread.is_alive():
                self.faults.append("a writer does not end")
        rnd = random.Random(f"{self.seed}/end")
        for gid, in sorted(self.server.rows("SELECT gid FROM pg_prepared_xacts WHERE database = %s", self.database)):
            self.decide(gid, rnd)
        return self

    def committed(self):
        """How many versions there have been, by table."""
        return {t: self.server.value(f"SELECT count(*) FROM {t}_audit", database=self.database) for t in self.tables}

    def more(self, n, timeout=60.0):
        """Waits until so many more transactions have been committed."""
        goal, end = self.done["commit"] + n, time.monotonic() + timeout
        while self.done["commit"] < goal:
            if time.monotonic() > end or self.faults:
                raise AssertionError(f"the writers do not get on: {dict(self.done)} {self.faults[:3]}")
            time.sleep(0.01)

    def __str__(self):
        return " ".join(f"{k} {n}" for k, n in sorted(self.done.items()))

    # -- on their threads ---------------------------------------------------------------------------------------

    def run(self, work, number):
        rnd = random.Random(f"{self.seed}/{number}")
        while not self.halt.is_set():
            try:
                with self.server.session(self.database) as s:
                    s.execute("SET lock_timeout = '300ms'")
                    s.execute("SET application_name = 'churn'")
                    work(s, rnd)
            except psycopg.Error as e:
                if not isinstance(e, (psycopg.OperationalError, psycopg.InterfaceError)):
                    self.faults.append(f"{type(e).__name__}: {e}")
                self.done["reconnect"] += 1
                self.halt.wait(0.1)
            except Exception as e:
                self.faults.append(repr(e))
                return

    def write(self, s, rnd):
        while not self.halt.wait(rnd.uniform(0, 2 * self.pace)):
            try:
                self.done[self.transaction(s, rnd)] += 1
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected, psycopg.errors.UniqueViolation):
                s.execute("ROLLBACK")
                self.done["gave up"] += 1

    def wait(self, rnd, share):
        if rnd.random() < share:
            self.halt.wait(rnd.uniform(0.02, self.hold) * (4 if rnd.random() < 0.05 else 1))

    def transaction(self, s, rnd):
        """One, from BEGIN on; how it ended."""
        s.execute(rnd.choice(["BEGIN", "BEGIN", "BEGIN", "BEGIN ISOLATION LEVEL READ COMMITTED", "BEGIN"]))
        if rnd.random() < 0.15:
            s.execute("SELECT pg_current_xact_id()") # an early id, and rows much later
        elif rnd.random() < 0.1:
            s.execute("SELECT now()")
        self.wait(rnd, 0.12)
        for step in range(rnd.choice((1, 1, 1, 1, 2, 3, 8))):
            self.guarded(s, rnd) if rnd.random() < 0.25 else self.change(s, rnd)
            if step:
                self.wait(rnd, 0.03)
        self.wait(rnd, 0.12)
        end = rnd.random()
        if end < 0.12:
            s.execute("ROLLBACK")
            return "rollback"
        if end < 0.2 and self.prepared and len(self.waiting) < 20:
            gid = f"{self.database}/{self.seed}/{next(self.gids)}"
            s.execute(names.SQL("PREPARE TRANSACTION {}").format(names.Literal(gid)))
            with self.lock:
                self.waiting.append((time.monotonic() + rnd.uniform(0, 2 * self.hold), gid))
            return "prepare"
        s.execute("COMMIT")
        return "commit"

    def guarded(self, s, rnd, depth=0):
        """In a savepoint, which may hold others, and may be rolled back."""
        name = f"s{depth}"
        s.execute("SAVEPOINT " + name)
        self.change(s, rnd)
        if depth < 3 and rnd.random() < 0.4:
            self.guarded(s, rnd, depth + 1)
        if rnd.random() < 0.35:
            s.execute("ROLLBACK TO " + name)
        elif rnd.random() < 0.5:
            s.execute("RELEASE " + name)

    def stamp(self, rnd):
        name, text = rnd.choice(self.stamps)
        return name, text.format(skew=round(self.skew * rnd.uniform(0.1, 0.9), 3) if name == "behind" else self.skew)

    def new(self, table, rnd):
        self.last[table] = n = next(self.ids[table])
        return n

    def some(self, table, rnd):
        """The id of a row that may be there."""
        return self.first + rnd.randrange(4) if rnd.random() < 0.2 else rnd.randint(self.first, self.last[table])

    def text(self, rnd):
        return "b" * 1_000_000 + str(rnd.random()) if rnd.random() < self.big else rnd.choice(TEXTS)

    def insert(self, s, rnd, table, rows=1, ids=None, more=""):
        how, stamp = self.stamp(rnd)
        many, values = "", []
        for n in range(rows):
            many += f", (%s, {stamp}, %s, %s, %s)"
            values += [ids[n] if ids else self.new(table, rnd), f"insert {how}", f"{rnd.uniform(-1e6, 1e6):.4f}", self.text(rnd)]
        s.execute(f"INSERT INTO {table} (id, updated_at, how, amount, payload) VALUES {many[2:]} {more}", values)

    def change(self, s, rnd):
        table = rnd.choice(list(self.tables))
        kind = rnd.random()
        if self.tables[table] == "inserts" or kind < 0.35:
            if rnd.random() < 0.06:              # many of the same microsecond
                self.insert(s, rnd, table, rnd.randrange(2, 60))
            else:
                self.insert(s, rnd, table, rnd.choice((1, 1, 1, 2, 5)))
        elif kind < 0.70:
            how, stamp = self.stamp(rnd)
            if self.stale and rnd.random() < 0.15:
                how, stamp = "untouched", "updated_at"
            s.execute(f"UPDATE {table} SET updated_at = {stamp}, how = %s, payload = %s, amount = amount + 0.0100 WHERE id = %s", (f"update {how}", self.text(rnd), self.some(table, rnd)))
        elif kind < 0.78:
            self.insert(s, rnd, table, 1, [self.some(table, rnd)],
                        "ON CONFLICT (id) DO UPDATE SET updated_at = now(), how = 'upsert', payload = EXCLUDED.payload")
        elif kind < 0.85:
            s.execute(f"DELETE FROM {table} WHERE id = %s", (self.some(table, rnd),))
        elif kind < 0.90:
            n = self.some(table, rnd)
            s.execute(f"DELETE FROM {table} WHERE id = %s", (n,))
            self.insert(s, rnd, table, 1, [n])
        elif kind < 0.95:
            s.execute(f"SELECT FROM {table} WHERE id = %s FOR {rnd.choice(('UPDATE', 'SHARE', 'KEY SHARE'))}", (self.some(table, rnd),))
        else:                                    # a range, at the same time
            n = self.some(table, rnd)
            s.execute(f"UPDATE {table} SET updated_at = now(), how = 'range' WHERE id BETWEEN %s AND %s", (n, n + rnd.randrange(1, 20)))

    def decide(self, gid, rnd):
        how = "COMMIT" if rnd.random() < 0.7 else "ROLLBACK"
        with self.server.session(self.database) as s:
            s.execute(names.SQL(how + " PREPARED {}").format(names.Literal(gid)))
        self.done[how.lower() + " prepared"] += 1

    def end_prepared(self, s, rnd):
        while not self.halt.wait(0.03):
            with self.lock:
                due = [one for one in self.waiting if one[0] <= time.monotonic()]
            for one in due:
                try:
                    self.decide(one[1], rnd)
                except psycopg.errors.UndefinedObject:
                    pass                         # it was on its way when the server ended
                with self.lock:
                    self.waiting.remove(one)

    def keep_house(self, s, rnd):
        while not self.halt.wait(rnd.uniform(0.2, 2)):
            table = rnd.choice(list(self.tables))
            what = rnd.choice([f"VACUUM (FREEZE) {table}", f"VACUUM {table}", f"ANALYZE {table}", "CHECKPOINT", f"REINDEX TABLE {table}" if rnd.random() < 0.2 else "SELECT pg_switch_wal()"])
            try:
                s.execute(what)
                self.done[what.split()[0].lower()] += 1
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                pass

    def read_long(self, s, rnd):
        """As a dump does: it reads only, and cannot be told from one that will write."""
        while not self.halt.wait(rnd.uniform(0.5, 2 * self.hold)):
            s.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            s.execute(f"SELECT count(*) FROM {rnd.choice(list(self.tables))}")
            self.halt.wait(rnd.uniform(0.5, 2 * self.hold))
            s.execute("COMMIT")


def grant(session, *tables):
    for table in tables:
        session.execute(f"GRANT SELECT ON {table} TO {READER}")
