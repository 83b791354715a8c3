#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`millrace check` of a Postgres source, beside a real server: each line says what is so, and what it tells to paste is pasted here, and helps."""
import contextlib
import os
import re
import socket
import subprocess
import sys
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))  # before this folder, which has a script of the name
import case  # noqa: E402
import replica  # noqa: E402
from pulls import ORDERS, SOURCE, orders, primary, shop, standby  # noqa: E402
from replica import BLIND, READER, SECRET, Primary, Way  # noqa: E402
from server import binary, free_port, until  # noqa: E402

CALM = {"every": "15m", "sweep": "6h", "skew": "60s"}
TOUCH = "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at := now(); RETURN NEW; END $$"
GOOD = ("CREATE TABLE orders (id bigint PRIMARY KEY, updated_at timestamptz NOT NULL DEFAULT now(), note text)", "CREATE INDEX orders_at ON orders (updated_at)", TOUCH,
        "CREATE TRIGGER touched BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch()",
        "INSERT INTO orders SELECT n, now() - n * interval '1.000001 s' FROM generate_series(1, 20000) n", "ANALYZE")


class Said:
    """Lines of `check` about the source (stream None), or one of its streams."""

    def __init__(self, text):
        self.text, self.lines = text, []
        for line in text.splitlines():
            found = re.fullmatch(rf"(ok|warn|fail) {SOURCE}(?:/(\S+))?: (.+)", line)
            if found:
                self.lines.append(found.groups())

    def of(self, level, *words, stream=None):
        """The one line of that level with all the words."""
        found = [text for at, of, text in self.lines if at == level and of == stream and all(w in text for w in words)]
        case.true(len(found) == 1, f"{len(found)} {level} lines of {stream or 'the source'} with {words}:\n{self.text}")
        return found[0]

    def none(self, *words, stream=None, level=None):
        found = [text for at, of, text in self.lines if level in (None, at) and of == stream and all(w in text for w in words)]
        case.equal(found, [], self.text)

    def trouble(self, stream=None):
        return [text for at, of, text in self.lines if at != "ok" and of == stream]


def check(s, code=0, *args):
    done = s.server.cli("check", *args)
    text = (done.stdout + done.stderr).decode()
    case.equal(done.returncode, code, text)
    case.true(SECRET not in text and urllib.parse.quote(SECRET, safe="") not in text, "the secret is told")
    return Said(text)


def pasted(s, text, pattern):
    """The statement that the text offers, as a person takes it out of it; it is run."""
    found = re.search(pattern, text)
    case.true(found, f"no {pattern} in {text}")
    s.sql(found.group(0))


# -- what is well --------------------------------------------------------------------------------------------------------


def test_where_all_is_well_nothing_is_warned_of():
    with shop({"orders": orders(method="exact")}, *GOOD, **CALM) as s:
        said = check(s)
        case.equal(said.trouble() + said.trouble("orders"), [], said.text)
        said.of("ok", f"PostgreSQL {s.value('SHOW server_version')}", "a primary", s.db, f"role {READER}", f"127.0.0.1:{s.primary.port}")
        said.of("ok", "no TLS, within this machine")
        said.of("ok", "sees when each open transaction began")
        said.of("ok", "no transaction is open")
        said.of("ok", "method exact", "orders_at", "1 min before the oldest", "every 6 h", stream="orders")
        said.of("ok", "about 20,000 rows", stream="orders")
        said.of("ok", "timestamp with time zone, in microseconds", stream="orders")
        said.of("ok", "the newest updated_at", " s ago", stream="orders")
        said.of("ok", "default now()", "trigger touched sets it", stream="orders")
        said.of("ok", "unique by orders_pkey", stream="orders")


def test_the_method_is_the_runs_own():
    """What check says is what the log of a run says."""
    make = [*GOOD, "CREATE TABLE bare (id int PRIMARY KEY, updated_at timestamptz)", "INSERT INTO bare SELECT n FROM generate_series(1, 2000) n", "CREATE VIEW seen AS SELECT * FROM orders"]
    streams = {"small": orders(), "asked": orders(method="exact"), "bare": orders("bare"), "seen": orders("seen"), "unmarked": {"table": "bare", "key": ["id"]}, "ids": orders(method="xid")}
    with shop(streams, *make, **CALM) as s:
        said = check(s)
        s.pull()
        log = dict(re.findall(r'"method".*?"stream":"(\w+)","method":"(\w+)"', s.server.log()))
        why = dict(re.findall(r'"method".*?"stream":"(\w+)","method":"\w+","why":"([^"]+)"', s.server.log()))
        case.equal(sorted(log), sorted(streams), s.server.log()[:3000])
        for stream, method in log.items():
            said.of("ok", f"method {method}, {why[stream]}", stream=stream)
        case.equal(log, {"small": "xid", "asked": "exact", "bare": "xid", "seen": "window", "unmarked": "xid", "ids": "xid"})


# -- the watermark -------------------------------------------------------------------------------------------------------


def test_an_index_is_asked_for_and_what_is_pasted_is_taken():
    make = ["CREATE TABLE \"Or ders\" (id int PRIMARY KEY, \"Updated At\" timestamptz NOT NULL)", "INSERT INTO \"Or ders\" SELECT n, now() FROM generate_series(1, 1000) n"]
    streams = {"orders": {"table": '"Or ders"', "watermark": "Updated At", "key": ["id"], "method": "exact"}}
    with shop(streams, *make, **CALM) as s:
        said = check(s)
        said.of("warn", "without an index each run reads the whole table", stream="orders")
        pasted(s, said.of("warn", "no index begins with the watermark", stream="orders"), r"CREATE INDEX CONCURRENTLY ON [^)]*\)")
        said = check(s)
        said.none("no index begins", stream="orders")
        said.of("ok", "method exact", "reads the index", stream="orders")


def test_indexes_that_are_of_no_use_are_named():
    with shop({"orders": orders(), "parts": orders("parts")}, "CREATE TABLE orders (id int PRIMARY KEY, updated_at timestamptz)", "INSERT INTO orders SELECT n, now() FROM generate_series(1, 1000) n",
              "CREATE INDEX few ON orders (updated_at) WHERE id > 5", "CREATE TABLE parts (id int, updated_at timestamptz) PARTITION BY HASH (id)",
              *(f"CREATE TABLE parts{n} PARTITION OF parts FOR VALUES WITH (MODULUS 3, REMAINDER {n})" for n in range(3)), "CREATE INDEX ON parts0 (updated_at)", **CALM) as s:
        said = check(s)
        said.of("ok", "no index begins", "few has only some of the rows", stream="orders")
        pasted(s, said.of("ok", "no index begins", "each of 2 relations", stream="parts"), r"CREATE INDEX CONCURRENTLY ON [^)]*\)")
        s.sql("DROP INDEX few")
        s.sql("CREATE INDEX brin ON orders USING brin (updated_at)")
        s.sql("CREATE INDEX ON parts2 (updated_at)")
        said = check(s)
        said.of("ok", "no index begins", "brin is no btree", stream="orders")
        said.none("no index begins", stream="parts")
        s.sql("DROP INDEX brin")
        with contextlib.suppress(replica.psycopg.errors.UniqueViolation):
            s.sql("CREATE UNIQUE INDEX CONCURRENTLY broken ON orders (updated_at)")
        pasted(s, check(s).of("ok", "no index begins", "broken is invalid", stream="orders"), r"CREATE INDEX CONCURRENTLY ON [^)]*\)")
        check(s).none("no index begins", stream="orders")


def test_rows_without_a_watermark_are_counted():
    with shop({"exact": orders(method="exact"), "skip": orders(method="exact", null_watermark="skip"), "fail": orders(method="exact", null_watermark="fail"), "window": orders(method="window")}, *ORDERS,
              "INSERT INTO orders SELECT n, now() FROM generate_series(1, 100) n", **CALM) as s:
        said = check(s)
        for stream in ("exact", "skip", "fail", "window"):
            said.of("ok", "updated_at may be NULL, in none now", stream=stream)
        s.sql("INSERT INTO orders SELECT n, NULL FROM generate_series(101, 103) n")
        said = check(s, 1)
        said.of("warn", "in 3 rows", "land once", stream="exact")
        said.of("warn", "in 3 rows", "passed over", stream="skip")
        said.of("fail", "in 3 rows", "fails at the first", stream="fail")
        said.of("warn", "in 3 rows", "never lands", stream="window")
        s.sql("INSERT INTO orders SELECT n, NULL FROM generate_series(1000, 3000) n")
        said = check(s, 1)
        text = said.of("warn", "more than 1,000 rows", stream="exact")
        s.sql("DELETE FROM orders WHERE updated_at IS NULL")
        pasted(s, text, r"ALTER TABLE \S+ ALTER \S+ SET NOT NULL")
        check(s).none("NULL", stream="exact")
        # only what the config reads counts
        s.sql("ALTER TABLE orders ALTER updated_at DROP NOT NULL")
        s.sql("INSERT INTO orders VALUES (200, NULL)")
        s.change_stream("exact", where="updated_at IS NOT NULL")
        check(s, 1).of("ok", "in none now", stream="exact")


def test_a_large_tables_nulls_are_estimated():
    """Without an index a large table is not read for them: here by statistics that say what they like."""
    with shop({"orders": orders()}, "CREATE TABLE orders (id bigint PRIMARY KEY, updated_at timestamptz, pad text)", "ALTER TABLE orders ALTER pad SET STORAGE PLAIN",
              "INSERT INTO orders SELECT n, CASE WHEN n % 4 > 0 THEN now() END, repeat('x', 7000) FROM generate_series(1, 36000) n", "ANALYZE", **CALM) as s:
        said = check(s)
        case.true(s.value("SELECT pg_relation_size('orders')") > 256 << 20, "it is large")
        share = float(re.search(r"in about ([0-9.]+) % of the rows", said.of("ok", "may be NULL", stream="orders")).group(1))
        case.true(20 < share < 30, f"{share}")
        said.none("newest", stream="orders")
        said.of("ok", "5 chunks of 64 MiB", "2 at a time", stream="orders")


def test_how_fine_recent_values_are():
    make = ["CREATE TABLE orders (id int PRIMARY KEY, s timestamptz, d timestamptz, day date, us timestamp, ms timestamptz, one timestamptz)",
            "INSERT INTO orders SELECT n, date_trunc('second', now()) - n * interval '1 s', date_trunc('day', now()) - n * interval '1 day', current_date - n, now() - n * interval '1.000001 s', "
            "date_trunc('milliseconds', now()) - n * interval '0.001 s', date_trunc('day', now()) FROM generate_series(1, 300) n"]
    streams = {column: orders(watermark=column, method="exact") for column in ("s", "d", "day", "us", "ms", "one")}
    streams |= {"w": orders(watermark="day", method="window"), "x": orders(watermark="d", method="xid")}
    with shop(streams, *make, *(f"CREATE INDEX ON orders ({c})" for c in ("s", "d", "day", "us", "ms", "one")), **CALM) as s:
        said = check(s)
        said.of("ok", "s is of type timestamp with time zone, in whole seconds", "exact", stream="s")
        said.of("warn", "recent values are whole days", "skew (1 min)", "`skew: 25h`", stream="d")
        said.of("ok", "day is of type date, in whole days", stream="day")
        said.of("ok", "timestamp without time zone, in microseconds", stream="us")
        said.of("ok", "in milliseconds", stream="ms")
        said.none("is of type", stream="one")  # all of one value: that may be how they were loaded
        said.of("warn", "once its day has passed", stream="w")
        said.of("ok", "does not matter by transaction ids", stream="x")
        s.change_stream("d", skew="25h")
        check(s).of("ok", "in whole days", stream="d")


def test_values_of_the_future():
    with shop({"exact": orders(method="exact"), "window": orders(method="window"), "ids": orders(method="xid")}, *ORDERS, "INSERT INTO orders SELECT n, now() - n * interval '1.5 s' FROM generate_series(1, 100) n",
              **CALM) as s:
        check(s).of("ok", "the newest updated_at is", stream="exact")
        s.sql("INSERT INTO orders VALUES (1000, now() + interval '3 days'), (1001, now() + interval '2 days')")
        said = check(s)
        said.of("warn", "3 d in the future", "2 rows", "read again in each run", stream="exact")
        said.of("warn", "in the future", "when their time has come", stream="window")
        said.of("warn", "in the future", "by transaction ids they land like any other", stream="ids")
        s.sql("INSERT INTO orders VALUES (1002, 'infinity'), (1003, '-infinity')")
        said = check(s)
        said.of("warn", "is infinity in some rows", "3 rows", stream="exact")
        said.of("warn", "infinity never", stream="window")
        said.of("ok", "is -infinity in some rows", stream="exact")
        said.of("warn", "is -infinity in some rows", "first run", stream="window")


def test_a_watermark_in_another_zone_is_not_of_the_future():
    with shop({"orders": orders(method="exact", time_zone="Pacific/Kiritimati"), "utc": orders(method="exact")}, "CREATE TABLE orders (id int PRIMARY KEY, updated_at timestamp)", "CREATE INDEX ON orders (updated_at)",
              "INSERT INTO orders SELECT n, (now() AT TIME ZONE 'Pacific/Kiritimati') - n * interval '1.5 s' FROM generate_series(1, 100) n", **CALM) as s:
        said = check(s)
        said.of("ok", "the newest updated_at", " s ago", stream="orders")
        said.of("warn", "in the future", stream="utc")  # it is written 14 hours ahead


def test_integers_are_times_in_their_unit_or_none():
    make = ["CREATE TABLE orders (id int PRIMARY KEY, s int, ms bigint, us bigint, version bigint)", *(f"CREATE INDEX ON orders ({c})" for c in ("s", "ms", "us", "version")),
            "INSERT INTO orders SELECT n, extract(epoch FROM now()) - n, extract(epoch FROM now()) * 1000 - n, extract(epoch FROM now()) * 1000000 - n, n FROM generate_series(1, 100) n"]
    unit = "unit"
    streams = {c: orders(watermark=c, method="exact", **{unit: c}) for c in ("s", "ms", "us")} | {"wrong": orders(watermark="ms", method="exact", **{unit: "s"}), "coarse": orders(watermark="ms", **{unit: "us"}),
                                                                                              "version": orders(watermark="version", method="exact", **{unit: "s"})}
    with shop(streams, *make, **CALM) as s:
        said = check(s, 1)
        for stream in ("s", "ms", "us"):
            said.of("ok", f"the newest {stream} is", "s ago", stream=stream)
        for stream in ("wrong", "coarse"):
            said.of("fail", "no time of these years", f"`{unit}: ms`", stream=stream)
        said.of("warn", "the newest version is 100", "Without `watermark`", stream="version")
        s.change_stream("wrong", **{unit: "ms"})
        check(s, 1).of("ok", "the newest ms is", stream="wrong")


def test_who_sets_the_watermark():
    with shop({"orders": orders(method="exact")}, *ORDERS, "INSERT INTO orders VALUES (1)", TOUCH, **CALM) as s:
        check(s).of("ok", "updated_at: default now(); no trigger", "by the sweep, within 6 h", stream="orders")
        s.sql("CREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION touch()")
        check(s).of("ok", "no trigger sets it at UPDATE", stream="orders")
        s.sql("CREATE TRIGGER u BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch()")
        check(s).of("ok", "trigger u sets it at UPDATE", stream="orders")
        s.sql("ALTER TABLE orders DISABLE TRIGGER u")
        check(s).of("ok", "no trigger sets it at UPDATE", stream="orders")
        s.change(sweep="0s")
        said = check(s)
        said.of("warn", "sweep is 0s", stream="orders")
        said.of("warn", "never lands", "no trigger", stream="orders")
        said.of("ok", "method exact", "nothing is swept", stream="orders")
        s.change_stream("orders", mode="append")
        case.equal(check(s).trouble("orders"), [])


# -- the key -------------------------------------------------------------------------------------------------------------


def test_keys_are_unique_or_warned_of():
    make = ["CREATE TABLE orders (id int NOT NULL, tenant int NOT NULL, \"Ref\" text, updated_at timestamptz NOT NULL)", "CREATE INDEX ON orders (updated_at)",
            "CREATE TABLE parts (id int, tenant int, updated_at timestamptz NOT NULL, PRIMARY KEY (id, tenant)) PARTITION BY HASH (tenant)", "CREATE TABLE parts0 PARTITION OF parts FOR VALUES WITH (MODULUS 1, REMAINDER 0)"]
    streams = {"id": orders(), "both": orders(key=["id", "tenant"]), "ref": orders(key=["Ref"]), "none": {**orders(), "key": []}, "part": orders("parts"), "parts": orders("parts", key=["tenant", "id"])}
    with shop(streams, *make, **CALM) as s:
        said = check(s)
        for stream in ("id", "both", "ref"):
            said.of("warn", "no index keeps the key unique", stream=stream)
        said.of("warn", "Ref may be NULL", stream="ref")
        said.of("warn", "no key, and no primary key", stream="none")
        said.of("warn", "(id) unique", "the primary key is id, tenant", stream="part")
        said.of("ok", "unique by parts_pkey", stream="parts")
        for stream in ("both", "ref"):
            pasted(s, said.of("warn", "no index keeps the key unique", stream=stream), r"CREATE UNIQUE INDEX CONCURRENTLY ON [^)]*\)")
        said = check(s)
        said.of("warn", "no index keeps the key unique", stream="id")
        for stream in ("both", "ref"):
            said.of("ok", "the key is unique by", stream=stream)
        s.sql("CREATE UNIQUE INDEX lower ON orders (lower(id::text))")  # unique, and not of the key
        s.sql("CREATE UNIQUE INDEX few ON orders (id) WHERE tenant = 1")
        check(s).of("warn", "no index keeps the key unique", stream="id")
        s.sql("CREATE UNIQUE INDEX with_more ON orders (id) INCLUDE (tenant)")
        check(s).of("ok", "unique by with_more", stream="id")
        s.sql("ALTER TABLE orders ADD PRIMARY KEY (tenant, id)")
        check(s).of("warn", "`key: [tenant, id]`", stream="none")


# -- rights --------------------------------------------------------------------------------------------------------------


def test_a_grant_that_is_missing_can_be_pasted():
    with shop({"orders": orders(), "parts": orders("parts"), "far": orders('"Far off".things')}, *ORDERS, "CREATE TABLE parts (id int, updated_at timestamptz) PARTITION BY HASH (id)",
              *(f"CREATE TABLE parts{n} PARTITION OF parts FOR VALUES WITH (MODULUS 3, REMAINDER {n})" for n in range(3)), 'CREATE SCHEMA "Far off"', 'CREATE TABLE "Far off".things (id int PRIMARY KEY, updated_at timestamptz)',
              **CALM) as s:
        s.sql(f"REVOKE ALL ON orders, parts1, parts2 FROM {READER}")
        said = check(s, 1)
        pasted(s, said.of("fail", "may be read", f"TO {READER}", stream="orders"), r"GRANT SELECT ON \S+ TO \w+")
        pasted(s, said.of("fail", "2 of its 3 relations may not be read", "parts1", stream="parts"), r"GRANT SELECT ON \S+ TO \w+")
        pasted(s, said.of("fail", "permission denied for schema", stream="far"), r'GRANT USAGE ON SCHEMA .* TO \w+')
        said = check(s, 1)
        said.none(stream="orders", level="fail")
        said.none(stream="far", level="fail")
        pasted(s, said.of("fail", "1 of its 3 relations", "parts2", stream="parts"), r"GRANT SELECT ON \S+ TO \w+")
        check(s)


def test_columns_that_may_not_be_read():
    with shop({"all": orders(), "some": orders(columns=["id", "updated_at"]), "hidden": orders(columns=["id", "updated_at", "note"])}, *ORDERS, "INSERT INTO orders VALUES (1)", **CALM) as s:
        s.sql(f"REVOKE ALL ON orders FROM {READER}")
        s.sql(f"GRANT SELECT (id, updated_at) ON orders TO {READER}")
        said = check(s, 1)
        said.of("warn", "note may not be read and is left out", stream="all")
        said.of("ok", "rights on some columns only", stream="all")
        said.none("left out", stream="some")
        pasted(s, said.of("fail", "column note may not be read", stream="hidden"), r"GRANT SELECT \(.*?\) ON \S+ TO \w+")
        said = check(s)
        said.none("left out", stream="all")


def test_rows_that_a_policy_hides():
    with shop({"orders": orders(), "asked": {"query": "SELECT * FROM orders", "watermark": "updated_at", "key": ["id"]}}, *ORDERS, "INSERT INTO orders VALUES (1), (2)", "ALTER TABLE orders ENABLE ROW LEVEL SECURITY",
              "CREATE POLICY half ON orders USING (id = 1)", **CALM) as s:
        said = check(s, 1)
        said.none(stream="asked", level="fail")
        try:
            pasted(s, said.of("fail", "row security hides rows", stream="orders"), r"ALTER ROLE \w+ BYPASSRLS")
            check(s)
        finally:
            s.sql(f"ALTER ROLE {READER} NOBYPASSRLS")


# -- what is no plain table ----------------------------------------------------------------------------------------------


def test_views_queries_and_what_else_there_is():
    make = [*GOOD, "CREATE VIEW seen AS SELECT * FROM orders", "CREATE VIEW slow AS SELECT id, updated_at + interval '0 s' AS updated_at FROM orders", "CREATE MATERIALIZED VIEW kept AS SELECT * FROM orders",
            "CREATE TABLE parent (id int PRIMARY KEY, updated_at timestamptz)", "CREATE TABLE child () INHERITS (parent)", "CREATE TABLE none (id int, updated_at timestamptz) PARTITION BY HASH (id)",
            "CREATE EXTENSION file_fdw", "CREATE SERVER files FOREIGN DATA WRAPPER file_fdw", "CREATE FOREIGN TABLE lines (id int, updated_at timestamptz) SERVER files OPTIONS (filename '/dev/null')", "ANALYZE"]
    streams = {"seen": orders("seen"), "slow": orders("slow"), "kept": orders("kept"), "family": orders("parent"), "none": orders("none"), "lines": orders("lines"),
               "asked": {"query": "SELECT id, updated_at FROM orders WHERE id > 5", "watermark": "updated_at", "key": ["id"]}, "exact": orders("seen", method="exact"), "bare": {"table": "seen"},
               "whole": {"table": "seen", "mode": "snapshot"}}
    with shop(streams, *make, **CALM) as s:
        said = check(s, 1)
        said.of("ok", "method window, it has no transaction ids", "after 1 h at the latest", stream="seen")
        said.of("ok", "a view: the server expects a run to give about", stream="seen")
        said.of("warn", "reads all of orders", stream="slow")
        said.of("warn", "each REFRESH gives all rows new ids", stream="kept")
        said.of("ok", "2 relations, 0 bytes", stream="family")
        said.of("warn", "no partitions yet", stream="none")
        said.of("ok", "a foreign table", stream="lines")
        said.of("ok", "a query: ", stream="asked")
        said.of("fail", "method window, or mode: snapshot", stream="exact")
        said.of("fail", "give it a watermark", stream="bare")
        said.of("ok", "mode snapshot", stream="whole")
        said.none(stream="whole", level="fail")


def test_the_first_read_is_foretold():
    with shop({"orders": orders()}, *GOOD, chunk="128KiB", **CALM) as s:
        said = check(s).of("ok", "chunks of 128 KiB", "2 at a time", stream="orders")
        pages = s.value("SELECT pg_relation_size('orders') / 8192")
        case.equal(int(re.search(r"in about (\d+) chunks", said).group(1)), -(-pages // 16))
        s.sql("DROP INDEX orders_at")
        s.sql("CREATE TABLE fresh AS SELECT * FROM orders")
        s.change_stream("fresh", table="fresh", key=["id"])
        said = check(s)
        text = said.of("ok", "was never analyzed", stream="fresh")
        said.of("ok", "an unknown number of rows", stream="fresh")
        pasted(s, text, r"ANALYZE \S+")
        check(s).of("ok", "about 20,000 rows", stream="fresh")


def test_a_fast_cadence_is_told_with_what_it_costs():
    with shop({"ids": orders(method="xid"), "exact": orders(method="exact"), "whole": {"table": "orders", "mode": "snapshot", "key": ["id"]}, "cron": orders(method="xid", cron="*/4 * * * *"),
               "slow": orders(method="xid", cron="*/5 * * * *")}, *GOOD, **{**CALM, "every": "1m"}) as s:
        said = check(s)
        size = s.value("SELECT pg_relation_size('orders')")
        text = said.of("warn", "every 1 min the whole table is read", "hange data capture", stream="ids")
        said_mib = float(re.search(r"([0-9.]+) MiB an hour", text).group(1))
        case.true(abs(said_mib - size * 60 / (1 << 20)) < 1, f"{text}: {size}")
        case.equal(said.trouble("exact"), [])
        said.of("warn", "every 1 min all of it lands", stream="whole")
        said.of("warn", "every 4 min the whole table is read", stream="cron")
        case.equal(said.trouble("slow"), [])


# -- transactions --------------------------------------------------------------------------------------------------------


def test_transactions_that_are_open_for_long_are_named():
    with shop({"orders": orders(method="exact")}, *GOOD, straggler_after="2s", **CALM) as s:
        one = s.begin("INSERT INTO orders VALUES (100000)")
        pid = one.info.backend_pid
        said = check(s)
        said.of("ok", "the oldest open transaction is", "nothing ends one that stays open")
        time.sleep(2.5)
        said = check(s)
        text = said.of("warn", "a transaction has been open for", f"process {pid}", "role postgres", "idle in transaction")
        s.primary.rows(f"ALTER ROLE {READER} SET idle_in_transaction_session_timeout = '90s'")
        try:
            check(s).of("warn", "idle_in_transaction_session_timeout 1 min 30 s")
        finally:
            s.primary.rows(f"ALTER ROLE {READER} RESET idle_in_transaction_session_timeout")
        pasted(s, text, r"SELECT pg_terminate_backend\(\d+\)")
        until("it is gone", lambda: not s.value("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", pid))
        check(s).of("ok", "no transaction is open")


def test_prepared_transactions_are_told():
    with shop({"orders": orders(method="exact")}, *GOOD, **CALM) as s:
        s.begin("INSERT INTO orders VALUES (100000)", "PREPARE TRANSACTION 'it''s one'")
        check(s).of("ok", "1 prepared transaction, none older than a minute")


def test_sessions_that_hide_when_they_began():
    with shop({"exact": orders(method="exact"), "window": orders(method="window"), "auto": orders()}, *GOOD, **CALM) as s:
        s.change(dsn=s.primary.dsn(s.db, BLIND, None))
        s.session().execute("SELECT 1")
        said = check(s)
        text = said.of("warn", f"hide their transactions from {BLIND} (")
        said.of("warn", "method exact cannot be had; method xid", stream="exact")
        said.of("warn", "hidden from us", "is missed", stream="window")
        try:
            pasted(s, text, r"GRANT pg_read_all_stats TO \w+;")
            said = check(s)
            said.of("ok", "method exact, as configured", stream="exact")
            said.none("hide their transactions")
        finally:
            s.primary.rows(f"REVOKE pg_read_all_stats FROM {BLIND}")


def test_sessions_that_are_not_tracked():
    with shop({"orders": orders(method="exact")}, *GOOD, **CALM) as s:
        one = s.session()
        one.execute("SET track_activities = off")
        said = check(s)
        said.of("warn", "track_activities is off in some sessions", "ALTER SYSTEM SET track_activities = on")
        said.of("warn", "method exact cannot be had; method xid", stream="orders")
        one.execute("BEGIN")
        one.execute("INSERT INTO orders VALUES (100000, now() - interval '1 day')") # far below where a range would begin
        s.change(every="200ms")
        s.start()
        s.opens("postgres_sessions_hidden", "track_activities")
        s.lands(20000)
        one.execute("COMMIT")
        s.lands(20001)


def test_limits_that_are_too_low():
    with shop({"orders": orders(method="exact")}, *GOOD, parallel=4, listen="changed", **CALM) as s:
        s.primary.rows(f"ALTER ROLE {READER} CONNECTION LIMIT 4")
        try:
            pasted(s, check(s).of("warn", "may have 4 connections, and 5 are wanted"), r"ALTER ROLE \w+ CONNECTION LIMIT \d+")
            check(s).none("connections, and")
        finally:
            s.primary.rows(f"ALTER ROLE {READER} CONNECTION LIMIT -1")


# -- what is not there ---------------------------------------------------------------------------------------------------


def test_what_is_not_there_is_told_with_the_nearest():
    make = [*ORDERS, 'CREATE TABLE "Mixed Case" (id int PRIMARY KEY, updated_at timestamptz)', "CREATE SCHEMA far", "CREATE TABLE far.customers (id int PRIMARY KEY, updated_at timestamptz)"]
    streams = {"typo": orders("public.ordres"), "elsewhere": orders("customers"), "folded": orders("mixed_case"), "nothing": orders("zzzzzzzz"), "syntax": orders("a b"), "column": orders(watermark="updatd_at"),
               "key": orders(key=["ID"]), "cols": orders(columns=["id", "updated_at", "xyzzy"]), "text": orders(watermark="note"), "keyless": orders(columns=["updated_at"]), "where": orders(where="nosuch = 1"),
               "bad": {"query": "SELECT * FROM nosuch", "watermark": "updated_at"}, "twice": {"query": "SELECT 1 AS a, 2 AS a", "mode": "snapshot"}}
    with shop(streams, *make, **CALM) as s:
        said = check(s, 1)
        said.of("fail", "no table public.ordres", "is public.orders meant?", stream="typo")
        said.of("fail", "is far.customers meant?", stream="elsewhere")
        said.of("fail", 'is public."Mixed Case" meant?', stream="folded")
        said.of("fail", "no table zzzzzzzz", s.db, stream="nothing")
        said.of("fail", "syntax", stream="syntax")
        said.of("fail", "the watermark updatd_at is not there; is updated_at meant?", stream="column")
        said.of("fail", "the key's column ID is not there; is id meant?", stream="key")
        said.of("fail", "column", "xyzzy", "id, updated_at, note", stream="cols")
        said.of("fail", "the watermark note is of type text", stream="text")
        said.of("fail", "the key's column id must be among `columns`", stream="keyless")
        said.of("fail", "with its `where`", 'column "nosuch" does not exist', stream="where")
        said.of("fail", "the query", 'relation "nosuch" does not exist', stream="bad")
        said.of("fail", "two columns have the name a", stream="twice")


def test_a_server_that_lets_nobody_in_is_told_and_the_password_never():
    with shop({"orders": orders()}, *ORDERS, **CALM) as s:
        nowhere = free_port()
        for dsn, words in ((s.primary.dsn(s.db, password=None, port=nowhere), [f"port {nowhere}", "refused"]), (s.primary.dsn("no_such_db", password=None), ['database "no_such_db" does not exist']),
                           (s.primary.dsn(s.db, "no_such_role", None), ["no_such_role", "`password`"]), (s.primary.dsn(s.db, password=None, sslmode="require"), ["does not support SSL", "ssl = on"]),
                           (f"host=no-such-host.invalid dbname={s.db} user={READER}", ["no-such-host.invalid", "resolver"]), ("service=no_such_service", ["no_such_service"]),
                           (f"postgres://{READER}:{urllib.parse.quote(SECRET + 'x', safe='')}@127.0.0.1:{s.primary.port}/{s.db}", ["password authentication failed"])):
            s.change(dsn=dsn)
            if "://" in dsn:
                s.options.pop("password")
                s.server.write_config()
            said = check(s, 1)
            text = said.of("fail", "dsn: ", *words)
            case.true("\t" not in text and ";  " not in text, text)
            case.equal([one for one in said.lines if one[1]], [], "nothing of streams that were not looked at")


def test_a_password_that_is_the_users_name_hides_nothing_else():
    with shop({"orders": orders()}, *ORDERS, **CALM) as s:
        s.options.pop("password")
        s.change(dsn=s.primary.dsn(s.db, "no_such_role", "no_such_role"))
        check(s, 1).of("fail", 'password authentication failed for user "no_such_role"')


def test_a_server_that_hangs_is_not_waited_for():
    with shop({"orders": orders(), "more": orders()}, *ORDERS, **CALM) as s, Way(s.primary.port) as way:
        s.change(dsn=s.primary.dsn(s.db, password=None, port=way.port))
        check(s)
        s.change_stream("more", query="SELECT pg_sleep(60), 1 AS id, now() AS updated_at", method="window")
        s.options["streams"]["more"].pop("table")
        s.options["streams"]["orders"]["where"] = "pg_sleep(60) IS NULL"
        s.server.write_config()
        began = time.monotonic()
        s.sql("INSERT INTO orders VALUES (1)")
        check(s)  # a look that takes long is left out
        case.true(time.monotonic() - began < 40, "it is bounded")
        child = subprocess.Popen([binary(), "check", "-c", s.server.file], stdout=subprocess.PIPE, env=s.server.environment(), cwd=s.home.path)
        until("it asks", lambda: s.value("SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND query LIKE %s", READER, "%pg_sleep%"))
        way.stall()
        out = child.communicate(timeout=60)[0].decode()
        case.equal(child.returncode, 1, out)
        said = Said(out)
        case.true([1 for level, _, text in said.lines if level == "fail" and ("has not answered for 15 s" in text)], out)


# -- TLS, standbys, offline ----------------------------------------------------------------------------------------------


def address():
    """This machine's, as others see it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.connect(("192.0.2.1", 9))
        except OSError:
            raise case.Skip("this machine has no address but its own")
        return one.getsockname()[0]


def test_tls_is_told_by_what_it_proves():
    outside = address()
    server = Primary(settings=["listen_addresses='*'"], tls=True)
    try:
        server.hba([f"hostssl all {READER} {outside}/32 scram-sha-256", f"hostnossl all {BLIND} {outside}/32 scram-sha-256"])
        with shop({"orders": orders()}, *ORDERS, server=server, **CALM) as s:
            ca = server.certs.crt("ca")
            s.change(dsn=server.dsn(s.db, password=None, host="localhost", sslmode="verify-full", sslrootcert=ca))
            check(s).of("ok", "TLSv1.", "sslmode verify-full")
            s.change(dsn=server.dsn(s.db, password=None, host=outside, sslmode="require"))
            check(s).of("warn", "TLSv1.", "sslmode require", "verify-full")
            s.change(dsn=server.dsn(s.db, BLIND, None, host=outside, sslmode="disable"))
            check(s).of("warn", f"no TLS to {outside}")
            s.change(dsn=server.dsn(s.db, password=None, host=outside, sslmode="verify-full", sslrootcert=ca))
            check(s, 1).of("fail", "dsn: ", outside)
            s.change(dsn=server.dsn(s.db, password=None, host=outside, sslmode="disable"))
            check(s, 1).of("fail", "pg_hba.conf")
    finally:
        server.stop()


def test_a_standby_and_its_primary():
    with shop({"exact": orders(method="exact"), "window": orders(method="window")}, *GOOD, node=standby(), primary_dsn=True, listen="changed", **CALM) as s:
        said = check(s)
        said.of("ok", "a standby", f":{standby().port}")
        said.of("ok", "the primary of this standby", f":{s.primary.port}")
        said.of("warn", "500 ms", "max_standby_streaming_delay")
        said.of("ok", "method exact, as configured", stream="exact")
        late = s.begin("SELECT txid_current()")
        check(s).of("ok", "the oldest open transaction is")
        late.execute("COMMIT")
        right = s.options["primary_dsn"]
        s.change(primary_dsn=standby().dsn(s.db, password=None))
        check(s, 1).of("fail", "primary_dsn leads to a standby")
        s.change(primary_dsn=s.primary.dsn("postgres", password=None))
        check(s, 1).of("fail", "the database postgres", s.db)
        s.change(primary_dsn=s.primary.dsn(s.db, password=None, port=free_port()))
        check(s, 1).of("fail", "primary_dsn: ", "refused")
        other = Primary()
        try:
            other.database(s.db)
            s.change(primary_dsn=other.dsn(s.db, password=None))
            check(s, 1).of("fail", "another cluster", other.value("SELECT system_identifier::text FROM pg_control_system()"))
        finally:
            other.stop()
        s.change(primary_dsn=right)
        check(s)
        standby().pause()
        try:
            text = check(s).of("warn", "replay is paused")
            standby().rows(re.search(r"SELECT \w+\(\)", text).group(0))
            until("replay goes on", lambda: standby().value("SELECT pg_get_wal_replay_pause_state()") == "not paused")
        finally:
            standby().resume()
        check(s).none("replay is paused")
        s.options.pop("primary_dsn")
        s.options.pop("primary_password")
        s.server.write_config()
        said = check(s, 1)
        said.of("warn", "no primary_dsn", "LISTEN")
        said.of("fail", "method exact cannot be had", "primary_dsn", stream="exact")
        said.of("warn", "what commits late is missed", stream="window")


def test_offline_asks_nobody():
    with shop({"orders": orders(), "keyless": {"table": "t", "cron": "0 * * * *"}, "whole": {"query": "SELECT 1", "mode": "snapshot"}}, *ORDERS, **CALM) as s, socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.5)
        s.change(dsn=f"host=127.0.0.1 port={trap.getsockname()[1]} user={READER}", primary_dsn="postgres://db.example/shop?sslmode=require")
        said = check(s, 0, "--offline")
        said.of("ok", "3 streams")
        said.of("ok", "table public.orders, mode incremental, method auto, watermark updated_at, every 15 min", stream="orders")
        said.of("ok", "table t", 'by cron "0 * * * *"', stream="keyless")
        said.of("warn", "no key", stream="keyless")
        said.of("ok", "a query, mode snapshot", stream="whole")
        said.of("warn", "primary_dsn: db.example", "require")
        try:
            trap.accept()
        except TimeoutError:
            return
        raise AssertionError("somebody was asked")


def test_nothing_is_left_behind():
    with shop({"orders": orders(method="exact")}, *GOOD, **CALM) as s:
        with s.session() as one:
            one.execute("BEGIN")
            one.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
            began = time.monotonic()
            said = check(s, 1)  # who waits for a lock is told so, and soon
            case.true(time.monotonic() - began < 20, "it waits no longer than that")
            said.of("fail", "lock timeout", stream="orders")
            one.execute("ROLLBACK")
        check(s)
        case.equal(s.value("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", READER), 0)


if __name__ == "__main__":
    replica.ensure()
    case.main(globals())
