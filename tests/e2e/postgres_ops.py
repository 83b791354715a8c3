#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a person sees and does: what check says of each table, the state that can be set and reset, a range that lands again, counts that are unusual, metrics, configs that are
refused with a reason."""
import glob
import json
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))  # before this folder, which has a script of the name
import case  # noqa: E402
import replica  # noqa: E402
import state  # noqa: E402
from pulls import ORDERS, SOURCE, ids, orders, primary, shop, standby  # noqa: E402
from replica import READER, SECRET, Primary  # noqa: E402
from server import Home, Server, config, until  # noqa: E402

# -- check ------------------------------------------------------------------------------------------------------------------


def line(text, stream):
    """What check says of a stream."""
    found = [one for one in text.splitlines() if f"{SOURCE}/{stream}:" in one]
    case.true(found, f"no line for {stream}:\n{text}")
    return "\n".join(found)


def test_check_says_of_each_table_how_it_will_be_read_and_why():
    make = [*ORDERS, "CREATE TABLE bare (id int, updated_at timestamptz)", "CREATE TABLE daily (id int PRIMARY KEY, day date)", "CREATE INDEX ON daily (day)", "CREATE VIEW seen AS SELECT * FROM orders",
            "INSERT INTO orders SELECT n FROM generate_series(1, 1000) n", "INSERT INTO bare VALUES (1, now() + interval '3 years'), (2, NULL)", "ANALYZE"]
    streams = {"orders": orders(method="exact"), "auto": orders(), "bare": orders("bare"), "daily": {"table": "daily", "mode": "incremental", "watermark": "day", "key": ["id"]},
               "seen": orders("seen", method="window"), "whole": {"table": "orders", "mode": "snapshot"}}
    with shop(streams, *make) as s:
        text = s.check()
        case.true(all(re.match(r"(ok|warn|fail) \S+: .", one) for one in text.splitlines() if one), text)
        case.true("exact" in line(text, "orders") and "index" in line(text, "orders"), text)
        case.true("xid" in line(text, "auto"), text)
        case.true("index" in line(text, "bare") and "future" in line(text, "bare") and re.search("null", line(text, "bare"), re.I), text)
        case.true("day" in line(text, "daily"), text)
        case.true("window" in line(text, "seen"), text)
        case.true("snapshot" in line(text, "whole"), text)
        case.equal(s.value("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", READER), 0, "and nobody stays connected")


def test_check_changes_nothing_and_lands_nothing():
    with shop({"orders": orders()}, *ORDERS) as s:
        s.sql("INSERT INTO orders VALUES (1)")
        s.check()
        case.equal(s.new(), [])
        case.equal(ids(s.pull()), [1])
        before = s.positions()
        s.sql("INSERT INTO orders VALUES (2)")
        s.check()
        case.equal(s.positions(), before)
        case.equal(ids(s.pull()), [2])


def test_check_says_what_is_wrong():
    with shop({"orders": orders()}, *ORDERS) as s:
        for change, words in (({"dsn": s.primary.dsn(s.db, password=None, port=1)}, ["port 1"]), ({"dsn": s.primary.dsn("no_such_db", password=None)}, ["no_such_db"]),
                              ({"dsn": s.primary.dsn(s.db, "no_such_role", None)}, ["no_such_role"]), ({"dsn": s.primary.dsn(s.db, password=None, sslmode="require")}, ["SSL"])):
            before = s.options["dsn"]
            s.change(**change)
            text = s.check(code=1)
            case.true(all(w in text for w in words) and "fail " in text, f"{change}: {text}")
            case.true(SECRET not in text, "never the secret")
            s.change(dsn=before)
        for change, word in (({"watermark": "no_such"}, "no_such"), ({"key": ["no_such"]}, "no_such"), ({"table": "no.such"}, "no.such"), ({"watermark": "note"}, "note"),
                             ({"where": "no_such = 1"}, "no_such"), ({"columns": ["id", "no_such"]}, "no_such")):
            before = dict(s.options["streams"]["orders"])
            s.change_stream("orders", **change)
            text = s.check(code=1)
            case.true(word in line(text, "orders"), f"{change}: {text}")
            s.options["streams"]["orders"] = before


def test_check_of_a_standby():
    with shop({"orders": orders(method="exact"), "auto": orders()}, *ORDERS, node=standby(), primary_dsn=True) as s:
        text = s.check()
        case.true("standby" in text, text)
    with shop({"orders": orders(method="exact")}, *ORDERS, node=standby()) as s:
        text = s.check(code=1)
        case.true("primary_dsn" in text, text)


def test_tls_as_libpq_has_it():
    server = Primary(tls=True)
    try:
        with shop({"orders": orders()}, *ORDERS, server=server) as s:
            s.sql("INSERT INTO orders VALUES (1)")
            for good in ({"host": "localhost", "sslmode": "verify-full", "sslrootcert": server.certs.crt("ca")}, {"sslmode": "require"}):
                s.change(dsn=server.dsn(s.db, password=None, **good))
                s.pull()
            case.equal(ids(s.records()), [1])
            server.certs.ca("other")
            for bad in ({"host": "localhost", "sslmode": "verify-full", "sslrootcert": server.certs.crt("other")}, {"sslmode": "disable"}):
                s.change(dsn=server.dsn(s.db, password=None, **bad))
                s.check(code=1)
    finally:
        server.stop()


def test_a_dsn_in_every_form():
    with shop({"orders": orders()}, *ORDERS) as s:
        at, expected = primary().port, []
        service = s.home.at("services")
        with open(service, "w") as f:
            f.write(f"[shop]\nhost=127.0.0.1\nport={at}\ndbname={s.db}\nuser={READER}\n")
        for n, (dsn, password) in enumerate([(f"postgres://{READER}@127.0.0.1:{at}/{s.db}", True), (f"postgresql://{READER}@127.0.0.1:{at}/{s.db}?application_name=x", True),
                                             ("${env:MRT_DSN}", False), ("service=shop", True), (f"host=127.0.0.1,127.0.0.1 port=1,{at} dbname={s.db} user={READER}", True)]):
            s.server.extra_env = {"PGSERVICEFILE": service, "MRT_DSN": s.primary.dsn(s.db)}
            s.options.pop("password", None)
            s.change(dsn=dsn, **({"password": "${env:MRT_PG_PASSWORD}"} if password else {}))
            s.sql("INSERT INTO orders VALUES (%s)", n)
            expected.append(n)
            s.pull()
            case.equal(ids(s.records()), expected, dsn)
        case.true(SECRET not in s.server.log(False), "no secret in the log")


def test_the_sessions_say_who_they_are_and_write_nothing():
    with shop({"orders": orders()}, *ORDERS, every="200ms", start=True) as s:
        s.sql("INSERT INTO orders VALUES (1)")
        s.lands(1)
        names = {n for n, in s.sql("SELECT application_name FROM pg_stat_activity WHERE usename = %s AND datname = current_database()", READER)}
        case.true(names and all("millrace" in n for n in names), f"{names}")
        case.true(s.value("SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND datname = current_database()", READER) <= 4, "no more than asked for")
        time.sleep(1)
        case.equal(s.sql("SELECT pid FROM pg_stat_activity WHERE usename = %s AND state LIKE 'idle in%%' AND now() - state_change > interval '1 s'", READER), [])
    until("nobody stays connected", lambda: primary().value("SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND datname = %s", READER, s.db) == 0)


# -- state ------------------------------------------------------------------------------------------------------------------


def test_positions_are_shown_set_and_reset():
    with shop({"orders": orders(method="exact")}, *ORDERS) as s:
        s.sql("INSERT INTO orders SELECT n FROM generate_series(1, 10) n")
        s.pull()
        at = s.positions()
        case.equal(list(at), [("orders", "public.orders")])
        x = at["orders", "public.orders"]["x"]
        case.true(x >= s.value("SELECT max(xmin::text::bigint) FROM orders"), f"{at}")
        s.sql("INSERT INTO orders VALUES (11)")
        case.equal(ids(s.pull()), [11])
        s.cli("state set", f"{SOURCE}/orders", "public.orders", json.dumps(at["orders", "public.orders"]))
        again = s.pull()
        case.true(set(ids(again)) <= {11} | set(range(1, 12)) and 11 in ids(again), f"what is after it lands again: {ids(again)}")
        s.cli("state reset", SOURCE)
        case.equal(ids(s.pull()), list(range(1, 12)))
        case.equal(s.pull(), [])


def test_state_set_while_the_server_runs():
    with shop({"orders": orders(method="exact")}, *ORDERS, every="200ms", start=True) as s:
        s.sql("INSERT INTO orders VALUES (1)")
        s.lands(1)
        until("it is resting", lambda: s.positions())
        at = s.positions()["orders", "public.orders"]
        s.sql("INSERT INTO orders VALUES (2)")
        s.lands(2)
        s.cli("state set", f"{SOURCE}/orders", "public.orders", json.dumps(at))
        s.lands(3)
        s.sql("INSERT INTO orders VALUES (3)")
        until("it goes on", lambda: 3 in ids(s.records()))


def test_a_position_that_makes_no_sense_stops_that_stream_alone():
    with shop({"orders": orders(), "other": orders("other")}, *ORDERS, "CREATE TABLE other (id int, updated_at timestamptz DEFAULT now())", every="300ms") as s:
        s.sql("INSERT INTO orders VALUES (1); INSERT INTO other VALUES (1)")
        s.pull()
        s.cli("state set", f"{SOURCE}/orders", "public.orders", '{"x": "rubbish"}')
        s.start()
        s.opens("postgres_stream_failed", stream="orders")
        s.sql("INSERT INTO other VALUES (2)")
        s.lands(2, "other")


def test_a_range_lands_again_under_a_run_of_its_own():
    with shop({"orders": orders()}, *ORDERS) as s:
        s.sql("INSERT INTO orders SELECT n, '2026-11-01 00:00:00+00'::timestamptz + n * interval '1 hour' FROM generate_series(0, 99) n")
        s.pull()
        before = s.positions()
        text = s.cli("replay", f"{SOURCE}/orders", "--from", "2026-11-01T10:00:00Z", "--to", "2026-11-01T20:00:00Z")
        again = s.new()
        case.equal(ids(again), list(range(10, 20)), text)
        case.equal(len({r.value["replay"] for r in again}), 1)
        case.equal({r.value["id"] for r in again} - {r.value["id"] for r in s.records() if "replay" not in r.value}, set(), "ids stay")
        case.equal({k: v for k, v in s.positions().items() if "replay" not in k[1]}, before, "live positions do not move")
        s.cli("replay", f"{SOURCE}/orders", "--from", "2026-11-01T10:00:00Z", "--to", "2026-11-01T20:00:00Z")
        case.equal(s.new(), [], "the run is done")
        s.cli("replay", f"{SOURCE}/orders", "--from", "2026-11-05T00:00:00Z", "--run", "rest")
        case.equal((ids([r for r in s.records() if r.value.get("replay") == "rest"])), [96, 97, 98, 99])
        s.sql("INSERT INTO orders VALUES (100)")
        case.equal(ids(s.pull()), [100])


def what_a_lost_landing_held_lands_again(method, chunk, point):
    """A staged file that is gone before it is published: the landing is told as lost, and read again from the table."""
    with shop({"orders": orders(method=method)}, *ORDERS, chunk=chunk, parallel=1) as s:
        s.sql("INSERT INTO orders SELECT n FROM generate_series(1, 20000) n")
        s.server.cli("run", "--once", extra={"MILLRACE_CRASH": point})
        for path in glob.glob(os.path.join(s.home.at("zone"), "_staging", "*", "*.part")):
            os.unlink(path)
        s.server.drain()
        lost = sorted(set(re.findall(r"--landing (\S+)", s.cli("verify", code=1))))
        case.true(lost, "a landing is lost")
        case.true(len(ids(s.records())) < 20000, "and with it rows")
        for landing in lost:
            s.cli("replay", "--landing", landing)
            s.cli("replay", "--landing", landing, code=1)  # it is lost no more
        case.equal(sorted(ids(s.records())), list(range(1, 20001)), "each once")
        s.cli("verify")


def test_what_a_lost_landing_of_a_pull_held_lands_again():
    what_a_lost_landing_held_lands_again("exact", "64MiB", "decide_committed:1")
    what_a_lost_landing_held_lands_again("xid", "64MiB", "decide_committed:1")


def test_what_lost_landings_of_a_first_read_held_lands_again():
    what_a_lost_landing_held_lands_again("exact", "128KiB", "decide_committed:2")


# -- counts -----------------------------------------------------------------------------------------------------------------


def test_metrics_of_a_stream():
    with shop({"orders": orders(method="exact")}, *ORDERS, every="200ms", start=True) as s:
        s.sql("INSERT INTO orders SELECT n FROM generate_series(1, 25) n")
        s.lands(25)
        until("rows are counted", lambda: s.metric("millrace_postgres_rows_total", "orders") == 25)
        case.true(s.metric("millrace_postgres_bytes_total", "orders") > 100, "bytes")
        case.true(s.metric("millrace_postgres_runs_total", "orders", outcome="done") > 0, "runs")
        case.equal(s.metric("millrace_postgres_runs_total", "orders", outcome="failed") or 0, 0)
        case.true(abs(s.metric("millrace_postgres_last_run_time_seconds", "orders") - time.time()) < 30, "the last run")
        for name in ("late_rows_total", "watermark_lag_seconds", "transaction_lag", "ids_held", "walk_pages_left"):
            case.true(s.metric("millrace_postgres_" + name, "orders") is not None, name)
        for name in ("hidden_sessions", "xid_age", "conflicts_total"):
            case.true(s.metric("millrace_postgres_" + name) is not None, name)


def test_a_run_with_unusually_few_or_many_rows_is_told():
    with shop({"orders": orders(expect={"rows": {"drop": 0.5, "rise": 3, "zero": 3}})}, *ORDERS) as s:
        n = 0
        for _ in range(8):
            s.sql(f"INSERT INTO orders SELECT n FROM generate_series({n}, {n + 99}) n")
            n += 100
            s.pull()
        case.true("postgres_rows_unusual" not in s.cli("status"), "usual so far")
        s.sql(f"INSERT INTO orders SELECT n FROM generate_series({n}, {n + 999}) n")
        n += 1000
        case.equal(len(s.pull()), 1000, "they land all the same")
        case.true("postgres_rows_unusual" in s.cli("status"), s.cli("status"))


def test_no_row_for_several_runs_is_told():
    with shop({"orders": orders(expect={"rows": {"zero": 3}})}, *ORDERS, every="300ms") as s:
        for n in range(6):
            s.sql("INSERT INTO orders VALUES (%s)", n)
            s.pull()
        s.start()
        s.opens("postgres_rows_unusual", stream="orders")
        s.sql("INSERT INTO orders VALUES (100)")
        s.closes("postgres_rows_unusual")


def test_a_table_that_grows_no_more_is_told():
    with shop({"orders": orders(expect={"fresh": "3s"})}, *ORDERS, every="300ms", start=True) as s:
        s.sql("INSERT INTO orders VALUES (1)")
        s.lands(1)
        s.opens("postgres_not_fresh", stream="orders")
        s.sql("INSERT INTO orders VALUES (2)")
        s.closes("postgres_not_fresh")


def test_runs_are_in_the_state_store():
    with shop({"orders": orders()}, *ORDERS) as s:
        s.sql("INSERT INTO orders SELECT n FROM generate_series(1, 7) n")
        s.pull()
        if s.server.cfg["state"] != "sqlite":
            return
        rows = [r for r in state.rows(s.server.data_dir, "runs") if r["source"] == SOURCE]
        case.true(any(r["rows"] == 7 and r["stream"] == "orders" and not r["error"] for r in rows), f"{rows}")


# -- configs that are refused -----------------------------------------------------------------------------------------------


def test_configs_that_cannot_be():
    good = {"dsn": "host=127.0.0.1 dbname=x", "streams": {"orders": orders()}}
    for change, word in (({"dsn": None}, "dsn"), ({"streams": {}}, "streams"), ({"dsn": "nonsense"}, "dsn"), ({"every": "1ms"}, "every"), ({"cron": "99 * * * *"}, "cron"),
                         ({"streams": {"o": {"mode": "incremental"}}}, "table"), ({"streams": {"o": {"table": "a", "query": "SELECT 1"}}}, "query"),
                         ({"streams": {"o": orders(method="guess")}}, "method"), ({"streams": {"o": {"table": "a", "mode": "incremental", "method": "exact"}}}, "watermark"),
                         ({"streams": {"o": {"query": "SELECT 1", "mode": "incremental", "method": "exact", "watermark": "x"}}}, "query"), ({"chunk": "1B"}, "chunk"),
                         ({"password": "in the open"}, "password"), ({"numeric_as": "float"}, "numeric_as")):
        with Home("mr-pull") as home:
            server = Server(home, config(home, {SOURCE: {"postgres": {k: v for k, v in {**good, **change}.items() if v is not None}}}))
            done = server.cli("check", "--offline")
            text = (done.stdout + done.stderr).decode()
            case.true(done.returncode == 2 and word in text, f"{change}: {done.returncode} {text}")


def test_a_stream_that_is_added_by_a_reload_is_read_and_one_that_is_removed_is_not():
    with shop({"orders": orders()}, *ORDERS, "CREATE TABLE more (id int, updated_at timestamptz DEFAULT now())", every="200ms", start=True) as s:
        s.sql("INSERT INTO orders VALUES (1); INSERT INTO more VALUES (1)")
        s.lands(1)
        s.change_stream("more", **orders("more"))
        s.server.signal(1)
        try:
            s.lands(1, "more", timeout=20)
        except AssertionError:                   # what may not change while it runs is said, and taken up by a restart
            case.true("reload" in s.server.log(), "it says why not")
            s.server.stop()
            s.start()
            s.lands(1, "more")
        s.sql("INSERT INTO orders VALUES (2)")
        s.lands(2, "orders")
        s.server.stop()
        case.equal(len(s.records()), 3)


if __name__ == "__main__":
    replica.ensure()
    case.main(globals())
