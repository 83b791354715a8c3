# SPDX-License-Identifier: Apache-2.0
"""What stories of Postgres tables share: one primary a script (and one standby, if a story wants it), a database of its own for each story, the config that reads it, and
looks at what has landed.

    with shop({"orders": orders()}, *ORDERS) as s:
        s.sql("INSERT INTO orders VALUES (1)")
        case.equal(ids(s.pull()), [1])           # run --once, and what it has landed
"""
import atexit
import collections
import contextlib
import functools
import json
import re
import signal
import sys
import time

import case
import churn
from churn import Churn
from pulled import Watch, judge
from replica import SECRET, Primary, Standby, psycopg
from server import Home, Server, config, until
from topics import no_stage
from zone import Reader

SOURCE = "shop"
ORDERS = ("CREATE TABLE orders (id bigint PRIMARY KEY, updated_at timestamptz DEFAULT now(), note text)", "CREATE INDEX ON orders (updated_at)")
EXACT = ("exact", "xid")
KEYSCAN = {"deletes": True, "deletes_every": "1s"}
made = 0


@functools.cache
def primary():
    one = Primary()
    atexit.register(one.stop)
    return one


@functools.cache
def standby():
    one = Standby(primary())
    atexit.register(one.stop)
    return one


def orders(table="public.orders", **more):
    return {"table": table, "mode": "incremental", "watermark": "updated_at", "key": ["id"], **more}


class Shop:
    """A database on `server`, and a millrace that reads it through `node`; not started yet."""

    def __init__(self, home, streams, statements, server, node, top, options):
        global made
        made += 1
        self.home, self.primary, self.node, self.db = home, server, node, f"s{made}"
        self.sessions, self.read, self.seen, self.before = [], {}, set(), 0
        server.database(self.db, *statements)
        if node is not server:
            node.catch_up()
        options = {"dsn": node.dsn(self.db, password=None), "password": "${env:MRT_PG_PASSWORD}", "every": "500ms", "skew": "5s", "guard": "1s", "sweep": "0s", **options}
        if node is not server and options.get("primary_dsn") is True:
            options.update(primary_dsn=server.dsn(self.db, password=None), primary_password="${env:MRT_PG_PASSWORD}")
        options = {k: v for k, v in options.items() if v is not None}
        self.server = Server(home, config(home, {SOURCE: {"postgres": {**options, "streams": streams}}}, **top), env={"MRT_PG_PASSWORD": SECRET})

    # -- the database -------------------------------------------------------------------------------------------

    def sql(self, text, *values):
        return self.primary.rows(text, *values, database=self.db)

    def value(self, text, *values):
        return self.sql(text, *values)[0][0]

    def session(self):
        """Ends with the story."""
        one = self.primary.session(self.db)
        self.sessions.append(one)
        return one

    def begin(self, *statements, level=""):
        """An open transaction."""
        one = self.session()
        one.execute("BEGIN " + level)
        for text in statements:
            one.execute(text)
        return one

    def close(self):
        for one in self.sessions:
            one.close()
        if self.primary.process:
            self.primary.end_prepared(lambda gid: False)

    # -- the config ---------------------------------------------------------------------------------------------

    @property
    def options(self):
        return self.server.cfg["sources"][SOURCE]["postgres"]

    def change(self, **options):
        """For the next start."""
        self.options.update(options)
        self.server.write_config()

    def change_stream(self, name, **options):
        self.options["streams"].setdefault(name, {}).update(options)
        self.server.write_config()

    # -- what has landed ----------------------------------------------------------------------------------------

    def records(self, stream=None):
        """All; what is published never changes, so each file is read once."""
        reader = Reader(self.server.zone)
        for path in reader.files():
            if path not in self.read:
                self.read[path] = list(reader.records(path))
        case.equal(reader.problems, [])
        return [r for path in sorted(self.read) for r in self.read[path] if r.source == SOURCE and stream in (None, r.stream)]

    def new(self, stream=None):
        """What has landed since this was last asked."""
        found = [(path, r) for path in self.read_all() if path not in self.seen for r in self.read[path]]
        self.seen.update(self.read)
        return [r for _, r in found if r.source == SOURCE and stream in (None, r.stream)]

    def read_all(self):
        self.records()
        return sorted(self.read)

    def pull(self, stream=None, code=0, timeout=60):
        """run --once, and what it has landed."""
        if self.node is not self.primary:
            self.node.catch_up()
        self.new()
        self.server.drain(timeout=timeout, want=code)
        return self.new(stream)

    def first_read(self, stream):
        """Whether what was there before anybody wrote has all landed."""
        return len({r.value["data"]["id"] for r in self.records(stream) if r.value["data"]["how"] == "before"}) >= self.before

    def lands(self, n, stream=None, timeout=40.0):
        """Waits for n records or more in all."""
        try:
            until(f"{n} records land", lambda: len(self.records(stream)) >= n, timeout)
        except AssertionError as e:
            raise AssertionError(f"{e}: {len(self.records(stream))} did\n{self.server.tail()}") from None
        return self.records(stream)

    def judged(self, watches, check=True):
        """After the last pull: nothing staged is left, nothing lost, twice, invented or altered."""
        no_stage(self.server)
        verdict = judge(self.primary, self.db, self.records(), watches)
        print(f"    {verdict}", flush=True)
        if check:
            case.equal(verdict.faults[:8], [], f"{len(verdict.faults)} faults")
        return verdict

    def finish(self, watches, check=True):
        """All writers have ended: the server stops, and what is left lands by --once."""
        if self.server.alive():
            self.server.stop()
        if self.node is not self.primary:
            self.node.catch_up()
        self.server.drain()
        return self.judged(watches, check)

    # -- what is told -------------------------------------------------------------------------------------------

    def start(self):
        self.server.start()
        return self

    def status(self):
        return json.loads(self.server.get("/api/status").text)

    def alerts(self):
        """The open ones, {(name, stream): text}; of all sources' that are ours."""
        return {(a["name"], a.get("stream") or ""): a["text"] for a in self.status()["alerts"] if a.get("source") in (SOURCE, "", None)}

    def opens(self, name, *words, stream=None, timeout=40.0):
        """The text of the alert, once it has all the words."""
        def look():
            for (alert, of), text in self.alerts().items():
                if alert == name and stream in (None, of) and all(w in text for w in words):
                    return text
        try:
            return until(f"{name} of {stream or 'whatever stream'} tells of {words}", look, timeout, 0.1)
        except AssertionError as e:
            raise AssertionError(f"{e}; open: {self.alerts()}\n{self.server.tail(8)}") from None

    def closes(self, name, stream=None, timeout=40.0):
        until(f"{name} closes", lambda: not [1 for alert, of in self.alerts() if alert == name and stream in (None, of)], timeout, 0.1)

    def metric(self, name, stream=None, **labels):
        """The sum of those that match; None if there is none."""
        want = {"source": SOURCE, **({"stream": stream} if stream else {}), **labels}
        found = [v for key, v in self.server.metrics().items() if key.split("{")[0] == name
                 and want.items() <= dict(re.findall(r'(\w+)="([^"]*)"', key)).items()]
        return sum(found) if found else None

    def check(self, code=0):
        done = self.server.cli("check")
        text = (done.stdout + done.stderr).decode()
        case.equal(done.returncode, code, f"check: {text}")
        return text

    def cli(self, *args, code=0):
        done = self.server.cli(*args)
        text = (done.stdout + done.stderr).decode()
        case.equal(done.returncode, code, f"{args}: {text[-2000:]}")
        return text

    def positions(self):
        """{(stream, part): value} of `state show`."""
        rows = [line.split("\t") for line in self.cli("state show", SOURCE).splitlines()]
        return {(row[1], row[2]): json.loads(row[4]) for row in rows if row[0] == SOURCE}


@contextlib.contextmanager
def shop(streams, *statements, server=None, node=None, start=False, **more):
    """options of the source, and by `top` those of the config."""
    top = more.pop("top", {})
    with Home("mr-pull") as home:
        s = Shop(home, streams, statements, server or primary(), node or server or primary(), top, more)
        try:
            if start:
                s.start()
            yield s
            if s.server.alive():
                s.server.stop()
            if s.server.proc:
                s.server.sanitized()
        except BaseException:
            if s.server.proc:
                print(s.server.tail(), file=sys.stderr)
            raise
        finally:
            s.server.kill9()
            s.close()


# -- under writers --------------------------------------------------------------------------------------------------

TABLES = {"orders": "rows", "events": "inserts"}
BOTH = (Watch("orders"), Watch("events", whole=True))
SECONDS = 10


@contextlib.contextmanager
def busy(seed, rows=2000, size=100, tables=None, partitions=0, streams=None, method="auto", churning=None, stream_options=None, **more):
    """A shop of lib/churn's tables with rows in them, and writers that can be started: yields (shop, writers)."""
    tables = tables or TABLES
    streams = streams or {t: orders(t, method=method, **(stream_options or {})) for t in tables}
    start = more.pop("start", False)
    with shop(streams, **more) as s:
        with s.session() as made_by:
            for t in tables:
                churn.make(made_by, t, partitions if t == "orders" else 0)
                if rows:
                    churn.fill(made_by, t, rows, size)
                    s.before = rows
        if s.node is not s.primary:
            s.node.catch_up()
        writers = Churn(s.primary, s.db, seed, tables, skew=4, **{"hold": 1.5, **(churning or {})})
        if start:
            s.start()
        yield s, writers


def churned(s, writers, seconds=SECONDS, watches=BOTH, meanwhile=None):
    """The server reads while there is writing; all that is left afterwards lands by run --once."""
    with writers:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            meanwhile() if meanwhile else time.sleep(0.2)
    print(f"    {writers}", flush=True)
    return s.finish(watches)


ROWS = 60_000                                    # about 30 MB, thirty chunks
LARGE = {"rows": ROWS, "size": 400, "tables": {"orders": "rows"}, "chunk": "1MiB", "top": {"zone": {"roll": {"age": "1s", "size": "1MiB"}}}}
ONE = (Watch("orders"),)


def by(s, way, **more):
    s.change(dsn=s.primary.dsn(s.db, password=None, port=way.port, **more))


# -- of records -----------------------------------------------------------------------------------------------------


def ids(records, column="id"):
    """Sorted, as they came otherwise."""
    return sorted(r.value["data"][column] for r in records)


def field(records, name):
    return [r.value.get(name) for r in sorted(records, key=lambda r: r.text)]


def datas(records, key="id"):
    return sorted((r.value["data"] for r in records), key=lambda d: str(d[key]))


def only(records):
    case.equal(len(records), 1, f"records: {[r.text[:200] for r in records]}")
    return records[0].value


# -- campaigns ------------------------------------------------------------------------------------------------------

# Told only where something is lost, refused or not what it was, and in a campaign nothing ever is.
NEVER_TOLD = re.compile(r'"alert_opened".*"alert":"(postgres_other_server|postgres_went_back|postgres_stream_failed|postgres_row_too_big|postgres_refused)".*')


class Trouble:
    """What happens to the tables' server: at each turn perhaps something, and what lasts is over some turns later."""
    KINDS = ("terminate", "terminate", "crash", "restart", "kill", "rewrite")

    def __init__(self, s, rnd, share, kinds=KINDS):
        self.s, self.rnd, self.share, self.kinds, self.left, self.away, self.done = s, rnd, share, kinds, 0, False, collections.Counter()

    def turn(self):
        server = self.s.primary
        if self.away:
            self.left -= 1
            if self.left < 0:
                self.back()
            return
        if self.rnd.random() >= self.share:
            return
        kind = self.rnd.choice(self.kinds)
        if kind == "rewrite" and not self.s.first_read("orders"): # a first read would begin anew, and land again what it had
            return
        self.done[kind] += 1
        if kind == "terminate":
            server.terminate()
        elif kind == "crash":
            server.crash()
        elif kind == "rewrite":
            with self.s.session() as one:
                one.execute("SET lock_timeout = '3s'")
                with contextlib.suppress(psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                    one.execute("VACUUM FULL orders")
        elif kind == "restart":
            server.restart(signal.SIGKILL if self.rnd.random() < 0.5 else signal.SIGINT)
        else:
            server.kill()
            self.away, self.left = True, self.rnd.randrange(2)

    def back(self):
        if self.away:
            self.s.primary.start()
        self.away = False


def doubled(records):
    """Identities that came twice, as [(stream, id)]."""
    seen = collections.Counter((r.source, r.stream, r.value.get("id")) for r in records if "replay" not in r.value)
    return [one for one, n in seen.items() if n > 1]


def finish(server, w):
    """What must hold at the end, but for the count."""
    faults = []
    if w.staged(server.zone):
        faults.append(f"left staged: {w.staged(server.zone)[:3]}")
    deep = server.cli("verify", "--deep")
    if deep.returncode:
        faults.append(f"verify --deep: {deep.returncode} {(deep.stdout + deep.stderr).decode()[-500:]}")
    return faults + [f"told, and there was no reason: {m.group(0)[:300]}" for m in NEVER_TOLD.finditer(server.log(since_start=False))]
