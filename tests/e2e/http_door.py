#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""HTTP as senders really speak it: keep-alive, pipelining, pieces, chunks, Expect, HTTP/1.0, slow and many clients."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import sign  # noqa: E402
import wire  # noqa: E402
from deliver import accepted, event  # noqa: E402
from server import SECRET, landed, running, until, webhook  # noqa: E402

SOURCE = {"github": webhook()}


def signed(ident, **kw):
    body = event(ident)
    return wire.request("POST", "/hooks/github", sign.github(SECRET, body), body, **kw)


def ids(records):
    return sorted(r.value["data"]["id"] for r in records)


def test_a_connection_is_kept_for_many_requests():
    with running(SOURCE) as server:
        with wire.Conn(server.port) as conn:
            for n in range(50):
                conn.send(signed(f"k{n}"))
                case.equal(conn.final().status, 204)
        case.equal(len(landed(server)), 50, "records")


def test_a_refusal_after_the_whole_request_keeps_the_connection():
    with running(SOURCE) as server, wire.Conn(server.port) as conn:
        body = event("bad")
        conn.send(wire.request("POST", "/hooks/github", sign.github("wrong", body), body))
        case.equal(conn.final().status, 401)
        conn.send(signed("good"))
        case.equal(conn.final().status, 204)


def test_connection_close_is_obeyed():
    with running(SOURCE) as server, wire.Conn(server.port) as conn:
        body = event("bye")
        conn.send(wire.request("POST", "/hooks/github", [*sign.github(SECRET, body), ("Connection", "close")], body))
        case.equal(conn.final().status, 204)
        case.true(conn.is_closed_by_peer(), "the server ends the connection")


def test_pipelined_requests_are_answered_in_order_each_for_itself():
    with running(SOURCE) as server:
        with wire.Conn(server.port) as conn:
            body = event("forged")
            bad = wire.request("POST", "/hooks/github", sign.github("wrong", body), body)
            lost = wire.request("POST", "/nowhere", (), b"{}")
            conn.send(signed("p1") + bad + signed("p2") + lost + signed("p3"))
            case.equal([conn.final().status for _ in range(5)], [204, 401, 204, 404, 204])
        case.equal(ids(landed(server)), ["p1", "p2", "p3"])


def test_a_hundred_pipelined_requests_all_land():
    with running(SOURCE) as server:
        with wire.Conn(server.port) as conn:
            conn.send(b"".join(signed(f"n{n:03}") for n in range(100)))
            case.equal({conn.final().status for _ in range(100)}, {204})
        case.equal(ids(landed(server)), [f"n{n:03}" for n in range(100)])


def test_a_request_in_single_bytes_is_whole_in_the_end():
    with running(SOURCE) as server:
        with wire.Conn(server.port) as conn:
            for byte in signed("bytewise"):
                conn.send(bytes([byte]))
            case.equal(conn.final().status, 204)
        case.equal(ids(landed(server)), ["bytewise"])


def test_a_chunked_body_is_signed_and_landed_whole():
    body = event("chunked", text="x" * 3000)
    head = wire.request("POST", "/hooks/github", [*sign.github(SECRET, body), ("Transfer-Encoding", "chunked")],
                        length=False)
    chunks = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(body[i:i + 700]), body[i:i + 700]) for i in range(0, len(body), 700))
    with running(SOURCE) as server:
        with wire.Conn(server.port) as conn:
            conn.send(head + chunks + b"0\r\nX-Trailer: y\r\n\r\n" + signed("after"))
            case.equal([conn.final().status, conn.final().status], [204, 204])
        records = landed(server)
    case.equal(ids(records), ["after", "chunked"])
    names = [h["name"].lower() for r in records for h in r.value["headers"]]
    case.true("x-trailer" not in names, "a trailer is no header")


def test_expect_100_continue_is_answered_before_the_body():
    body = event("expected")
    headers = [*sign.github(SECRET, body), ("Expect", "100-continue"), ("Content-Length", str(len(body)))]
    with running(SOURCE) as server, wire.Conn(server.port) as conn:
        conn.send(wire.request("POST", "/hooks/github", headers, length=False))
        case.equal(conn.read().status, 100)
        conn.send(body)
        case.equal(conn.final().status, 204)
        with wire.Conn(server.port) as other:
            headers[-1] = ("Content-Length", "99999999999")
            other.send(wire.request("POST", "/hooks/github", headers, length=False))
            case.equal(other.read().status, 413, "refused without asking for the body")


def test_http_1_0_is_served_and_closed():
    with running(SOURCE) as server, wire.Conn(server.port) as conn:
        conn.send(signed("old", version="HTTP/1.0"))
        case.equal(conn.final().status, 204)
        case.true(conn.is_closed_by_peer(), "an HTTP/1.0 connection ends")


def test_http_1_0_with_keep_alive_is_kept():
    with running(SOURCE) as server, wire.Conn(server.port) as conn:
        for n in range(2):
            body = event(f"old{n}")
            conn.send(wire.request("POST", "/hooks/github", [*sign.github(SECRET, body), ("Connection", "keep-alive")],
                                   body, version="HTTP/1.0"))
            res = conn.final()
            case.equal(res.status, 204)
            if (res.header("Connection") or "").lower() != "keep-alive":
                return                           # to close is allowed, to say nothing and keep is not


def test_an_empty_body_is_an_event_like_any_other():
    with running(SOURCE) as server:
        case.equal(wire.once(server.port, "POST", "/hooks/github", sign.github(SECRET, b""), b"").status, 204)
        record, = landed(server)
    case.equal(record.value.get("data_text"), "")


def test_slow_clients_get_408():
    deadlines = {"header_timeout": "1s", "body_timeout": "1s"}
    body = event("slow")
    head = wire.request("POST", "/hooks/github", [*sign.github(SECRET, body), ("Content-Length", str(len(body)))],
                        length=False)
    with running(SOURCE, http=deadlines) as server:
        for what, piece in (("half a header", head[:40]), ("half a body", head + body[:5])):
            with wire.Conn(server.port) as conn:
                begun = time.monotonic()
                conn.send(piece)
                case.equal(conn.final().status, 408, what)
                case.true(conn.is_closed_by_peer(), f"{what}: the connection ends")
                case.true(time.monotonic() - begun < 8, f"{what}: within its deadline")


def test_an_idle_connection_ends_without_an_answer():
    with running(SOURCE, http={"idle_timeout": "1s"}) as server, wire.Conn(server.port) as conn:
        conn.send(signed("one"))
        case.equal(conn.final().status, 204)
        case.true(conn.is_closed_by_peer(8), "closed, and nothing said")


def test_connections_above_the_cap_get_503_and_the_others_are_served():
    with running(SOURCE, http={"connections": 20}) as server:
        held = [wire.Conn(server.port) for _ in range(20)]
        try:
            for conn in held:                    # a request on each: the server has accepted it
                conn.send(signed(f"held{conn.sock.fileno()}"))
                case.equal(conn.final().status, 204)
            with wire.Conn(server.port) as over:
                over.send(signed("over"))
                try:
                    res = over.final()
                    case.equal(res.status, 503)
                    case.true(res.header("Retry-After"), "Retry-After")
                except wire.Closed:
                    pass                         # ended before the request was read
            held[0].send(signed("still served"))
            case.equal(held[0].final().status, 204)
        finally:
            for conn in held:
                conn.close()
        until("room again", lambda: accepts(server), 10)


def accepts(server):
    try:
        return accepted(server, f"room-{time.monotonic_ns()}")
    except (AssertionError, OSError, wire.Closed):
        return None


def test_the_ack_status_is_the_configured_one():
    with running({"github": webhook(ack={"status": 202})}) as server:
        case.equal(accepted(server, "x").status, 202)


if __name__ == "__main__":
    case.main(globals())
