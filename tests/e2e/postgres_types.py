#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Values of every type: the server itself, given the landed text and the column's type, reads back what was in the row."""
import base64
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))  # before this folder, which has a script of the name
import case  # noqa: E402
import replica  # noqa: E402
from pulled import load  # noqa: E402
from pulls import ids, only, shop  # noqa: E402
from replica import psycopg  # noqa: E402

sys.set_int_max_str_digits(0)                    # Python's own bounds; JSON has none
sys.setrecursionlimit(5000)

LONG = "repeat('9', 131072)::numeric"
# column type: values as SQL writes them. Each becomes a row; NULL is always one more.
TYPES = {
    "bool": ["true", "false"],
    "int2": ["0", "-32768", "32767"], "int4": ["0", "-2147483648", "2147483647"], "int8": ["0", "-9223372036854775808", "9223372036854775807", "9007199254740993"],
    "oid": ["0", "4294967295"], "xid8": ["'18446744073709551615'"], "xid": ["'4294967295'"], "pg_lsn": ["'FFFFFFFF/FFFFFFFF'", "'0/0'"],
    "numeric": ["0", "0.000", "1.10", "-1e-100", "'NaN'", "'Infinity'", "'-Infinity'", LONG, "-" + LONG, "1e-16383", "10000", "0.0001", "123456789.000000001", "1e20", "99999999.9999"],
    "numeric(10,2)": ["1", "-0.05", "99999999.99", "'NaN'"], "numeric(20,0)": ["1", "12345678901234567890"], "numeric(5,-2)": ["12300", "-9999900"],
    "float4": ["0", "'-0'", "'NaN'", "'Infinity'", "'-Infinity'", "1.1", "3.4028235e38", "1e-45", "16777217", "1e10", "123456.7"],
    "float8": ["0", "'-0'", "'NaN'", "'Infinity'", "'-Infinity'", "0.1", "1.7976931348623157e308", "5e-324", "2.2250738585072014e-308", "1e22", "1e23", "123456789012345680", "0.3::float8 * 3",
               "1e15", "1e16", "9007199254740993"],
    "money": ["12.34", "'-92233720368547758.08'", "0"],
    "text": ["''", "'a'", r"E'\"\\\\/\b\f\n\r\t'", "'\u2028\u2029\ufeff\ufffe\U0001f980\u00e4'", r"E'\x01\x02\x1f\x7f'", "repeat(E'line\\n\"q\"', 100000)", "'null'", "'\ud7ff\ue000\U0010ffff'",
             "'  blanks  '", "E'\\\\N'", "E'\\\\.'"],
    "varchar(5)": ["''", "'\u00e4\u00f6\u00fc'"], "char(5)": ["'ab'", "''"], '"char"': ["'x'", "''"], "name": ["'n\"ame'"], "bpchar": ["'x  '"],
    "bytea": ["''", r"'\x00ff0a22'", "decode(repeat('00ff', 50000), 'hex')"],
    "timestamptz": ["'2026-11-22 21:25:22.123456+02'", "'infinity'", "'-infinity'", "'0044-03-15 12:00:00+00 BC'", "'294276-12-31 23:59:59.999999+00'", "'4713-11-24 00:00:00+00 BC'",
                    "'0001-01-01 00:00:00+00'", "'9999-12-31 23:59:59.999999+00'", "'10000-01-01 00:00:00+00'", "'1969-12-31 23:59:59.999999+00'", "'2000-01-01 00:00:00+00'", "'1883-11-18 12:03:58+00'",
                    "'0001-12-31 23:59:59.999999+00 BC'"],
    "timestamptz(0)": ["'2026-11-22 21:25:22.6+00'"],
    "timestamp": ["'2026-11-22 21:25:22.123456'", "'infinity'", "'-infinity'", "'0044-03-15 00:00:00 BC'", "'294276-12-31 23:59:59.999999'", "'4713-11-24 00:00:00 BC'", "'2026-11-22 24:00:00'"],
    "date": ["'2026-11-22'", "'infinity'", "'-infinity'", "'0044-03-15 BC'", "'5874897-12-31'", "'4713-11-24 BC'", "'0001-01-01'", "'10000-01-01'", "'2000-02-29'", "'1900-03-01'", "'0001-12-31 BC'"],
    "time": ["'00:00:00'", "'24:00:00'", "'23:59:59.999999'"], "timetz": ["'24:00:00-15:59:59'", "'12:30:00.5+05:45'"],
    "interval": ["'1 year -2 months +3 days -04:05:06.789'", "'0'", "'-178000000 years'", "'1 day'", "'-00:00:00.000001'", "'178000000 years 11 mons 31 days 23:59:59.999999'"],
    "uuid": ["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'00000000-0000-0000-0000-000000000000'"],
    "json": ["'{\"a\": 1.10, \"a\": [1e400, -0]}'", "E'{\\n \"x\" :\\r\\n\\t true\\n}'", "'\"\\u0000\"'", "'null'", "'\"\\ud800\"'", "'123456789012345678901234567890.00'", "'[]'",
             "(repeat('[', 900) || repeat(']', 900))::json", "'  1  '", "'\"a \\n b\"'"],
    "jsonb": ["'{\"b\": 1.10, \"a\": null}'", "'null'", "'\"\"'", "'1e400'", "'[1, \"x\", {}]'", "'\"\u2028\"'"],
    "jsonpath": ["'$.a[*] ? (@ > 1)'"],
    "inet": ["'10.0.0.1/8'", "'::1'", "'192.168.1.5'"], "cidr": ["'10.0.0.0/8'", "'2001:db8::/32'"], "macaddr": ["'08:00:2b:01:02:03'"], "macaddr8": ["'08:00:2b:01:02:03:04:05'"],
    "bit(3)": ["B'101'"], "bit varying": ["B''", "B'1011'"], "bit": ["B'1'"],
    "xml": ["'<a b=\"c\">\u00e4<!-- x --></a>'"], "tsvector": ["'''a b'':1A c:2'"], "tsquery": ["'a & !b | c:*'"],
    "point": ["'(1.5,-0)'"], "line": ["'{1,2,3}'"], "lseg": ["'[(0,0),(1,1)]'"], "box": ["'(1,1),(0,0)'"], "path": ["'((0,0),(1,1))'", "'[(0,0),(1,1)]'"], "polygon": ["'((0,0),(1,0),(1,1))'"],
    "circle": ["'<(0,0),1e300>'"],
    "int4range": ["'[1,5)'", "'empty'", "'(,)'"], "numrange": ["'(1.10,NaN]'"], "tstzrange": ["'[2026-11-22 00:00:00+02,infinity)'"], "daterange": ["'[2026-01-01,)'"],
    "int4multirange": ["'{[1,3),[5,8)}'", "'{}'"], "datemultirange": ["'{}'"],
    "regclass": ["'pg_class'"], "regtype": ["'int4'"], "regproc": ["'now'"], "tid": ["'(0,1)'"], "pg_snapshot": ["'10:20:10,14'"],
    "int4[]": ["'{}'", "'{1,NULL,3}'", "'{{1,2},{3,4}}'"], "text[]": ["'{\"a\\\"b\",NULL,\"NULL\",\"\",\"a,b\",\"{}\"}'"], "float8[]": ["'{NaN,Infinity,-0,0.1}'"], "numeric[]": ["'{1.10,NaN}'"],
    "timestamptz[]": ["'{infinity,\"2026-11-22 00:00:00+02\"}'"], "date[]": ["'{-infinity,\"0044-03-15 BC\"}'"], "bool[]": ["'{t,f}'"], "uuid[]": ["'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'"],
    "bytea[]": ["ARRAY['\\x00ff'::bytea]"], "int4range[]": ["'{\"[1,2)\",empty}'"], "interval[]": ["'{\"1 day\"}'"],
    "mood": ["'happy'", "'it''s \"odd\"'"], "mood[]": ["'{happy,NULL}'"],
    "positive": ["7"], "email": ["'a@b'"], "when_done": ["'infinity'"], "days": ["'{2026-01-01}'"],
    "pair": ["ROW(1, E'x\\n\"', '2026-11-22 00:00:00+00')", "ROW(NULL, NULL, NULL)", "ROW(1, '', 'infinity')"], "pair[]": ["ARRAY[ROW(1, 'x', NULL)::pair, NULL]"],
    "nested": ["ROW(ARRAY[ROW(1, 'x', NULL)::pair], '{\"a\": [1.10]}')"],
}
MAKE = ["CREATE TYPE mood AS ENUM ('happy', 'it''s \"odd\"')", "CREATE DOMAIN positive AS int CHECK (VALUE > 0)", "CREATE DOMAIN email AS text", "CREATE DOMAIN when_done AS timestamptz",
        "CREATE DOMAIN days AS date[]", "CREATE TYPE pair AS (n int, t text, at timestamptz)", "CREATE TYPE nested AS (p pair[], j jsonb)"]
EXTENSIONS = {"hstore": ("hstore", ["'a=>1, \"b\\\"c\"=>NULL'"]), "citext": ("citext", ["'AbC'"]), "ltree": ("ltree", ["'a.b.c'"])}


def nasty(session):
    """The tables, one for each type; {table: type}."""
    tables = {}
    for n, (kind, values) in enumerate(TYPES.items()):
        table = f"t{n:03d}"
        session.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, c {kind})")
        for i, value in enumerate(values):
            session.execute(f"INSERT INTO {table} VALUES ({i}, {value})")
        session.execute(f"INSERT INTO {table} VALUES ({len(values)}, NULL)")
        tables[table] = kind
    return tables


def added(session, tables):
    for name, (kind, values) in EXTENSIONS.items():
        if session.execute("SELECT 1 FROM pg_available_extensions WHERE name = %s", (name,)).fetchone():
            session.execute(f"CREATE EXTENSION {name}")
            session.execute(f"CREATE TABLE {name}_t (id int PRIMARY KEY, c {kind})")
            for i, value in enumerate(values):
                session.execute(f"INSERT INTO {name}_t VALUES ({i}, {value})")
            tables[name + "_t"] = kind
    return tables


def raw(record, column="c"):
    """The text of a value as it stands in the line."""
    at = record.text.index(f'"{column}":', record.text.index('"data":')) + len(column) + 3
    at += len(record.text[at:]) - len(record.text[at:].lstrip())
    return record.text[at:json.JSONDecoder().raw_decode(record.text, at)[1]]


def bare(text):
    """Without blanks and newlines outside of strings."""
    return "".join(re.findall(r'"(?:[^"\\]|\\.)*"|[^\s"]+', text))


def json_faults(s, session, table):
    """Every character stays but for newlines outside of strings. The server is not asked: it reads no document that has \\u0000 in it."""
    landed = {r.value["data"]["id"]: raw(r) for r in s.records(table)}
    for i, was in session.execute(f"SELECT id, c::text FROM {table}").fetchall():
        now = landed.get(i, "nothing at all")
        if was and "[" * 600 in was and now.startswith('"'):
            now = json.loads(now)                # deeper than readers can be trusted with: as text
        if bare(now) != bare("null" if was is None else was):
            yield f"json: {was[:60]} landed as {now[:60]}"


def faults(s, session, tables):
    """Rows whose landed value is not read back as what they hold."""
    session.execute("SET timezone = 'UTC'; SET extra_float_digits = 1; DROP TABLE IF EXISTS line")
    load(session, (r for r in s.records() if tables.get(r.stream) != "json"))
    found = []
    for table, kind in tables.items():
        if kind == "json":
            found += json_faults(s, session, table)
            continue
        back = "decode(l.line->'data'->>'c', 'base64')" if kind == "bytea" else f"(json_populate_record(NULL::{table}, l.line->'data')).c"
        same = f"{back}::text IS NOT DISTINCT FROM t.c::text"
        if kind == "jsonb":                      # null is a value here
            same = "CASE WHEN t.c IS NULL THEN json_typeof(l.line->'data'->'c') = 'null' ELSE (l.line->'data'->'c')::jsonb = t.c END"
        elif kind == "hstore":                   # an object, which its own type does not read
            same = "(l.line->'data'->'c')::jsonb IS NOT DISTINCT FROM coalesce(to_jsonb(t.c), 'null')"
        try:
            rows = session.execute(f"SELECT t.id, left(t.c::text, 60), left((l.line->'data'->'c')::text, 60), coalesce({same}, false), l.line IS NOT NULL FROM {table} t LEFT JOIN line l "
                                   f"ON l.line->>'stream' = '{table}' AND (l.line->'data'->>'id')::int = t.id").fetchall()
        except psycopg.Error as e:
            found.append(f"{kind}: cannot be read back: {e}")
            continue
        found += [f"{kind}: {was} landed as {now if landed else 'nothing at all'}" for _, was, now, ok, landed in rows if not ok]
        count = session.execute(f"SELECT count(*) - (SELECT count(*) FROM {table}) FROM line WHERE line->>'stream' = '{table}'").fetchone()[0]
        if count:
            found.append(f"{kind}: {count} records too many")
    return found


def stream(table, **more):
    return {"table": table, "mode": "incremental", "key": ["id"], **more}


def test_every_type_is_read_back_as_it_was():
    with shop({"x": stream("x")}, *MAKE) as s:
        with s.session() as session:
            tables = added(session, nasty(session))
            s.options["streams"] = {t: stream(t) for t in tables}
            s.change()
            s.pull()
            case.equal(faults(s, session, tables)[:12], [])
        case.equal(s.pull(), [])


def test_every_type_in_one_table_and_by_snapshot():
    with shop({"wide": stream("wide"), "whole": {"table": "wide", "mode": "snapshot"}}, *MAKE) as s:
        with s.session() as session:
            session.execute("CREATE TABLE wide (id int PRIMARY KEY, " + ", ".join(f"c{n} {kind}" for n, kind in enumerate(TYPES)) + ")")
            session.execute("INSERT INTO wide VALUES (1, " + ", ".join(values[0] for values in TYPES.values()) + ")")
            session.execute("INSERT INTO wide (id) VALUES (2)")
            s.pull()
            for name in ("wide", "whole"):
                case.equal(len(s.records(name)), 2)
                for r in s.records(name):
                    case.equal(list(r.value["data"]), ["id", *(f"c{n}" for n in range(len(TYPES)))], "every key, in order")
            nothing = [r.value["data"] for r in s.records("wide") if r.value["data"]["id"] == 2][0]
            case.equal({v for k, v in nothing.items() if k != "id"}, {None})
            session.execute("SET timezone = 'UTC'")
            load(session, s.records("wide"))
            for n, kind in enumerate(TYPES):
                if kind not in ("bytea", "json"):
                    ok = session.execute(f"SELECT (json_populate_record(NULL::wide, line->'data')).c{n}::text = w.c{n}::text FROM line JOIN wide w ON w.id = (line->'data'->>'id')::int WHERE w.id = 1").fetchone()
                    case.equal((kind, ok[0]), (kind, True))


def text_of(s, name, i=0):
    record, = [r for r in s.records(name) if r.value["data"]["id"] == i]
    return raw(record)


def test_numbers_keep_their_digits_in_the_line():
    make = ["CREATE TABLE n (id int PRIMARY KEY, c numeric)", "INSERT INTO n VALUES (0, 1.10), (1, 12345678901234567890.000), (2, 'NaN'), (3, 0.00), (4, 1e-20), (5, 1e30)",
            "CREATE TABLE f (id int PRIMARY KEY, c float8)", "INSERT INTO f VALUES (0, 0.1), (1, 1e100), (2, '-Infinity'), (3, 5e-324)",
            "CREATE TABLE r (id int PRIMARY KEY, c float4)", "INSERT INTO r VALUES (0, 1.1), (1, 3.4028235e38)",
            "CREATE TABLE b (id int PRIMARY KEY, c bigint)", "INSERT INTO b VALUES (0, 9223372036854775807)"]
    with shop({t: stream(t) for t in "nfrb"}, *make) as s:
        s.pull()
        for t, texts in (("n", ["1.10", "12345678901234567890.000", '"NaN"', "0.00", "0.00000000000000000001", "1" + "0" * 30]), ("b", ["9223372036854775807"])):
            for i, want in enumerate(texts):
                case.equal(text_of(s, t, i), want, t)
        for i, want in enumerate((0.1, 1e100)):
            case.equal(float(text_of(s, "f", i)), want)
        case.equal((text_of(s, "f", 2), text_of(s, "f", 0), text_of(s, "r", 0)), ('"-Infinity"', "0.1", "1.1"), "shortest digits")


def test_json_is_embedded_and_lines_stay_lines():
    make = ["CREATE TABLE j (id int PRIMARY KEY, c json)", "INSERT INTO j VALUES (0, E'{\\n \"a\" : 1.10,\\n \"a\": \"x\\\\ny\" }')", "CREATE TABLE b (id int PRIMARY KEY, c jsonb)",
            "INSERT INTO b VALUES (0, '{\"z\": 1.10}')"]
    with shop({"j": stream("j"), "b": stream("b")}, *make) as s:
        s.pull()
        case.equal(len(s.records("j")), 1)
        text = text_of(s, "j")
        case.true("1.10" in text and text.count('"a"') == 2 and "\\n" in text, text)
        case.true("1.10" in text_of(s, "b"), text_of(s, "b"))


def test_written_otherwise_where_asked_for():
    make = ["CREATE TABLE t (id bigint PRIMARY KEY, n numeric, b bigint, j json, y bytea)", r'''INSERT INTO t VALUES (1, 1.10, 9007199254740993, '{"a": 1.10}', '\x00ff')''']
    with shop({"t": stream("t")}, *make, numeric_as="string", bigint_as="string", json_as="string", bytea_as="hex") as s:
        data = only(s.pull())["data"]
        case.equal((data["n"], data["b"], data["j"], data["y"]), ("1.10", "9007199254740993", '{"a": 1.10}', "\\x00ff"))
    with shop({"t": stream("t")}, *make) as s:
        data = only(s.pull())["data"]
        case.equal((data["b"], base64.b64decode(data["y"])), (9007199254740993, b"\x00\xff"))


def test_empty_texts_are_not_null():
    with shop({"t": stream("t")}, "CREATE TABLE t (id int PRIMARY KEY, a text, b text)", "INSERT INTO t VALUES (1, '', NULL), (2, NULL, '')") as s:
        case.equal(sorted((r.value["data"] for r in s.pull()), key=lambda d: d["id"]), [{"id": 1, "a": "", "b": None}, {"id": 2, "a": None, "b": ""}])


def test_values_that_are_too_large_are_left_out_and_named():
    with shop({"t": stream("t")}, "CREATE TABLE t (id int PRIMARY KEY, a text, b bytea, c text)", max_row="1MiB", every="300ms") as s:
        s.sql("INSERT INTO t VALUES (1, 'small', '\\x00', 'x'), (2, repeat('a', 3000000), '\\x00', 'kept'), (3, 'ok', decode(repeat('00', 2000000), 'hex'), repeat('c', 1500000)), (4, repeat('d', 900000), NULL, '')")
        s.start()
        s.lands(4)
        s.opens("postgres_row_too_big", stream="t")
        s.server.stop()
        found = {r.value["data"]["id"]: r.value for r in s.records()}
        case.equal((found[1].get("omitted"), found[4].get("omitted")), (None, None))
        case.equal((found[2]["data"]["a"], found[2]["data"]["c"], found[2]["omitted"]), (None, "kept", {"a": 3000000}))
        case.equal(set(found[3]["omitted"]), {"b", "c"})
        case.equal(len(found[4]["data"]["a"]), 900000)
        case.equal(s.pull(), [], "and lands once")


def test_rows_of_many_megabytes():
    with shop({"t": stream("t")}, "CREATE TABLE t (id int PRIMARY KEY, a text)") as s:
        s.sql("INSERT INTO t SELECT n, repeat(md5(n::text), 32768 * n) FROM generate_series(1, 12) n")
        case.equal(ids(s.pull()), list(range(1, 13)))
        for r in s.records():
            case.equal(len(r.value["data"]["a"]), 32 * 32768 * r.value["data"]["id"])


def test_a_database_of_another_encoding():
    with shop({"t": stream("t")}) as s:
        name = s.db + "_latin"
        s.primary.rows(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
        with s.primary.session(name) as session:
            session.execute("CREATE TABLE t (id int PRIMARY KEY, a text); GRANT SELECT ON t TO millrace")
            session.execute("INSERT INTO t VALUES (1, 'gr\u00fc\u00dfe')")
        s.change(dsn=s.primary.dsn(name, password=None))
        case.equal(only(s.pull())["data"]["a"], "gr\u00fc\u00dfe")


def test_bytes_that_are_no_text_in_a_database_that_checks_nothing():
    """No line of JSON can hold them, and they are not left out in silence."""
    with shop({"t": stream("t"), "named": stream("t", columns=["id"])}) as s:
        name = s.db + "_ascii"
        s.primary.rows(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
        with s.primary.session(name) as session:
            session.execute("CREATE TABLE t (id int PRIMARY KEY, a text); GRANT SELECT ON t TO millrace")
            session.execute("INSERT INTO t VALUES (1, convert_from('\\xff41'::bytea, 'SQL_ASCII')), (2, 'plain')")
        s.change(dsn=s.primary.dsn(name, password=None))
        s.pull(code=1)
        case.equal(ids(s.records("named")), [1, 2])
        case.true("encoding" in s.server.log() and s.records("t") == [], "it says what it cannot read")


if __name__ == "__main__":
    replica.ensure()
    case.main(globals())
