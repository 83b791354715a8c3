# SPDX-License-Identifier: Apache-2.0
"""Holds a zone to the tables that it was read from. It knows the zone's files and the server, and nothing of who read: the server itself reads each landed value back and
says whether it is the row's.

    verdict = judge(primary, "shop", Reader(zone).all(), [Watch("orders"), Watch("events", whole=True)])
    case.equal(verdict.faults, [])

Tables as lib/churn makes them: `v` is a version of a row, the audit has every version that was committed.
"""
import json

from replica import names

FEW = 20


class Watch:
    """A stream and its table. whole: every version that was ever committed must be there, not only those of now. must: versions that a reader must have seen, though they
    are no more. window: the id has the watermark, not the transaction."""

    def __init__(self, stream, table=None, whole=False, must=(), window=False, where="true"):
        self.stream, self.table, self.whole, self.must, self.window, self.where = stream, table or stream, whole, set(must), window, where


class Verdict:
    """Of each kind of fault a list of sentences; `sent` is how many versions there have been, `acked` how many must be there."""
    KINDS = ("lost", "doubled", "invented", "altered", "misnamed")

    def __init__(self):
        self.sent = self.acked = self.landed = self.late = 0
        self.lost, self.doubled, self.invented, self.altered, self.misnamed = [], [], [], [], []

    @property
    def faults(self):
        return [f"{kind}: {text}" for kind in self.KINDS for text in getattr(self, kind)]

    def __str__(self):
        return f"committed {self.sent} due {self.acked} landed {self.landed} late {self.late} " + " ".join(f"{kind} {len(getattr(self, kind))}" for kind in self.KINDS)


def sight(server, database, table):
    """The versions that one snapshot sees now. What two of them see, before and after a pull, the pull must have seen."""
    return {v for v, in server.rows(f"SELECT v FROM {table}", database=database)}


def load(session, records):
    """The lines as they are, for the server to read."""
    session.execute("CREATE TEMP TABLE line (n bigint, line json)")
    with session.cursor().copy("COPY line FROM STDIN") as copy:
        for n, record in enumerate(records):
            copy.write_row((n, record.text))


TAKE = """
    CREATE TEMP TABLE landed AS SELECT n, line->>'stream' AS stream, line->>'id' AS rid, line->>'key' AS key, line->'data' AS data, (line->'data'->>'id')::bigint AS id,
        (line->'data'->>'v')::bigint AS v, (line->'position'->>'xid')::numeric AS xid, (line->>'event_at')::timestamptz AS event_at, line->>'event_at' AS event_text,
        coalesce((line->>'late')::boolean, false) AS late, line->>'replay' AS replay
    FROM line WHERE line->'data'->>'v' IS NOT NULL;
    CREATE INDEX ON landed (stream, v); ANALYZE landed"""


def judge(server, database, records, watches, source="shop"):
    """records: of zone.Reader. Those of a replay are nobody's double."""
    verdict, watched = Verdict(), {w.stream for w in watches}
    records = [r for r in records if r.source == source]
    strangers = {r.stream for r in records} - watched - {"_snapshots", "_schema"}
    verdict.invented += [f"stream {name}" for name in sorted(strangers)]
    with server.session(database) as s:
        s.execute("SET timezone = 'UTC'")
        load(s, (r for r in records if r.stream in watched and not r.value.get("tombstone")))
        s.execute(TAKE)
        for n, text in s.execute("SELECT n, left(line::text, 300) FROM line WHERE line->'data'->>'v' IS NULL LIMIT %s", (FEW,)):
            verdict.altered.append(f"without its version: {text}")
        for watch in watches:
            one(s, watch, verdict)
    return verdict


def one(s, watch, verdict):
    t, st = watch.table, watch.stream
    live = "replay IS NULL"

    def ask(text, *values):
        return s.execute(text, (st, *values)).fetchall()
    verdict.sent += s.execute(f"SELECT count(*) FROM {t}_audit").fetchone()[0]
    verdict.landed += ask(f"SELECT count(*) FROM landed WHERE stream = %s AND {live}")[0][0]
    verdict.late += ask(f"SELECT count(*) FROM landed WHERE stream = %s AND {live} AND late")[0][0]
    due = f"{t}_audit d" if watch.whole else f"{t} d"
    wm = "wm" if watch.whole else "updated_at"
    verdict.acked += s.execute(f"SELECT count(*) FROM {due} WHERE {watch.where}").fetchone()[0]
    verdict.lost += [f"{st}: id {i}, version {v}, {how}, watermark {w}" for i, v, how, w in
                     ask(f"SELECT id, v, how, {wm}::text FROM {due} WHERE {watch.where} AND NOT EXISTS (SELECT FROM landed l WHERE l.stream = %s AND l.v = d.v) ORDER BY v")]
    here = {v for v, in ask(f"SELECT v FROM landed WHERE stream = %s AND {live}")} if watch.must else set()
    verdict.lost += [f"{st}: version {v}, which was there before and after a pull" for v in sorted(watch.must - here)]
    verdict.doubled += [f"{st}: id {rid}, {n} times" for rid, n in
                        ask(f"SELECT rid, count(*) FROM landed WHERE stream = %s AND {live} GROUP BY rid HAVING count(*) > 1 ORDER BY rid")]
    verdict.doubled += [f"{st}: version {v}, as {ids}" for v, ids in
                        ask(f"SELECT v, string_agg(rid, ' and ') FROM landed WHERE stream = %s AND {live} GROUP BY v HAVING count(*) > 1 AND count(DISTINCT rid) > 1 ORDER BY v")]
    verdict.invented += [f"{st}: id {i}, version {v}" for i, v in
                         ask(f"SELECT l.id, l.v FROM landed l LEFT JOIN {t}_audit a ON a.v = l.v AND a.id = l.id WHERE l.stream = %s AND a.v IS NULL ORDER BY l.v")]
    verdict.altered += [f"{st}: id {i}, version {v}: {text}" for i, v, text in
                        ask(f"SELECT l.id, l.v, left(l.data::text, 200) FROM landed l JOIN {t} r ON r.v = l.v WHERE l.stream = %s "
                            f"AND json_populate_record(NULL::{t}, l.data) IS DISTINCT FROM (SELECT x FROM {t} x WHERE x.v = r.v AND x.id = r.id) ORDER BY l.v LIMIT {FEW}")]
    named = "false" if watch.window else "l.rid <> format('[%%s,%%s]', l.id, l.xid) OR (r.v IS NOT NULL AND l.xid %% 4294967296 <> r.xmin::text::numeric)"
    verdict.misnamed += [f"{st}: id {rid}, key {key}, event_at {at}, transaction {xid}, the row's {x}, watermark {w}" for rid, key, at, xid, x, w in
                         ask(f"SELECT l.rid, l.key, l.event_text, l.xid, r.xmin::text, a.wm::text FROM landed l JOIN {t}_audit a ON a.v = l.v LEFT JOIN {t} r ON r.v = l.v "
                             f"WHERE l.stream = %s AND ({named} OR l.key IS DISTINCT FROM format('[%%s]', l.id) OR l.event_at IS DISTINCT FROM "
                             f"(CASE WHEN isfinite(a.wm) AND a.wm >= '0001-01-01 00:00:00+00' AND a.wm < '10000-01-01 00:00:00+00' THEN a.wm END)) ORDER BY l.v LIMIT {FEW}")]


def table_rows(session, table, order):
    """For a look by eye."""
    return session.execute(names.SQL("SELECT to_jsonb(t) FROM {} t ORDER BY " + order).format(names.Identifier(table))).fetchall()


def says(record):
    """What a record's identity says: (key values, the last part)."""
    parts = json.loads(record.value["id"])
    return parts[:-1], parts[-1]
