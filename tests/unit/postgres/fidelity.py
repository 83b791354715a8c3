#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL's types as JSON, and back. A real server sends what our select list asks for, our code makes JSON of it, and the same server, given the JSON and
the column's type, must read back the identical value: same text and, but for composites, same image (record_image_eq: scales, signs of zeros, bounds).

usage: fidelity.py LANDS [ONLY …]
"""
import atexit
import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
import case  # noqa: E402
from postgres import PASSWORD, Postgres  # noqa: E402

LANDS = sys.argv[1]
sys.argv[1:2] = []
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randint(1, 10 ** 6)
RNG = random.Random(SEED)
SESSION = ["timezone=UTC", "datestyle=ISO", "intervalstyle=iso_8601", "extra_float_digits=1", "bytea_output=hex", "search_path=pg_catalog", "client_encoding=UTF8"]
NULL = b"\1"
made = []


def server():
    if not made:
        print(f"SEED={SEED}", flush=True)
        made.append(Postgres())
        atexit.register(made[0].stop)
    return made[0]


def psql(sql, user="postgres", session=SESSION, more=(), check=True):
    """Bytes. The statements lie in a file: they may be longer than an argument."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql", encoding="utf-8") as f:
        f.write(sql if isinstance(sql, str) else sql.decode())
        f.flush()
        done = subprocess.run(["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", *more, "-h", "127.0.0.1", "-p", str(server().port), "-U", user, "-d", "postgres", "-f", f.name],
                              capture_output=True, env={**os.environ, "PGPASSWORD": PASSWORD, "PGOPTIONS": " ".join(f"-c {s}" for s in session)})
    if check and done.returncode:
        raise AssertionError(f"psql: {done.stderr.decode()[-3000:]}\nof: {str(sql)[:3000]}")
    return done.stdout if check else (done.returncode, done.stderr.decode())


def cells(sql, **more):
    """Each cell with a NUL behind it; NULL is \\1."""
    return psql(sql, more=["-z", "-0", "-P", "null=\1"], **more)


def rows(sql):
    text = cells(sql)
    return text.split(b"\0")[:-1] if text else []


def lands(*args, ok=0, **more):
    done = subprocess.run([LANDS, *[str(a) for a in args]], capture_output=True, timeout=600, env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}, **more)
    case.equal((done.returncode, done.stderr.decode()[-2000:] if ok == 0 else ""), (ok, ""), f"lands {args[0]}")
    return done.stdout


def kept(data):
    f = tempfile.NamedTemporaryFile(delete=False)
    f.write(data)
    f.close()
    atexit.register(os.unlink, f.name)
    return f.name


def literal(text):
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def ident(name):
    return '"' + name.replace('"', '""') + '"'


class Landed:
    """A relation's rows, as ours would land them. The rows come in the order of the first column."""

    def __init__(self, relation, style="-", max_row=0, source=None, described=None, user="postgres", lead=""):
        self.cells = kept(described or cells(lands("describe", f"{literal(relation)}::pg_catalog.regclass"), user=user))
        self.select = lands("select", self.cells, style, max_row, "r").decode()
        self.copy = psql(f"COPY (SELECT {lead}{self.select} FROM {source or relation} r ORDER BY 1) TO STDOUT (FORMAT binary)", user=user)
        self.copied = kept(self.copy)
        words = lands("rows", self.cells, style, max_row, lead.count(","), self.copied).split(b"\0")[:-1]
        self.names = self.columns()
        width = len(self.names) + 2
        case.equal(len(words) % width, 0, "words come by rows")
        self.objects = [words[i] for i in range(0, len(words), width)]
        self.values = [words[i + 1:i + width - 1] for i in range(0, len(words), width)]
        self.omitted = [words[i + width - 1] for i in range(0, len(words), width)]
        for text, values in zip(self.objects, self.values):
            self.is_whole(text, values)

    def columns(self):
        raw = open(self.cells, "rb").read().split(b"\0")[:-1]
        case.equal(len(raw) % 13, 0, "13 cells a column")
        self.types = [raw[i + 1].decode() for i in range(0, len(raw), 13) if raw[i + 8] == b"t"]
        return [raw[i].decode() for i in range(0, len(raw), 13) if raw[i + 8] == b"t"]

    def is_whole(self, text, values):
        """One line of JSON: Python's parser finds the columns by their names and in their order, and the values are the slices that were told."""
        want = b"{" + b",".join(json.dumps(n, ensure_ascii=False).encode() + b":" + v for n, v in zip(self.names, values)) + b"}"
        case.equal(b"\n" in text or b"\r" in text, False, "a line")
        sys.set_int_max_str_digits(0)
        got = json.loads(text, object_pairs_hook=lambda pairs: pairs, parse_int=str, parse_float=str)
        case.equal([k for k, _ in got], self.names, "keys")
        if not any(c in n for n in self.names for c in "\x7f\u2028"):
            case.equal(text, want, "object")

    def column(self, name):
        at = self.names.index(name)
        return [v[at] for v in self.values]


def copied_in(table, records):
    """Rows into a table, by COPY's text format."""
    esc = lambda v: "\\N" if v is None else v.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")  # noqa: E731
    psql(f"COPY {table} FROM STDIN;\n" + "".join("\t".join(esc(v) for v in r) + "\n" for r in records) + "\\.\n", session=["search_path=public"])


BACK = {  # how a value is read, where it is not '…'::type of the JSON string or number
    "bytea": "pg_catalog.decode(x.raw::json #>> '{}', 'base64')",
    "jsonb": "x.raw::jsonb",
    "jsonb[]": "CASE json_typeof(x.raw::json) WHEN 'array' THEN (SELECT coalesce(array_agg(CASE WHEN e::text <> 'null' THEN e::jsonb END), '{}') FROM json_array_elements(x.raw::json) e) "
               "ELSE (x.raw::json #>> '{}')::jsonb[] END",
    "public.hstore": "(SELECT coalesce(public.hstore(array_agg(key), array_agg(value)), ''::public.hstore) FROM json_each_text(x.raw::json))",
    "public.hstore[]": "(SELECT array_agg((SELECT public.hstore(array_agg(key), array_agg(value)) FROM json_each_text(e))) FROM json_array_elements(x.raw::json) e)",
}


def populated(relation, name):
    """By the type's input function; arrays and composites from JSON's."""
    return f"(json_populate_record(NULL::{relation}, ('{{' || to_json({literal(name)}::text) || ':' || x.raw || '}}')::json)).{ident(name)}"


def check(relation, landed, binary="base64"):
    """The server reads each value back. relation's first column is n bigint, its others may have any names."""
    psql("DROP TABLE IF EXISTS public.landed; CREATE UNLOGGED TABLE public.landed(n bigint, c int, raw text)")
    number = [int(v[0].strip(b'"')) for v in landed.values]
    case.equal(len(number), int(psql(f"SELECT count(*) FROM {relation}")), "rows")
    copied_in("landed", [(str(n), str(c), raw.decode()) for n, values in zip(number, landed.values) for c, raw in enumerate(values)])
    psql("CREATE INDEX ON public.landed(c, n); ANALYZE public.landed")
    kinds = rows("SELECT format('%s%s', b.typtype, b.typcategory) FROM (VALUES " + ", ".join(f"({c}, {literal(t)}::regtype)" for c, t in enumerate(landed.types)) +
                 ") v(c, t) JOIN pg_type d ON d.oid = v.t JOIN pg_type b ON b.oid = CASE d.typtype WHEN 'd' THEN d.typbasetype ELSE d.oid END ORDER BY v.c")
    wrong, asked = [], []
    for c, (name, declared, kind) in enumerate(zip(landed.names, landed.types, kinds)):
        if declared == "json":
            wrong += json_differs(relation, name, landed)
        else:
            asked.append(reading(relation, c, name, declared, kind.decode(), binary))
    got = rows(";\n".join(asked))
    wrong += [(landed.names[int(got[i])], landed.types[int(got[i])], [v[:300] for v in got[i + 1:i + 5]]) for i in range(0, len(got), 5)]
    case.equal(wrong, [], f"{relation}: read back otherwise")


def reading(relation, c, name, declared, kind, binary):
    """The statement that finds values of a column that are read back otherwise."""
    column = f"t.{ident(name)}"
    plain = re.sub(r"\(\d+(,\d+)?\)", "", declared)
    null = f"NOT (x.raw = 'null' AND ({column} IS NULL OR {column}::text = 'null')) AND " if plain == "jsonb" else ""
    if plain in BACK and not (plain == "bytea" and binary == "hex"):
        back = BACK[plain]
    elif kind[0] in "cp" or (kind[1] == "A" and plain not in ("int2vector", "oidvector")):
        back = f"CASE json_typeof(x.raw::json) WHEN 'string' THEN (x.raw::json #>> '{{}}')::{declared} ELSE {populated(relation, name)} END"
    else:
        back = populated(relation, name)
    if not null:
        back = f"CASE WHEN x.raw <> 'null' THEN {back} END"
    image = "" if kind[0] in "cp" or "composite" in plain else f" AND record_image_eq(ROW({column}), ROW(b.v::{declared}))"
    return (f"(SELECT {c}, t.n, {column}::text, b.v::text, x.raw FROM {relation} t JOIN public.landed x ON x.n = t.n AND x.c = {c} CROSS JOIN LATERAL (SELECT {back} AS v OFFSET 0) b "
            f"WHERE {null}NOT (({column} IS NULL) = (b.v IS NULL) AND {column}::text IS NOT DISTINCT FROM b.v::text{image}) LIMIT 2)")


TOKEN = re.compile(rb'"(?:\\.|[^"\\])*"|[^\s"]+', re.S)


def json_differs(relation, name, landed):
    """json keeps its text: what landed must have the same tokens, or be NULL."""
    found = []
    for want, got in zip(rows(f"SELECT {ident(name)} FROM {relation} ORDER BY n"), landed.column(name)):
        tokens = b"null" if want == NULL else b"".join(TOKEN.findall(want))
        if tokens != got and json.loads(got) != want.decode():
            found.append((name, "json", want[:100], got[:100]))
    return found


def table(name, columns):
    """columns: {name: (type, [SQL expressions])}; row n has the n-th of each, over and over; row 0 is NULL throughout."""
    count = max(len(v) for _, v in columns.values())
    psql(f"DROP TABLE IF EXISTS {name} CASCADE; CREATE TABLE {name}(n bigint, " + ", ".join(f"{ident(c)} {t}" for c, (t, _) in columns.items()) + ")")
    lines = [f"INSERT INTO {name} VALUES (0" + ", NULL" * len(columns) + ");"]
    lines += [f"INSERT INTO {name} VALUES ({n + 1}, " + ", ".join(v[n % len(v)] for _, v in columns.values()) + ");" for n in range(count)]
    psql("BEGIN;\n" + "\n".join(lines) + "\nCOMMIT;", session=["search_path=public", "timezone=UTC"])
    return name


def q(*texts):
    return [literal(t) for t in texts]


SCALARS = {
    "bool": q("t", "f"),
    "int2": q("0", "1", "-1", "32767", "-32768"),
    "int4": q("0", "9", "10", "99", "100", "-2147483648", "2147483647"),
    "int8": q("0", "-9223372036854775808", "9223372036854775807", "9007199254740993", "4294967295", "4294967296", "-10000000000"),
    "oid": q("0", "4294967295"),
    "xid": q("3", "4294967295"),
    "cid": q("0", "7"),
    "xid8": q("0", "18446744073709551615", "9223372036854775808"),
    "tid": q("(0,1)", "(4294967295,65535)"),
    "float4": q("0", "-0", "1", "0.1", "NaN", "Infinity", "-Infinity", "1e-45", "3.4028235e38", "1.17549435e-38", "16777216", "33554430", "123456", "1234567", "1e6", "0.0001", "0.00001", "8388608.5",
                "0.5", "1e10", "9.999999e9", "0.3333333"),
    "float8": q("0", "-0", "1", "0.1", "NaN", "Infinity", "-Infinity", "5e-324", "2.2250738585072014e-308", "2.225073858507201e-308", "1.7976931348623157e308", "9007199254740993", "1e15", "1e14",
                "123456789012345680", "999999999999999.9", "0.0001", "0.00001", "0.3", "0.30000000000000004", "1e22", "1e23", "5e-8", "9.5367431640625e-07", "4503599627370496.5", "0.1e-7",
                "299792458.0000001", "-1.5", "2.5", "1e-8", "1.0000000000000002", "144115188075855870"),
    "numeric": q("0", "0.00", "1.10", "-1.10", "NaN", "Infinity", "-Infinity", "10000", "9999", "10000.0001", "0.0001", "0.00001", "100000000", "1e100", "1e-100", "12345678901234567890.123456789",
                 "-0.5", "1.000000000000000000000000000000", "0.1e-16382", "9" * 131072, "1" + "0" * 131071, "0." + "1" * 16383, "9" * 1000 + "." + "8" * 1000) + ["1e5000::numeric * 3", "(1 / 3.0)"],
    "numeric(10,2)": q("1.1", "99999999.99", "-0.01", "NaN"),
    "money": q("0", "1.23", "-92233720368547758.08", "92233720368547758.07"),
    "text": q("", " ", "a", "null", "NULL", '"', "\\", "\\N", "a\nb\r\n\tc", "\x01\x1f\x7f", "é", "日本語", "🐯", "\u2028\u2029\ufeff\uffff", "{}", "[1]", "'", "e\u0301") + ["repeat('x', 1048576)", "repeat(E'\\n\"é', 300000)"],
    "varchar": q("", "abc"), "varchar(5)": q("abcde", "ab   "), "char(5)": q("ab", "", "日本"), "name": q("", "a" * 63), "\"char\"": q("", "a", '"', "\\", "\x01", "\t") + ["127::\"char\""],
    "bytea": q("", "\\x00", "\\x00ff10", "\\xdeadbeef", "\\x0a0d") + ["decode(repeat('00ff', 100000), 'hex')"],
    "date": q("2026-11-22", "2000-01-01", "2000-02-29", "1999-12-31", "1900-03-01", "0001-01-01", "0001-12-31 BC", "0044-03-15 BC", "4714-11-24 BC", "4713-01-01 BC", "9999-12-31", "10000-01-01", "5874897-12-31",
              "infinity", "-infinity", "0005-02-29 BC", "0004-02-29", "1970-01-01"),
    "time": q("00:00:00", "24:00:00", "23:59:59.999999", "12:34:56.5", "12:34:56.000001"),
    "timetz": q("00:00:00+00", "24:00:00-15:59:59", "12:34:56.123456+14", "23:59:60+02:30"),
    "timestamp": q("2026-11-22 21:25:22.123456", "2026-11-22 21:25:22", "infinity", "-infinity", "294276-12-31 23:59:59.999999", "4714-11-24 00:00:00 BC", "0044-03-15 23:59:59.999999 BC", "10000-01-01 00:00:00",
                   "2000-01-01 00:00:00", "1999-12-31 23:59:59.999999", "0001-01-01 00:00:00", "0001-12-31 23:59:59.999999 BC", "1969-12-31 23:59:59.5"),
    "timestamptz": q("2026-11-22 21:25:22.123456+00", "2026-11-22 21:25:22+13:45", "infinity", "-infinity", "294276-12-31 23:59:59.999999+00", "4714-11-24 00:00:00+00 BC", "0044-03-15 23:59:59.999999+00 BC",
                     "10000-01-01 00:00:00+00", "2000-01-01 00:00:00+00", "1883-11-18 12:03:57+00"),
    "interval": q("0", "1 year 2 mons 3 days 04:05:06.789", "-1 year +2 mons -3 days +04:05:06.7", "-0.000001 s", "178000000 years", "-178000000 years", "2147483647 days", "-2147483648 days", "2562047788:00:54.775807",
                  "0.000001 s", "-00:00:00.1", "1 mon -1 day", "12:00"),
    "uuid": q("00000000-0000-0000-0000-000000000000", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
    "json": q("null", "1", '"a"', ' { "b" : 1 ,\n "a" : [ 1.10 , 1e400, true ],\n"b":2, "n": null } ', '"\\u0000"', '"\\ud83d\\ude00 \\n \\" \\\\"', "[]", "{}", '{"a\\nb": "x  y"}', '[[ [ ] ]]', "1.0", "-0", "1E5", "\t[1,\r\n2]\n") +
            ["(repeat('[', 600) || repeat(']', 600))::json", "(repeat('[', 512) || repeat(']', 512))::json", "json_build_object('t', repeat('x', 1000000))"],
    "jsonb": q("null", "1", '"a"', '{"b": 1, "a": [1.10, 1e400, true], "n": null}', "[]", "{}", '"\\n\\"\\\\é🐯"', "1.00000000000000000000000001", '[null, {"x": []}]', "-0.0") + ["(repeat('[', 512) || repeat(']', 512))::jsonb"],
    "xml": q("<a/>", '<?xml version="1.0"?><a>é</a>', "text", "<a>\n</a>"),
    "inet": q("127.0.0.1", "10.0.0.0/8", "::1", "fe80::1/64", "192.168.1.1/24"), "cidr": q("10.0.0.0/8", "::/0"), "macaddr": q("08:00:2b:01:02:03"), "macaddr8": q("08:00:2b:01:02:03:04:05"),
    "bit(5)": q("00000", "10101"), "varbit": q("", "1", "010101010101010101"), "tsvector": q("", "'a':1 'b':2A,3", "'it''s'"), "tsquery": q("", "'a' & !'b' <-> 'c'"),
    "point": q("(1,2)", "(NaN,Infinity)", "(0.1,-0)"), "line": q("{1,2,3}"), "lseg": q("[(1,2),(3,4)]"), "box": q("(3,4),(1,2)"), "path": q("[(1,2),(3,4)]", "((1,2),(3,4))"), "polygon": q("((1,2),(3,4),(5,6))"),
    "circle": q("<(1,2),3>"),
    "pg_lsn": q("0/0", "FFFFFFFF/FFFFFFFF"), "pg_snapshot": q("10:20:10,14,15"), "txid_snapshot": q("10:20:10,14"), "jsonpath": q('$."a"[*] ? (@ > 1)'),
    "regclass": q("pg_class", "public.\"Odd \"\"name\"", "-"), "regtype": q("int4", "numeric[]"), "regproc": q("now"), "regprocedure": q("now()", "abs(int4)"), "regrole": q("postgres"), "regnamespace": q("public"),
    "regoper": q("||/"), "regoperator": q("+(int4,int4)"), "regconfig": q("simple"), "regdictionary": q("simple"), "regcollation": q('"C"'), "refcursor": q("c"),
    "int2vector": q("1 2 3", ""), "oidvector": q("1 2"), "aclitem": q("postgres=r/postgres"),
    "int4range": q("empty", "[1,5)", "(,)", "[,5)"), "int8range": q("[1,9223372036854775807)"), "numrange": q("[1.10,2.5]", "(NaN,)", "[-Infinity,0)"), "tsrange": q("[2026-01-01,infinity)", '["0044-03-15 BC",)'),
    "tstzrange": q("[2026-01-01,2027-01-01)"), "daterange": q("[2026-01-01,2026-02-01)"), "int4multirange": q("{}", "{[1,2),[3,4)}"), "nummultirange": q("{[1.10,2]}"), "datemultirange": q("{[2026-01-01,infinity)}"),
}
NO_ARRAY = {"int2vector", "oidvector", "json", "jsonb", "\"char\"", "pg_snapshot", "txid_snapshot", "varchar(5)", "char(5)", "numeric(10,2)", "bit(5)"}
BIG = 3000


def test_every_type_is_read_back_identical():
    psql('DROP TABLE IF EXISTS public."Odd ""name"; CREATE TABLE public."Odd ""name"(a int)')
    for style, binary in (("-", "base64"), ("nbh", "hex")):
        name = table("public.every", {t: (t, v) for t, v in SCALARS.items()})
        check(name, Landed(name, style), binary)


def test_json_as_strings_keeps_its_text_and_tells_null_from_null():
    name = table("public.texts", {"j": ("json", SCALARS["json"]), "b": ("jsonb", SCALARS["jsonb"]), "a": ("jsonb[]", q("{null,\"1\",NULL,\"{\\\\\"a\\\\\": null}\"}".replace("\\\\", "\\"), "{}"))})
    landed = Landed(name, "j")
    for column in ("j", "b"):
        want = [None if w == NULL else w.decode() for w in rows(f"SELECT {column} FROM {name} ORDER BY n")]
        case.equal([json.loads(v) for v in landed.column(column)], want)
    case.equal(json.loads(landed.column("a")[1])[1:3], ["1", None])


def array_values(declared, values):
    """Empty, one, all, with NULL, with two dimensions, with other bounds, three dimensions."""
    small = [v for v in values if len(v) < BIG and "repeat" not in v] or values[:1]
    element = declared.split("(")[0] if "(" in declared else declared
    one = lambda v: f"{v}::{element}"  # noqa: E731
    yield f"'{{}}'::{element}[]"
    yield f"ARRAY[{one(small[0])}]"
    yield f"ARRAY[{', '.join(one(v) for v in small)}]"
    yield f"ARRAY[NULL, {one(small[-1])}, NULL]"
    yield f"ARRAY[[{one(small[0])}, NULL], [{one(small[-1])}, {one(small[0])}]]"
    yield f"array_fill({one(small[0])}, ARRAY[2], ARRAY[0])"
    yield f"array_fill({one(small[-1])}, ARRAY[2, 2], ARRAY[1, -3])"
    yield f"array_fill({one(small[-1])}, ARRAY[1, 2, 2])"
    yield f"ARRAY[NULL]::{element}[]"


def test_arrays_of_every_type_are_read_back_identical():
    columns = {f"{t}[]": (f"{t}[]", list(array_values(t, v))) for t, v in SCALARS.items() if t not in NO_ARRAY}
    for style in ("-", "nbh"):
        name = table("public.arrays", columns)
        landed = Landed(name, style)
        check(name, landed)
    case.equal(landed.column("int8[]")[1:3], [b"[]", b'["0"]'])
    case.equal(json.loads(landed.column("int4[]")[6]), "[0:1]={0,0}")


def test_arrays_of_json_with_json_s_null():
    values = q('{"1","[1, 2]","{\\"a\\": null}",NULL}', '{"null","1",NULL}', "{NULL}", '{"null"}', "{}", '{{"1","2"},{"3","4"}}', '[0:0]={"1"}', '{"[1]","[[2]]"}', '{" null "}')
    name = table("public.jsons", {"b": ("jsonb[]", values)})
    landed = Landed(name)
    check(name, landed)
    case.equal(landed.column("b")[1], b'[1,[1,2],{"a":null},null]')
    case.equal(json.loads(landed.column("b")[2]), '{"null",1,NULL}')
    name = table("public.jsons", {"j": ("json[]", values)})
    landed = Landed(name)
    case.equal(landed.column("j")[1], b'[1,[1,2],{"a":null},null]')
    case.equal([json.loads(landed.column("j")[i]) for i in (2, 4, 9)], ['{"null",1,NULL}', '{"null"}', '{" null "}'])
    case.equal([landed.column("j")[i] for i in (3, 5)], [b"[null]", b"[]"])


def test_composites_domains_enums_and_what_is_made_of_them():
    psql("""DROP SCHEMA IF EXISTS "S ""x" CASCADE; CREATE SCHEMA "S ""x"; SET search_path = "S ""x", pg_catalog;
    CREATE TYPE mood AS ENUM ('sad', 'o''k', 'ha"ppy', 'new
line', '{a,b}', '');
    CREATE TYPE inner_composite AS (a int, "B b" text, f float8[], t timestamptz, n numeric, by bytea, j json, e mood);
    CREATE TYPE outer_composite AS (i inner_composite, l inner_composite[], "select" int[], r int4range);
    CREATE DOMAIN positive AS int CHECK (value > 0);
    CREATE DOMAIN deeper AS positive;
    CREATE DOMAIN words AS text[];
    CREATE DOMAIN whole_composite AS inner_composite;
    CREATE DOMAIN amount AS numeric(10,3);
    CREATE DOMAIN big AS int8;
    CREATE DOMAIN vc AS varchar(10);
    CREATE TYPE textrange AS RANGE (subtype = text);
    """)
    s = '"S ""x".'
    inner = [f"ROW(1, {literal(t)}, ARRAY['NaN', 'Infinity', '-0', '1e-300', NULL]::float8[], {w}, {n}, '\\x00ff', {j}, {literal(e)})::{s}inner_composite" for t, w, n, j, e in
             [('a "q" ,(){} \\ \n', "'infinity'", "'NaN'", """'{"a":[1,2]}'""", "sad"), ("", "'0044-03-15 BC'", "1.10", "NULL", "new\nline"), ("null", "NULL", "1e50", "'null'", ""),
              ("]={", "'294276-12-31'", "0", """'  null  '""", "{a,b}")]]
    inner += [f"ROW(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)::{s}inner_composite", f"ROW(1, NULL, '[0:1]={{1,2}}', NULL, NULL, NULL, NULL, NULL)::{s}inner_composite"]
    columns = {
        "enum": (s + "mood", q("sad", "o'k", 'ha"ppy', "new\nline", "{a,b}", "")),
        "enum[]": (s + "mood[]", [f"ARRAY['sad', 'new\nline', NULL, '', '{{a,b}}']::{s}mood[]"]),
        "inner": (s + "inner_composite", inner),
        "inner[]": (s + "inner_composite[]", [f"ARRAY[{', '.join(inner[:2])}, NULL]", f"ARRAY[{', '.join(inner)}]", f"'{{}}'::{s}inner_composite[]", f"array_fill({inner[1]}, ARRAY[2], ARRAY[5])",
                                            f"ARRAY[[{inner[1]}], [{inner[1]}]]"]),
        "outer": (s + "outer_composite", [f"ROW({inner[0]}, ARRAY[{inner[1]}], '{{{{1}},{{2}}}}', '[1,5)')::{s}outer_composite", f"ROW(NULL, NULL, '[3:3]={{7}}', NULL)::{s}outer_composite",
                                         f"ROW({inner[2]}, ARRAY[{inner[3]}, NULL], NULL, 'empty')::{s}outer_composite"]),
        "domain": (s + "positive", q("1", "2147483647")), "domain of domain": (s + "deeper", q("7")), "domain of arrays": (s + "words", q("{a,NULL,\"b c\"}", "[2:3]={x,y}", "{}")),
        "domain of composites": (s + "whole_composite", inner), "amount": (s + "amount", q("1", "-0.125")), "big": (s + "big", q("9007199254740993")), "vc": (s + "vc", q("0123456789")),
        "arrays of domains": (s + "deeper[]", q("{1,2}", "{NULL}", "[0:0]={3}")), "arrays of big": (s + "big[]", q("{9007199254740993,NULL}")),
        "arrays of domains of arrays": (s + "words[]", q('{"{a,b}","{c}"}', "{NULL}")),
        "own range": (s + "textrange", q("[a,b)", '["a ""q"" ,","b)"]')), "own multirange": (s + "textmultirange", q("{[a,b)}")), "arrays of ranges": ("int4range[]", q('{"[1,2)",empty,NULL}')),
        "arrays of multiranges": ("int4multirange[]", q('{"{[1,2),[5,6)}"}')),
    }
    name = table("public.made_of", columns)
    for style in ("-", "nb"):
        landed = Landed(name, style)
        check(name, landed)
    case.equal(json.loads(landed.column("inner")[1])["f"], ["NaN", "Infinity", 0, 1e-300, None], "floats in arrays in composites")


def test_extensions_types():
    got = psql("SELECT name FROM pg_available_extensions WHERE name IN ('hstore', 'citext', 'ltree', 'cube', 'seg', 'isn')").decode().split()
    if "hstore" not in got:
        raise case.Skip("no extensions: deps/install-debian.sh test installs them")
    psql("".join(f"CREATE EXTENSION IF NOT EXISTS {e} SCHEMA public;" for e in got))
    values = {"hstore": q("", "a=>1, b=>NULL", '"q\\"\\n"=>"x => y", ""=>""', "a=>null"), "citext": q("AbC", ""), "ltree": q("a.b.c"), "lquery": q("a.*{1,2}"), "cube": q("(1,2),(3,4)", "(0.1)"), "seg": q("1.0 .. 2.50", "~5"),
              "isbn": q("0-306-40615-2")}
    have = {t: v for t, v in values.items() if psql(f"SELECT to_regtype('public.{t}') IS NOT NULL").decode().strip() == "t"}
    columns = {t: (f"public.{t}", v) for t, v in have.items()}
    columns |= {f"{t}[]": (f"public.{t}[]", [f"ARRAY[{', '.join(x + '::public.' + t for x in v if x != literal(''))}]"]) for t, v in have.items()}
    name = table("public.extended", columns)
    landed = Landed(name)
    check(name, landed)
    case.equal(json.loads(landed.column("hstore")[2]), {"a": "1", "b": None})


NAMES = ["id", "Id", "ID", "select", "user", "order", "a b", 'quo"te', "apo'strophe", "back\\slash", "new\nline", "tab\t", "é", "日本語", "🐯", "$1", "@", "a,b", "%s", "?column?", "oid_", " ", "x" * 63, "\x02", "r", "t", '"', "E'", "--", "/*",
         "{}", "null", "a.b", ";DROP TABLE x;"]


def test_any_name():
    name = table('public."Ta""ble\n@"', {c: ("text", q("v", "w")) for c in NAMES})
    for max_row in (0, 1000):
        landed = Landed(name, max_row=max_row)
        case.equal(landed.names, ["n", *NAMES])
        check(name, landed)
    # as a query's columns
    typed = rows(f"SELECT attname, atttypid, atttypmod FROM pg_attribute WHERE attrelid = {literal(name)}::regclass AND attnum > 0 ORDER BY attnum")
    by_query = Landed(name, described=cells(lands("result", kept(b"\0".join(typed) + b"\0"))), source=f"(SELECT * FROM {name})")
    case.equal(by_query.objects, Landed(name).objects)
    case.equal(cells(lands("result", kept(b""))), b"")


def test_columns_that_are_dropped_or_may_not_be_read():
    psql("""DROP TABLE IF EXISTS public.partly; DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN PASSWORD '""" + PASSWORD + """';
    CREATE TABLE public.partly(n bigint NOT NULL, a text, gone int, secret text, "Last" int NOT NULL); ALTER TABLE public.partly DROP COLUMN gone; INSERT INTO public.partly VALUES (1, 'x', 's', 2);
    GRANT SELECT (n, a, "Last") ON public.partly TO reader""")
    code, text = psql("TABLE public.partly", user="reader", check=False)
    case.true(code and "permission denied" in text, "the whole is refused")
    landed = Landed("public.partly", user="reader", max_row=100)
    case.equal(landed.objects, [b'{"n":1,"a":"x","Last":2}'])
    case.equal(lands("keep", landed.cells).split(b"\0")[:-1], [b"bigint 1 n", b"text 0 a", b"integer 1 Last"])
    case.equal(lands("keep", landed.cells, "Last", "n").split(b"\0")[:-1], [b"bigint 1 n", b"integer 1 Last"], "in table order")
    case.equal(lands("keep", landed.cells, "secret"), b'MR_EPERM: column secret may not be read: GRANT SELECT ("secret") ON \xe2\x80\xa6 TO \xe2\x80\xa6')
    case.equal(lands("keep", landed.cells, "last"), b"MR_ECONFIG: no column last; is Last meant?")
    case.equal(lands("keep", landed.cells, "n", "other"), b"MR_ECONFIG: no column other; there are: n, a, Last")
    twice = cells(lands("result", kept(b"\0".join([b"a", b"23", b"-1", b"b", b"25", b"-1", b"a", b"25", b"-1"]) + b"\0")))
    lands("keep", kept(twice), ok=1)


def test_the_stamp_changes_with_the_columns_and_only_then():
    psql("DROP TABLE IF EXISTS public.stamped; CREATE TABLE public.stamped(a int, b varchar(5), c date); CREATE ROLE stamp_reader LOGIN PASSWORD '" + PASSWORD + "'; GRANT SELECT (a) ON public.stamped TO stamp_reader")
    of = lambda user: psql(f"SELECT {lands('stamp', literal('public.stamped') + '::pg_catalog.regclass').decode()}", user=user)  # noqa: E731
    for user in ("postgres", "stamp_reader"):
        seen = [of(user)]
        for change in ("ADD COLUMN d int", "ALTER a TYPE bigint", "ALTER b TYPE varchar(6)", "ALTER c SET NOT NULL", "RENAME a TO \"A\"", "DROP COLUMN c"):
            psql(f"ALTER TABLE public.stamped {change}")
            seen.append(of(user))
        case.equal(len(set(seen)), len(seen), "each its own")
        psql("INSERT INTO public.stamped VALUES (1); ALTER TABLE public.stamped ALTER b SET DEFAULT 'x'; ANALYZE public.stamped; VACUUM FULL public.stamped")
        case.equal(of(user), seen[-1])
        psql("DROP TABLE public.stamped; CREATE TABLE public.stamped(a int, b varchar(5), c date); GRANT SELECT (a) ON public.stamped TO stamp_reader")
    before = of("stamp_reader")
    psql("GRANT SELECT (b) ON public.stamped TO stamp_reader")
    case.true(of("stamp_reader") != before, "a right")


def test_of_a_query_with_records():
    described = cells(lands("result", kept(b"\0".join([b"n", b"20", b"-1", b"r", b"2249", b"-1", b"rs", b"2287", b"-1", b"m", b"1700", b"-1", b"any", b"2277", b"-1"]) + b"\0")))
    landed = Landed("", described=described, source="(SELECT 1::bigint AS n, ROW(1, 'a', NULL) AS r, ARRAY[ROW(1, 2)] AS rs, 1.50::numeric AS m, most_common_vals AS any FROM pg_stats WHERE most_common_vals IS NOT NULL LIMIT 1)")
    case.equal(landed.column("r"), [b'{"f1":1,"f2":"a","f3":null}'])
    case.equal(landed.column("rs"), [b'[{"f1":1,"f2":2}]'])
    case.equal(landed.column("m"), [b"1.50"])
    case.true(json.loads(landed.column("any")[0]).startswith("{"), "an array of anything is a text")


def test_what_is_too_large_comes_as_null_with_its_length():
    columns = {"t": ("text", ["'x'", "repeat('x', 1000)", "repeat('x', 1001)", "repeat('é', 501)"]), "b": ("bytea", ["'\\x00'", "decode(repeat('00', 1001), 'hex')"]), "j": ("json", ["'1'", "to_json(repeat('x', 2000))"]),
               "jb": ("jsonb", ["'1'", "to_jsonb(repeat('x', 2000))"]), "a": ("int[]", ["'{1}'", "array_fill(7, ARRAY[1000])"]), "x": ("xml", ["'<a/>'", "('<a>' || repeat('x', 2000) || '</a>')::xml"]),
               "vc": ("varchar(250)", ["'x'", "repeat('🐯', 250)"]), "vd": ("varchar(251)", ["'x'"]), "num": ("numeric", ["'1'", "repeat('9', 3000)::numeric"]), "i": ("int", ["1"]), "r": ("int4multirange", ["'{}'"])}
    name = table("public.large", columns)
    landed = Landed(name, max_row=1000)
    truth = rows(f"SELECT octet_length(t), octet_length(b), octet_length(j::text), octet_length(jb::text), octet_length(to_json(a)::text), octet_length(x::text), octet_length(num::text) FROM {name} ORDER BY n")
    for row, (values, omitted) in enumerate(zip(landed.values, landed.omitted)):
        want = {}
        for i, c in enumerate(("t", "b", "j", "jb", "a", "x")):
            size = truth[row * 7 + i]
            if size != NULL and int(size) > 1000:
                want[c] = int(size)
                case.equal(values[landed.names.index(c)], b"null", f"row {row} {c}")
        got = json.loads(omitted) if omitted else {}
        if "num" in got:
            want["num"] = int(truth[row * 7 + 6])
        case.equal(got, want, f"row {row}")
    case.equal(sum(bool(o) for o in landed.omitted) >= 3, True)
    case.equal(landed.column("vc")[2], ('"' + "🐯" * 250 + '"').encode(), "a type that cannot be too large is not asked")
    check(name, Landed(name, max_row=10 ** 7))


def test_fields_of_ours_before_the_columns():
    name = table("public.led", {"a": ("int", ["1", "2"])})
    landed = Landed(name, lead="r.n, r.xmin, r.ctid, ")
    case.equal(landed.objects, Landed(name).objects)


def random_rows(count):
    text = lambda: "".join(RNG.choice(["a", "Z", "0", " ", "é", "日", "🐯", "\n", "\t", '"', "\\", "'", "{", "}", ",", "\x01", "null"]) for _ in range(RNG.randint(0, 20)))  # noqa: E731
    bits = lambda n: struct.unpack("<d" if n == 8 else "<f", RNG.randbytes(n))[0]  # noqa: E731
    number = lambda: ("-" if RNG.random() < 0.3 else "") + "".join(RNG.choice("0123456789") for _ in range(RNG.randint(1, 40))) + ("." + "".join(RNG.choice("00123456789") for _ in range(RNG.randint(1, 40))) if RNG.random() < 0.6 else "") + (f"e{RNG.randint(-60, 60)}" if RNG.random() < 0.2 else "")  # noqa: E731
    value = lambda depth=0: RNG.choice([None, True, 1, -2.5, 10 ** 30, text(), [], {}] + ([[value(depth + 1) for _ in range(3)], {text(): value(depth + 1)}] if depth < 3 else []))  # noqa: E731
    micro = lambda: RNG.choice([RNG.randint(-2 ** 57, 2 ** 62), RNG.randint(0, 10 ** 15), RNG.randint(0, 10 ** 9) * 10 ** 6])  # noqa: E731
    for n in range(1, count + 1):
        yield (str(n), str(RNG.randint(-2 ** 15, 2 ** 15 - 1) >> RNG.randint(0, 15)), str(RNG.randint(-2 ** 31, 2 ** 31 - 1) >> RNG.randint(0, 31)), str(RNG.randint(-2 ** 63, 2 ** 63 - 1) >> RNG.randint(0, 63)), repr(bits(4)), repr(bits(8)),
               repr(round(RNG.uniform(-1e6, 1e6), RNG.randint(0, 12))), number(), text(), "\\x" + RNG.randbytes(RNG.randint(0, 50)).hex(), str(micro()), str(RNG.randint(-2451000, 2145031948)), str(RNG.randint(0, 86400 * 10 ** 6)),
               json.dumps(value()).replace("\\u0000", ""), f"{RNG.randint(-10**6, 10**6)} mons {RNG.randint(-10**6, 10**6)} days {RNG.randint(-10**9, 10**9)}.{RNG.randint(0, 999999):06} secs",
               "{" + ",".join(RNG.choice(["NULL", repr(bits(8))]) for _ in range(RNG.randint(0, 5))) + "}", "".join(RNG.choice("01") for _ in range(RNG.randint(0, 70))))


def test_values_at_random():
    psql("""DROP TABLE IF EXISTS public.raw, public.random CASCADE;
    CREATE TABLE public.raw(n bigint, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, g8 float8, num numeric, t text, b bytea, us int8, d int, tm int8, j jsonb, iv interval, fa float8[], vb varbit)""")
    copied_in("raw", random_rows(4000))
    psql("""CREATE TABLE public.random AS SELECT n, i2, i4, i8, f4, f8, g8, num, t, b, timestamp '2000-01-01' + us * interval '1 microsecond' AS ts, timestamptz '2000-01-01 00:00:00+00' + us * interval '1 microsecond' AS tz,
    date '2000-01-01' + d AS d, time '00:00' + tm * interval '1 microsecond' AS tm, j, j::text::json AS js, iv, fa, vb, ARRAY[num, NULL] AS na, ARRAY[t] AS ta, f8::text AS f8_text, f4::text AS f4_text, g8::text AS g8_text FROM public.raw""")
    landed = Landed("public.random")
    check("public.random", landed)
    for c in ("f8", "f4", "g8"):
        for got, text in zip(landed.column(c), landed.column(c + "_text")):
            if got.startswith(b'"') or got == b"-0.0" or abs(float(got)) >= 2 ** (24 if c == "f4" else 53):
                continue
            case.equal(got, text.strip(b'"'), "as the server's own shortest text")


def test_floats_have_the_server_s_digits():
    """A quarter of a million of them: all exponents, near powers of ten and of two, few digits, many digits."""
    doubles = [struct.unpack("<d", RNG.randbytes(8))[0] for _ in range(60000)] + [RNG.uniform(-1, 1) * 10 ** RNG.randint(-9, 16) for _ in range(60000)] + [round(RNG.uniform(-1, 1) * 10 ** RNG.randint(0, 10), RNG.randint(0, 8)) for _ in range(40000)]
    doubles += [float(f"{RNG.choice([1, 9, 99999, 123])}e{RNG.randint(-30, 30)}") for _ in range(5000)] + [2.0 ** e * (1 + k * 2.0 ** -52) for e in range(-60, 70) for k in range(-4, 5)] + [RNG.randint(2 ** 52, 2 ** 60) * 2.0 ** -RNG.randint(0, 70) for _ in range(20000)]
    doubles = [v for v in doubles if v == v and abs(v) != float("inf") and v]
    got = lands("float8", input=struct.pack(f"={len(doubles)}d", *doubles)).decode().split("\n")[:-1]
    psql("DROP TABLE IF EXISTS public.f; CREATE UNLOGGED TABLE public.f(i int, v float8, w text)")
    copied_in("f", [(str(i), repr(v), w) for i, (v, w) in enumerate(zip(doubles, got))])
    # of whole numbers above 2^53 a decimal may lie right between two: PostgreSQL does not use such a one, which may be a digit shorter, and yet reads it back
    case.equal(rows("SELECT v::text, w FROM public.f WHERE float8send(w::float8) <> float8send(v) OR (v::text <> w AND (abs(v) < 2^53 OR length(w) >= length(v::text))) ORDER BY i LIMIT 5"), [])
    floats = [struct.unpack("<f", RNG.randbytes(4))[0] for _ in range(60000)] + [struct.unpack("<f", struct.pack("<f", v))[0] for v in doubles if 1e-40 < abs(v) < 1e38]
    floats = [v for v in floats if v == v and abs(v) != float("inf") and v]
    got = lands("float4", input=struct.pack(f"={len(floats)}f", *floats)).decode().split("\n")[:-1]
    psql("TRUNCATE public.f")
    copied_in("f", [(str(i), repr(v), w) for i, (v, w) in enumerate(zip(floats, got))])
    case.equal(rows("SELECT v::float4::text, w FROM public.f WHERE float4send(w::float4) <> float4send(v::float4) OR (v::float4::text <> w AND (abs(v) < 2^24 OR length(w) >= length(v::float4::text))) ORDER BY i LIMIT 5"), [])


if __name__ == "__main__":
    case.main(globals())
