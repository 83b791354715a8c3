#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A zone in a bucket, when the network and the bucket misbehave: answers that are lost after the store acted, parts that break off, throttling, errors under 200,
uploads that somebody else ends, a store that is away, that hangs, that belongs to others. What lies in it is read from the store's own disk."""
import contextlib
import glob
import os
import random
import re
import shutil
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import clock  # noqa: E402
import state  # noqa: E402
from deliver import accepted, event, wait_landed  # noqa: E402
from s3 import Faults, Store, error  # noqa: E402
from server import Home, Server, config, has_faults, landed, running, until, webhook  # noqa: E402
from zone import Reader  # noqa: E402

HOOK = {"github": webhook(dedup={"id": "/id", "window": "7d"})}
PLAIN = {"zone": {"compression": "none"}}          # what lies there is as large as what was sent


@contextlib.contextmanager
def bucket(plan=None):
    """The store, and the proxy before it if there is a plan; zones of this story are prefixes of its bucket."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="mr-s3.") as folder:
        store = Store(folder, "zone")
        proxy = Faults(store, plan) if plan else None
        os.environ.update(store.environment(url=proxy.url if proxy else None))
        try:
            yield store, proxy
            case.equal(store.uploads(), [], "uploads are left behind")
        finally:
            os.environ.clear()
            os.environ.update(before)
            if proxy:
                proxy.stop()
            store.stop()


def kind_of(method, target):
    """What a request is, in the words of this page."""
    if method == "POST":
        return "begin" if "uploads" in target else "complete"
    if method == "PUT":
        return "part" if "partNumber" in target else "mark" if "/decided/" in target else "id" if "zone.json" in target else "put"
    return {"DELETE": "abort", "HEAD": "head"}.get(method, "list" if "prefix=" in target else "get")


def answer_of(body):
    return f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


NO_KEYS = b"<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>0</KeyCount></ListBucketResult>"


class Once:
    """Of each kind that is named, the first request meets this fate."""

    def __init__(self, **fates):
        self.left = {kind: (fate if isinstance(fate, list) else [fate]) for kind, fate in fates.items()}
        self.met = []

    def __call__(self, n, method, target):
        kind = kind_of(method, target)
        if self.left.get(kind):
            self.met.append(kind)
            return self.left[kind].pop(0)
        return None

    def all_met(self):
        case.equal({k: v for k, v in self.left.items() if v}, {}, "fates that nobody met")


def ids(server):
    return sorted(r.value["data"]["id"] for r in landed(server))


def big(ident, size=900_000):
    return event(ident, pad="".join(random.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=size)))


def end_uploads(store):
    """As a lifecycle rule, or a person, would."""
    for upload in store.uploads():
        shutil.rmtree(os.path.join(store.root, "zone", ".sgwtmp", "multipart", os.path.dirname(upload)))


# -- what is asked twice, because an answer was lost ----------------------------------------------------------------------

def test_answers_that_are_lost_after_the_store_acted_change_nothing():
    plan = Once(begin="lost", part="lost", complete="lost", mark="lost", id="lost")
    with bucket(plan) as (store, proxy), running(HOOK) as server:
        for n in range(6):
            accepted(server, f"e{n}")
        wait_landed(server, "e5")
        case.equal(ids(server), [f"e{n}" for n in range(6)])
        plan.all_met()
        deep = server.cli("verify", "--deep")
        case.equal(deep.returncode, 0, deep)


def test_a_part_that_breaks_off_throttling_and_errors_under_200_are_tried_again():
    broken = error("InternalError", status="200 OK")
    plan = Once(begin=error("SlowDown"), part=["cut", "refuse", error("SlowDown")], complete=[broken, error("InternalError", "500 Internal Server Error"), "refuse"],
                mark=error("ServiceUnavailable"), list="cut")
    with bucket(plan), running(HOOK) as server:
        for n in range(6):
            accepted(server, f"e{n}")
        wait_landed(server, "e5", 60)
        case.equal(ids(server), [f"e{n}" for n in range(6)])
        plan.all_met()


def test_a_file_of_many_parts_lands_whole():
    with bucket(Once(part=[None, "lost", "cut"])) as (store, proxy), running(HOOK, zone={"compression": "none", "roll": {"age": "1h"}}) as server:
        for n in range(25):
            accepted(server, big(f"b{n:02}"))
        records = landed(server)
        case.equal(sorted(r.value["data"]["id"] for r in records), [f"b{n:02}" for n in range(25)])
        path, = {r.file for r in records}
        case.true(os.path.getsize(os.path.join(server.zone, path)) > 22_000_000, "one file")
        parts = [t for m, t in proxy.asked if kind_of(m, t) == "part"]
        case.equal({re.search(r"partNumber=(\d+)", t)[1] for t in parts}, {"1", "2", "3"})
        case.equal(server.cli("verify", "--deep").returncode, 0)
        case.true(proxy.heads[0].count("Authorization: AWS4-HMAC-SHA256") == 1, "signed")


PLAIN_404 = b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: 19\r\n\r\n404 page not found\n"
HEAD_404 = b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: 19\r\n\r\n"


def test_a_404_that_is_not_the_stores_loses_nothing():
    """Of a proxy whose store is away for a moment; the first completion had even been acted on."""
    plan = Once(begin=PLAIN_404, part=PLAIN_404, complete=["lost", PLAIN_404, PLAIN_404], head=[HEAD_404, HEAD_404], abort=PLAIN_404, mark=PLAIN_404)
    with bucket(plan), running(HOOK) as server:
        accepted(server, "one")
        wait_landed(server, "one", 60)
        until("it is published", lambda: [r["state"] for r in state.rows(server.data_dir, "landings")] == ["published"], 60)
        accepted(server, "two")
        wait_landed(server, "two", 60)
        case.true("landing_lost" not in server.get("/api/status").text, "nothing is lost")
        case.equal(ids(server), ["one", "two"])


def test_a_completion_that_is_still_at_work_is_waited_for():
    """Some stores take the upload away before its object is there."""
    kinds = []

    def plan(n, method, target):
        kind = "look" if method == "HEAD" or "list-type" in target and ".ndjson" in target else kind_of(method, target)
        kinds.append(kind)
        if kind == "complete":
            return "lost" if kinds.count(kind) == 1 else error("NoSuchUpload", "404 Not Found")
        if kind == "look" and kinds.count(kind) <= 2:
            return HEAD_404 if method == "HEAD" else lambda answer: answer_of(NO_KEYS)
        return None

    with bucket(plan), running(HOOK) as server:
        accepted(server, "one")
        wait_landed(server, "one", 60)
        until("it is published", lambda: [r["state"] for r in state.rows(server.data_dir, "landings")] == ["published"], 60)
        case.equal(ids(server), ["one"])


# -- uploads that somebody else ends ------------------------------------------------------------------------------------

def test_an_upload_that_is_ended_before_its_decision_is_staged_again():
    """The landing is dropped whole; its door still has the input."""
    killed = threading.Event()

    def plan(n, method, target):
        if kind_of(method, target) == "part" and "partNumber=2" in target and not killed.is_set():
            killed.set()
            end_uploads(store)
        return None

    with bucket(plan) as (store, proxy), running(HOOK, zone={"compression": "none", "roll": {"age": "2s"}}) as server:
        for n in range(14):
            accepted(server, big(f"b{n:02}"))
        wait_landed(server, "b13", 60)
        case.equal(ids(server), [f"b{n:02}" for n in range(14)])
        case.true(killed.is_set(), "an upload was ended")


def test_a_decided_upload_that_is_gone_is_lost_told_and_replayed():
    if not has_faults():
        raise case.Skip("this build has no named points")
    with bucket() as (store, proxy), running(HOOK, stop=False) as server:
        server.dies_at("publish_rename", lambda: [accepted(server, f"r{n}") for n in range(5)])
        case.equal(len(store.uploads()), 1, "decided, not completed")
        end_uploads(store)
        server.start()
        accepted(server, "later")
        wait_landed(server, "later")
        case.true("landing_lost" in server.get("/api/status").text, "the alert landing_lost")
        row, = [r for r in state.rows(server.data_dir, "landings") if r["state"] == "lost"]
        server.stop()
        case.true(b"lost " + row["landing"].encode() in server.cli("verify").stdout, "verify names it")
        done = server.cli("replay", "--landing", row["landing"])
        case.equal(done.returncode, 0, done)
        case.equal(ids(server), ["later", "r0", "r1", "r2", "r3", "r4"])


def test_completed_by_one_that_died_before_it_heard_so():
    """The next one finds no upload, and the object: of this landing, as long as it must be."""
    if not has_faults():
        raise case.Skip("this build has no named points")
    for point in ("publish_renamed", "publish_synced", "publish_noted"):
        with bucket() as (store, proxy), running(HOOK, stop=False) as server:
            server.dies_at(point, lambda: accepted(server, "one"))
            server.start()
            accepted(server, "two")
            case.equal(ids(server), ["one", "two"])


def test_what_a_dead_one_had_staged_is_aborted():
    if not has_faults():
        raise case.Skip("this build has no named points")
    for point in ("stage_key_noted", "stage_begun", "stage_id_noted", "stage_part", "stage_synced"):
        with bucket() as (store, proxy), running(HOOK, stop=False) as server:
            server.dies_at(point, lambda: accepted(server, "one"))
            case.equal(len(store.uploads()), 0 if point == "stage_key_noted" else 1, point)
            server.start()
            case.equal(store.uploads(), [], f"aborted at the start, after {point}")
            case.equal(ids(server), ["one"])


def swept(store):
    until("nothing is left", lambda: store.uploads() == [], 40, 0.2)


def test_a_begin_that_is_acted_on_late_is_found():
    """Its answer never came, the next one began another; published long since, the first one begins."""
    act = threading.Event()
    with bucket(Once(begin=("late", act))) as (store, proxy), running(HOOK) as server:
        accepted(server, "one")
        wait_landed(server, "one")
        case.equal(store.uploads(), [])
        act.set()
        until("it begins", store.uploads)
        swept(store)
        case.equal(ids(server), ["one"])


def test_an_upload_that_could_not_be_aborted_is_aborted_later_by_the_same_process():
    gone = error("NoSuchUpload", "404 Not Found")
    with bucket(Once(part=gone, abort=error("AccessDenied", "403 Forbidden"))) as (store, proxy), running(HOOK) as server:
        accepted(server, "one")
        wait_landed(server, "one", 60)
        case.equal(len(store.uploads()), 1, "the first one, which was dropped")
        swept(store)
        case.equal(ids(server), ["one"])


def test_what_cannot_be_swept_holds_up_no_start():
    if not has_faults():
        raise case.Skip("this build has no named points")
    denied = threading.Event()
    with bucket(lambda n, method, target: error("AccessDenied", "403 Forbidden") if denied.is_set() and method == "DELETE" else None) as (store, proxy), \
            running(HOOK, stop=False) as server:
        server.dies_at("stage_id_noted", lambda: accepted(server, "one"))
        denied.set()
        server.start()
        case.true("uploads_not_aborted" in server.log(), server.tail())
        accepted(server, "two")
        wait_landed(server, "two")
        denied.clear()
        swept(store)
        case.equal(ids(server), ["one", "two"])


# -- a store that is away, or hangs ---------------------------------------------------------------------------------------

def test_a_store_that_is_away_holds_up_nobody_who_sends():
    with bucket() as (store, proxy), running(HOOK) as server:
        accepted(server, "before")
        wait_landed(server, "before")
        store.kill()
        for n in range(20):
            accepted(server, f"away{n}", timeout=5)
        until("zone_unwritable", lambda: "zone_unwritable" in server.get("/api/status").text, 90)
        store.start()
        wait_landed(server, "away19", 60)
        until("it closes by itself", lambda: "zone_unwritable" not in server.get("/api/status").text, 60)
        case.equal(ids(server), sorted(["before", *(f"away{n}" for n in range(20))]))


def test_the_end_does_not_wait_for_a_store_that_hangs():
    hang = threading.Event()

    def plan(n, method, target):
        if hang.is_set():
            over.wait(60)
            return "refuse"
        return None

    over = threading.Event()
    with bucket(plan) as (store, proxy), running(HOOK, stop=False, shutdown_timeout="1s") as server:
        accepted(server, "before")
        wait_landed(server, "before")
        hang.set()
        accepted(server, "held")
        until("it is being sent", lambda: sum(kind_of(m, t) == "begin" for m, t in proxy.asked) >= 2)
        server.signal(15)
        case.equal(server.wait(15), 1, "out of time: said by the exit code")
        hang.clear()
        over.set()
        server.start()
        case.equal(ids(server), ["before", "held"])


def test_the_end_does_not_run_away_from_a_sweep_that_hangs():
    if not has_faults():
        raise case.Skip("this build has no named points")
    hang, hangs, over = threading.Event(), threading.Event(), threading.Event()

    def plan(n, method, target):
        if hang.is_set() and "uploads" in target:
            hangs.set()
            over.wait(60)
        return None

    with bucket(plan) as (store, proxy), running(HOOK, stop=False) as server:
        server.dies_at("stage_key_noted", lambda: accepted(server, "one"))
        server.start()
        wait_landed(server, "one")
        hang.set()
        case.true(hangs.wait(40), "it looks again at a key that may be begun yet")
        server.signal(15)
        until("what lands is closed, and with it the admin listener", lambda: not server.ready())
        over.set()
        case.equal(server.wait(15), 0, server.tail())
        server.sanitized()


def test_a_start_before_a_store_that_hangs_can_be_ended():
    over = threading.Event()

    def plan(n, method, target):
        over.wait(60)
        return "refuse"

    with bucket(plan) as (store, proxy), Home("mr-e2e") as home:
        server = Server(home, config(home, HOOK))
        try:
            server.spawn()
            until("it asks", lambda: proxy.asked)
            server.signal(15)
            case.equal(server.wait(15), 0, server.tail())
        finally:
            over.set()
            server.kill9()


# -- a bucket that is somebody else's -------------------------------------------------------------------------------------

def test_a_zone_of_another_store_is_refused_until_it_is_adopted():
    with bucket(), running(HOOK, stop=False) as server:
        accepted(server, "one")
        wait_landed(server, "one")
        server.stop()
        shutil.rmtree(server.data_dir)
        server.spawn()
        case.equal(server.wait(20), 2, "refused")
        case.true("state adopt" in server.log() or "adopt" in server.log(), server.tail())
        case.equal(server.cli("state adopt").returncode, 0)
        server.start()
        accepted(server, "two")
        case.equal(ids(server), ["one", "two"])


def test_a_store_restored_from_a_backup_is_refused():
    with bucket(), running(HOOK, stop=False) as server:
        accepted(server, "one")
        wait_landed(server, "one")
        case.equal(server.cli("state backup", server.home.at("backup.db")).returncode, 0)
        accepted(server, "two")
        wait_landed(server, "two")
        server.stop()
        for old in glob.glob(os.path.join(server.data_dir, "state.db*")):
            os.unlink(old)
        shutil.copy(server.home.at("backup.db"), os.path.join(server.data_dir, "state.db"))
        server.spawn()
        case.equal(server.wait(20), 2, "refused")
        case.true("restored" in server.log(), server.tail())


def test_what_lands_while_verify_lists_is_no_orphan():
    done = threading.Event()

    def plan(n, method, target):
        if "list-type" in target and "source%3D" in target and "max-keys=1000" in target and not done.is_set():
            done.set()
            accepted(server, "meanwhile")
            wait_landed(server, "meanwhile")
        return None

    with bucket(plan), running(HOOK) as server:
        accepted(server, "before")
        wait_landed(server, "before")
        told = server.cli("verify")
        case.true(done.is_set(), "it listed")
        case.equal(told.returncode, 0, told)
        case.true(b"orphan" not in told.stdout, told)


# -- verify, seal, check ---------------------------------------------------------------------------------------------------

def test_verify_finds_what_is_missing_damaged_or_strange():
    with bucket(), running(HOOK, **PLAIN, stop=False) as server:
        for n in range(3):
            accepted(server, f"v{n}")
            wait_landed(server, f"v{n}")
        server.stop()
        files = sorted(glob.glob(os.path.join(server.zone, "source=*", "*", "*", "*.ndjson")))
        case.true(len(files) >= 3, files)
        case.equal(server.cli("verify", "--deep").returncode, 0)
        os.unlink(files[0])
        with open(files[1], "r+b") as f:
            f.seek(5)
            f.write(b"#")
        shutil.copy(files[2], files[2].replace(".ndjson", "-x.ndjson"))
        plain, deep = server.cli("verify"), server.cli("verify", "--deep")
        case.equal((plain.returncode, deep.returncode), (1, 1))
        name = {f: os.path.basename(f).encode() for f in files}
        case.true(name[files[0]] + b": missing" in plain.stdout, plain)
        case.true(name[files[1]] + b": wrong checksum" in deep.stdout, deep)
        case.true(b"orphan " in plain.stdout and b"2 bad" in plain.stdout and b"3 bad" in deep.stdout, (plain, deep))


def test_a_sealed_day_gets_its_file_though_the_clocks_are_hours_apart():
    """A false clock beside the store's true one: requests are signed by the store's, days are the store's of the state."""
    if not clock.available():
        raise case.Skip("no libfaketime")
    seconds = clock.until_midnight(4)
    with bucket() as (store, proxy):
        with running(HOOK, stop=False, **clock.SEALING) as server:
            server.kill9()
            server.extra_env = clock.environment(server.home, seconds)
            server.start()
            accepted(server, "yesterday")
            sealed = until("the day is sealed", lambda: glob.glob(os.path.join(server.zone, "source=*", "*", "*", "_SEALED")), 40)
            with open(sealed[0]) as f:
                case.true('"rows":1' in f.read(), "its counts")
            server.stop()


LIFECYCLE = b"<LifecycleConfiguration><Rule><ID>a</ID><Status>Enabled</Status><AbortIncompleteMultipartUpload><DaysAfterInitiation>3</DaysAfterInitiation>" \
            b"</AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>"




def checked(server):
    done = server.cli("check")
    return done.returncode, [line for line in done.stdout.decode().splitlines() if line.split()[1] == "zone:"]


def test_check_says_what_the_bucket_lacks():
    fate = {}
    with bucket(lambda n, method, target: fate.get("lifecycle" if "lifecycle" in target else kind_of(method, target))) as (store, proxy), running(HOOK, stop=False) as server:
        server.stop()
        fate["lifecycle"] = answer_of(LIFECYCLE)
        code, (line, fine) = checked(server)
        case.equal(code, 0)
        case.true(line.startswith("warn zone:") and "after 3 days" in line and fine.startswith("ok zone:"), (line, fine))
        fate["lifecycle"] = error("NoSuchLifecycleConfiguration", "404 Not Found")
        case.equal([line.split()[0] for line in checked(server)[1]], ["ok"])
        for kind, right in (("list", "s3:ListBucket"), ("get", "s3:GetObject"), ("begin", "s3:PutObject"), ("abort", "s3:AbortMultipartUpload")):
            fate[kind] = error("AccessDenied", "403 Forbidden")
            code, (line,) = checked(server)
            case.true(code == 1 and line.startswith("fail zone:") and right in line, (kind, line))
            del fate[kind]
            end_uploads(store)
        for what in ("lost", lambda answer: answer_of(b"nonsense")):
            left = [what]
            fate["begin"] = None
            proxy.plan = lambda n, method, target: left.pop() if left and kind_of(method, target) == "begin" else None
            checked(server)
            case.equal(store.uploads(), [], "check leaves nothing behind")
        wrong = server.cli("check", extra={"AWS_SECRET_ACCESS_KEY": "wrong-secret"})
        case.true(wrong.returncode == 1 and b"SignatureDoesNotMatch" in wrong.stdout and b"wrong-secret" not in wrong.stdout, wrong)
        proxy.stop()
        gone = server.cli("check", timeout=120)
        case.true(gone.returncode == 1 and b"fail zone:" in gone.stdout, gone)


# -- many at once --------------------------------------------------------------------------------------------------------

def growth(more):
    """What 140 further sources, each with a landing that stays open and 1 MB in it, make the server hold, in KiB."""
    names = [f"s{n:03}" for n in range(150)]
    sources = {name: webhook(path=f"/hooks/{name}") for name in names}
    bodies = [big("x", 250_000) for _ in range(4)]
    with running(sources, zone={"compression": "none", "roll": {"age": "1h"}, **more}, stop=False) as server:
        def feed(some):
            for name in some:
                for body in bodies:
                    accepted(server, body, path=f"/hooks/{name}")
        feed(names[:10])
        few = server.memory_kib("VmRSS")
        feed(names[10:])
        many = server.memory_kib("VmRSS")
        case.equal(len(landed(server)), 600)
        return many - few


def test_memory_does_not_grow_with_open_uploads():
    """Held against the same in a directory: what is not sent yet lies in files of this machine."""
    with Home("mr-e2e") as home:
        local = growth({"url": "file:" + home.at("zone")})
    with bucket():
        far = growth({})
    case.true(far < local + 60_000, f"{local} KiB with a directory, {far} KiB with a bucket")


if __name__ == "__main__":
    case.main(globals())
