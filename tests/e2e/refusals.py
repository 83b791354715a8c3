#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every refusal has its status, a one-line JSON reason that leaks nothing, and leaves nothing behind."""
import gzip
import json
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import sign  # noqa: E402
import wire  # noqa: E402
from deliver import accepted, deliver, event  # noqa: E402
from server import SECRET, landed, running, until, webhook  # noqa: E402

LIMIT = 4096
SMALL = {"github": webhook(body_limit="4KiB"), "other": webhook(path="/hooks/other", methods=["POST", "PUT"])}


def refused(res, status, what=""):
    case.equal(res.status, status, what)
    case.true(res.body.count(b"\n") <= 1, f"{what}: one line: {res.body!r}")
    reason = json.loads(res.body)
    case.true(isinstance(reason, dict) and reason, f"{what}: a JSON reason: {res.body!r}")
    for leak in (SECRET.encode(), b"/work", b"/tmp", b".c:", b"errno"):
        case.true(leak not in res.body, f"{what}: the reason leaks {leak!r}")
    return res


def signed_request(body, path="/hooks/github", also=(), **kw):
    return wire.request("POST", path, [*sign.github(SECRET, body), *also], body, **kw)


def raw(server, data, what, status, timeout=20.0):
    with wire.Conn(server.port, timeout=timeout) as conn:
        conn.send(data)
        return refused(conn.final(), status, what)


def test_an_unknown_route_gets_404():
    with running(SMALL) as server:
        refused(deliver(server, "x", "/hooks/nobody"), 404)
        refused(deliver(server, "x", "/"), 404)
        refused(deliver(server, "x", "/hooks/github/more"), 404)
        refused(deliver(server, "x", "/metrics", method="GET"), 404, "the admin's pages are not the world's")


def test_a_wrong_method_gets_405_and_is_told_the_right_ones():
    with running(SMALL) as server:
        res = refused(deliver(server, "x", method="DELETE"), 405)
        case.equal(res.header("Allow"), "POST")
        res = refused(deliver(server, "x", "/hooks/other", method="DELETE"), 405)
        case.equal(sorted(res.header("Allow").replace(" ", "").split(",")), ["POST", "PUT"])
        body = event("put")
        case.equal(deliver(server, body, "/hooks/other", method="PUT").status, 204)


def test_a_body_declared_too_large_gets_413_before_it_is_sent():
    with running(SMALL) as server, wire.Conn(server.port) as conn:
        conn.send(b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n")
        refused(conn.final(), 413)


def test_a_chunked_body_is_measured_as_it_comes():
    with running(SMALL) as server, wire.Conn(server.port) as conn:
        conn.send(b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(64):
                conn.send(b"400\r\n" + b"x" * 1024 + b"\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass                                 # refused while we still talk
        refused(conn.final(), 413)


def test_a_body_of_exactly_the_limit_is_taken():
    with running(SMALL) as server:
        pad = LIMIT - len(event("edge", pad=""))
        body = event("edge", pad="x" * pad)
        case.equal((len(body), deliver(server, body).status), (LIMIT, 204))
        refused(deliver(server, event("edge2", pad="x" * pad)), 413)


def test_gzip_is_verified_on_the_wire_and_landed_decoded():
    body = event("zipped", text="ä" * 100)
    packed = gzip.compress(body)
    with running(SMALL) as server:
        res = deliver(server, packed, headers=sign.github(SECRET, packed), also=[("Content-Encoding", "gzip")])
        case.equal(res.status, 204)
        record, = landed(server)
    case.equal(record.value["data"]["text"], "ä" * 100)


def test_a_bomb_is_bounded_after_decoding():
    bomb = gzip.compress(b" " * 3_000_000)
    case.true(len(bomb) < LIMIT, "the bomb itself passes the limit")
    with running(SMALL) as server:
        res = deliver(server, bomb, headers=sign.github(SECRET, bomb), also=[("Content-Encoding", "gzip")])
        refused(res, 413)
        case.equal(landed(server), [], "what landed")


def test_other_codings_get_415_and_broken_gzip_400():
    with running(SMALL) as server:
        for coding in ("br", "zstd", "deflate", "gzip, gzip", "x"):
            refused(deliver(server, "x", also=[("Content-Encoding", coding)]), 415, coding)
        body = b"not gzip at all"
        refused(deliver(server, body, also=[("Content-Encoding", "gzip")]), 400)
        cut = gzip.compress(event("cut"))[:-5]
        refused(deliver(server, cut, also=[("Content-Encoding", "gzip")]), 400, "gzip cut short")
        case.equal(deliver(server, "plain", also=[("Content-Encoding", "identity")]).status, 204)


def test_malformed_requests_get_400():
    body = event("x")
    mac = sign.github(SECRET, body)[0][1].encode()
    head = b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nX-Hub-Signature-256: " + mac + b"\r\n"
    malformed = {
        "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        "a blank before the colon": b"POST /hooks/github HTTP/1.1\r\nHost : x\r\n\r\n",
        "two different lengths": head + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + body,
        "length and chunked": head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "a negative length": head + b"Content-Length: -1\r\n\r\n",
        "a length that is no number": head + b"Content-Length: 5x\r\n\r\n",
        "chunked not last": head + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "a chunk size that is no number": head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        "a chunk size that overflows": head + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        "rubbish after a chunk": head + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
        "a lone CR ends the headers": head + b"X: y\r\n\rContent-Length: 0\r\n\r\n",
        "no Host": b"POST /hooks/github HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        "two Hosts": b"POST /hooks/github HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 0\r\n\r\n",
        "a NUL in a header": b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\nContent-Length: 0\r\n\r\n",
    }
    with running(SMALL) as server:
        wrong = []
        for what, data in malformed.items():
            try:
                raw(server, data, what, 400)
            except (AssertionError, wire.Closed, OSError, ValueError) as e:
                wrong.append(f"{what}: {e}")
        case.equal(wrong, [], "answers")
        accepted(server, "the door still works")
        case.equal(len(landed(server)), 1, "records")


def test_what_has_a_status_of_its_own_in_http_may_get_it_instead_of_400():
    others = {
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": (400, 405, 505),
        b"POST /hooks/github\r\n\r\n": (400, 505),
        b"POST /hooks/github HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n": (400, 501),
        b"POST /" + b"x" * 70000 + b" HTTP/1.1\r\nHost: x\r\n\r\n": (414, 431),
    }
    with running(SMALL) as server:
        for data, want in others.items():
            with wire.Conn(server.port) as conn:
                conn.send(data)
                res = conn.final()
            case.true(res.status in want, f"{data[:60]}: {res}")


def test_headers_too_large_or_too_many_get_431():
    with running(SMALL) as server:
        raw(server, wire.request("POST", "/hooks/github", [("X-Large", "x" * 70000)]), "one of 70 kB", 431)
        raw(server, wire.request("POST", "/hooks/github", [(f"X-{n}", "y") for n in range(2000)]), "2000 of them", 431)


def test_a_client_that_goes_away_in_the_middle_leaves_nothing():
    with running(SMALL) as server:
        whole = signed_request(event("never"))
        for cut in (1, 20, len(whole) // 2, len(whole) - 1):
            with wire.Conn(server.port) as conn:
                conn.send(whole[:cut])
                conn.sock.shutdown(socket.SHUT_WR)
                try:
                    case.true(conn.final().status >= 400, "an answer to a half request")
                except wire.Closed:
                    pass
        case.equal(landed(server), [], "what landed")


def test_a_paused_source_gets_503_with_retry_after():
    with running(SMALL) as server:
        done = server.cli("pause", "github")
        case.equal(done.returncode, 0, str(done))
        until("503", lambda: deliver(server, "p").status == 503, 5)
        res = refused(deliver(server, "paused"), 503)
        case.true(int(res.header("Retry-After")) > 0, "Retry-After in seconds")
        case.equal(deliver(server, "o", "/hooks/other").status, 204, "the other source")


def test_a_full_queue_gets_503_and_takes_events_again_when_it_has_landed():
    bounded = {"queue": {"segment_size": "1MiB", "max_size": "4MiB"}, "zone": {"roll": {"age": "4s"}}}
    with running({"github": webhook()}, **bounded) as server:
        taken = 0
        for n in range(80):
            res = deliver(server, event(f"q{n}", pad="x" * 100000))
            if res.status == 503:
                break
            case.equal(res.status, 204)
            taken += 1
        case.true(10 <= taken < 80, f"events taken before the queue was full: {taken}")
        case.true(refused(res, 503).header("Retry-After"), "Retry-After")
        until("room again", lambda: deliver(server, "again").status == 204, 30)
        ids = {r.value["data"]["id"] for r in landed(server)}
    case.equal(ids, {f"q{n}" for n in range(taken)} | {"again"}, "what landed")


def test_a_disk_below_its_reserve_gets_503_and_an_alert():
    with running({"github": webhook()}, limits={"disk_reserve": "1024GiB"}) as server:
        res = refused(deliver(server, "x"), 503)
        case.true(res.header("Retry-After"), "Retry-After")
        until("an alert", lambda: "disk" in server.get("/api/status").text, 10)
        case.equal(landed(server), [], "what landed")


def test_each_refusal_is_counted_by_cause():
    with running(SMALL) as server:
        before = server.metrics()
        refused(deliver(server, "x", headers=[]), 401)
        refused(deliver(server, "x", "/nobody"), 404)
        after = server.metrics()
    raised = [k for k, v in after.items() if v > before.get(k, 0) and ("refus" in k or "reject" in k)]
    case.true(len(raised) >= 2, f"counters that rose: {raised}")


if __name__ == "__main__":
    case.main(globals())
