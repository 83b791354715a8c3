#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Refused requests are kept where a source asks for it: whole, capped, never in the way; and land by replay once a secret is mended."""
import base64
import glob
import json
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import sign  # noqa: E402
import wire  # noqa: E402
from deliver import accepted, deliver, event  # noqa: E402
from server import SECRET, SECRET_ENV, is_sanitized, landed, running, until, webhook  # noqa: E402

FORGED = [("X-Hub-Signature-256", "sha256=" + "0" * 64)]


def source(keep="full", **more):
    return {"github": webhook(quarantine=keep, **more)}


def folder(server, name="github"):
    return os.path.join(server.data_dir, "quarantine", name)


def kept(server, pattern="refused-*.json"):
    return sorted(glob.glob(os.path.join(folder(server), pattern)))


def read(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def counted(server, outcome):
    """Of the metric, summed over causes."""
    return sum(v for k, v in server.metrics().items()
               if k.startswith("millrace_webhook_quarantine_total{") and f'outcome="{outcome}"' in k)


def refuse(server, ident, headers=FORGED, **more):
    res = deliver(server, event(ident, **more), headers=headers)
    case.equal(res.status, 401)
    return res


def wait_kept(server, count):
    until(f"{count} requests are kept", lambda: len(kept(server)) >= count)
    case.equal(len(kept(server)), count, "kept requests")


# -- keeping ---------------------------------------------------------------------------------------------------

def test_a_refused_request_is_kept_whole_with_its_cause_and_only_for_us_to_read():
    body = b'{"id": "k", "bytes": "\xff\x00"}'
    with running(source()) as server:
        begun = time.time()
        res = deliver(server, body, "/hooks/github?a=1&b", headers=FORGED, also=[("X-Twice", "1"), ("X-Twice", "2")])
        case.equal(res.status, 401)
        wait_kept(server, 1)
        path, = kept(server)
        request = read(path)
        case.equal((request["method"], request["path"], request["cause"]), ("POST", "/hooks/github?a=1&b", "signature"))
        case.equal(base64.b64decode(request["body_base64"]), body)
        case.equal([v for n, v in request["headers"] if n.lower() == "x-twice"], ["1", "2"], "headers in order")
        case.true(FORGED[0][1] in dict(request["headers"]).values(), "the signature is kept")
        case.true(request["reason"] and request["remote"].startswith("127.0.0.1:"), str(request))
        stamp = request["received_at"]
        case.true(stamp.replace("-", "").replace(":", "") in os.path.basename(path), "the name has the time")
        at = time.mktime(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
        case.true(begun - 2 < at < time.time() + 1, stamp)
        case.equal(os.stat(path).st_mode & 0o777, 0o600)


def test_each_cause_that_has_a_body_is_kept_and_none_without_one():
    with running({"s": {"webhook": {**webhook("stripe", path="/s")["webhook"], "quarantine": "full"}}}) as server:
        body = event("x")
        cases = {"missing": [], "format": [("Stripe-Signature", "rubbish")], "timestamp": sign.stripe(SECRET, body, at=1000),
                 "signature": sign.stripe("wrong", body)}
        for headers in cases.values():
            case.equal(deliver(server, body, "/s", headers=headers).status, 401)
        packed = b"no gzip"
        res = deliver(server, packed, "/s", headers=sign.stripe(SECRET, packed), also=[("Content-Encoding", "gzip")])
        case.equal(res.status, 400)
        case.equal(deliver(server, body, "/s", method="DELETE").status, 405)
        found = lambda: glob.glob(os.path.join(folder(server, "s"), "refused-*"))  # noqa: E731
        until("all are kept", lambda: len(found()) == 5)
        case.equal(sorted(read(p)["cause"] for p in found()), sorted([*cases, "coding"]))
        case.equal(counted(server, "kept"), 5)
        shown = server.status()["sources"][0]["quarantine"]
        case.equal((shown["keep"], shown["files"], shown["kept_by_cause"]["timestamp"]), ("full", 5, 1), str(shown))


def test_nothing_is_kept_unless_asked_for():
    with running({"github": webhook()}) as server:
        refuse(server, "forged")
        accepted(server, "fine")
        server.stop()
        case.equal(kept(server, "*"), [])


def test_secret_headers_are_masked_and_the_secret_is_nowhere():
    also = [("Authorization", "Bearer of-the-vendor"), ("Cookie", "c=1"), ("X-Mine", "of-mine")]
    with running(source(mask_headers=["X-Mine"])) as server:
        deliver(server, "m", headers=FORGED, also=also)
        wait_kept(server, 1)
        headers = dict((n.lower(), v) for n, v in read(kept(server)[0])["headers"])
        case.equal([headers[n] for n in ("authorization", "cookie", "x-mine")], ["***"] * 3)


def test_explain_reads_what_is_kept_and_says_why():
    with running(source()) as server:
        body = event("why")
        deliver(server, body, headers=sign.github("another secret", body))
        wait_kept(server, 1)
        done = server.cli("explain", "github", kept(server)[0])
        case.equal(done.returncode, 1, str(done))
        case.equal(json.loads(done.stdout)["cause"], "signature")
        done = server.cli("explain", "github", kept(server)[0], extra={SECRET_ENV: "another secret"})
        case.equal((done.returncode, json.loads(done.stdout)["verdict"]), (0, "accept"), str(done))


def test_explain_judges_a_kept_request_at_the_time_of_its_receipt():
    with running({"s": {"webhook": {**webhook("stripe", path="/s")["webhook"], "quarantine": "full"}}}) as server:
        body, signed = event("late"), int(time.time()) - 1000
        deliver(server, body, "/s", headers=sign.stripe(SECRET, body, at=signed))
        until("kept", lambda: glob.glob(os.path.join(folder(server, "s"), "refused-*")))
        path, = glob.glob(os.path.join(folder(server, "s"), "refused-*"))
        case.equal(json.loads(server.cli("explain", "s", path).stdout)["cause"], "timestamp")
        request = read(path)
        request["received_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(signed + 100))
        with open(path, "w", encoding="utf-8") as f:
            json.dump(request, f)
        done = server.cli("explain", "s", path)
        case.equal(json.loads(done.stdout)["verdict"], "accept", "had it come in time")
        done = server.cli("explain", "s", path, "--at", str(signed + 1000))
        case.equal(json.loads(done.stdout)["cause"], "timestamp", "--at goes before it")


def test_sampled_keeps_a_few_of_each_cause_and_counts_the_rest():
    with running(source("sampled")) as server:
        for n in range(40):
            refuse(server, f"f{n}")
            refuse(server, f"m{n}", headers=[])
        until("ten are kept", lambda: counted(server, "kept") == 10)
        case.equal(counted(server, "passed_over"), 70)
        causes = [read(p)["cause"] for p in kept(server)]
        case.equal((causes.count("signature"), causes.count("missing")), (5, 5))


def size(path):
    try:
        return os.path.getsize(path)
    except FileNotFoundError:  # evicted since it was listed
        return 0


def test_the_oldest_go_first_and_the_cap_holds_at_every_moment():
    keep = {"keep": "full", "limit": "64KiB", "files": 1000}
    with running(source(keep)) as server:
        most = 0
        for n in range(60):
            refuse(server, f"big{n:03}", pad="x" * 3000)
            most = max(most, sum(size(p) for p in kept(server, "[!.]*")))
        until("all are written", lambda: counted(server, "kept") == 60)
        bodies = [json.loads(base64.b64decode(read(p)["body_base64"]))["id"] for p in kept(server)]
        case.true(most <= 64 << 10, f"{most} bytes at once")
        case.equal(bodies, [f"big{n:03}" for n in range(60 - len(bodies), 60)], "the newest, in order of names")
        case.true(len(bodies) >= 8, f"only {len(bodies)} were left")
        case.equal(counted(server, "evicted"), 60 - len(bodies))


def test_the_number_of_files_is_capped_over_a_restart_too():
    with running(source({"keep": "full", "files": 20})) as server:
        for n in range(15):
            refuse(server, f"a{n}")
        wait_kept(server, 15)
        server.stop()
        server.start()
        for n in range(15):
            refuse(server, f"b{n}")
        until("all are written", lambda: counted(server, "kept") == 15)
        case.true(15 <= len(kept(server)) <= 20, f"{len(kept(server))} files")


def test_conflicts_and_what_a_person_put_there_are_never_evicted():
    keep = {"keep": "full", "limit": "64KiB", "files": 10}
    with running(source(keep, dedup={"id": "/id", "window": "7d"})) as server:
        accepted(server, event("same", n=1))
        accepted(server, event("same", n=2, pad="c" * 20000))
        until("the conflict is kept", lambda: kept(server, "conflict-*.body"))
        conflict, = kept(server, "conflict-*.body")
        os.utime(conflict, (1e9, time.time() - 3600))       # older than every refused one
        note = os.path.join(folder(server), "refused-by-hand.txt")
        with open(note, "w", encoding="utf-8") as f:
            f.write("a person's note")
        for n in range(100):
            refuse(server, f"flood{n}", pad="x" * 3000)
        until("all are written", lambda: counted(server, "kept") == 100)
        case.true(os.path.getsize(conflict) > 20000, "the conflict is still there")
        case.true(os.path.exists(note), "the note is still there")
        case.true(len(kept(server)) <= 10, "the cap of files")


def test_a_giant_does_not_push_out_the_others():
    with running(source({"keep": "full", "limit": "64KiB"})) as server:
        refuse(server, "small")
        wait_kept(server, 1)
        refuse(server, "giant", pad="x" * 100000)
        until("counted", lambda: counted(server, "no_room") == 1)
        wait_kept(server, 1)


def test_a_disk_below_its_reserve_keeps_nothing_more():
    with running(source(), limits={"disk_reserve": "1024GiB"}) as server:
        refuse(server, "no room")
        until("counted", lambda: counted(server, "no_room") == 1)
        case.equal(kept(server), [])


def test_what_a_kill_left_half_written_is_gone_after_the_next_start():
    with running(source()) as server:
        refuse(server, "whole")
        wait_kept(server, 1)
        server.kill9()
        half = os.path.join(folder(server), ".refused-20261123T000000.000000Z-signature-00000000.json")
        with open(half, "w", encoding="utf-8") as f:
            f.write('{"received_at":')
        server.start()
        until("the half one is gone", lambda: not os.path.exists(half))
        wait_kept(server, 1)


def test_a_folder_taken_away_is_made_anew():
    with running(source()) as server:
        refuse(server, "one")
        wait_kept(server, 1)
        for path in kept(server, "*"):
            os.unlink(path)
        os.rmdir(folder(server))
        refuse(server, "two")
        until("counted as failed", lambda: counted(server, "failed") == 1)
        refuse(server, "three")
        wait_kept(server, 1)


def test_a_flood_of_refusals_stays_within_memory_and_disk_and_leaves_honest_requests_alone():
    keep = {"keep": "full", "limit": "1MiB", "files": 200}
    stop, sent = threading.Event(), []

    def flood(server):
        body = event("flood", pad="z" * 4000)
        data = wire.request("POST", "/hooks/github", FORGED, body)
        with wire.Conn(server.port) as conn:
            while not stop.is_set():
                conn.send(data * 20)
                for _ in range(20):
                    conn.read()
                sent.append(20)

    with running(source(keep), limits={"memory": "128MiB"}) as server:
        accepted(server, "before")
        base = server.memory_kib("VmRSS")
        threads = [threading.Thread(target=flood, args=(server,), daemon=True) for _ in range(3)]
        for t in threads:
            t.start()
        slowest, honest, end = 0.0, 0, time.monotonic() + 5
        while time.monotonic() < end:
            begun = time.monotonic()
            accepted(server, f"honest{honest}")
            slowest = max(slowest, time.monotonic() - begun)
            honest += 1
            files = kept(server, "[!.]*")
            case.true(len(files) <= 200, f"{len(files)} files")
        stop.set()
        for t in threads:
            t.join()
        grown = server.memory_kib("VmRSS") - base
        held = server.metrics().get('millrace_memory_budget_used_bytes{share="quarantine"}')
        until("all is written", lambda: server.metrics()['millrace_memory_budget_used_bytes{share="quarantine"}'] == 0)
        case.true(sum(sent) > 1000, f"only {sum(sent)} were refused: no flood")
        case.true(slowest < 2.0, f"an honest request took {slowest:.2f} s")
        case.true(held <= 8 << 20, f"{held} bytes wait")
        case.true(is_sanitized() or grown < 60 << 10, f"{grown} KiB more in memory")
        case.equal(len([r for r in landed(server) if r.value["data"]["id"].startswith("honest")]), honest)


if __name__ == "__main__":
    case.main(globals())
