#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The HTTP client against servers that behave well, badly and not at all.

usage: asked.py ASK SLOW_RESOLVER     the program that asks (ask.c), and a library that makes one look-up hang
"""
import contextlib
import gzip
import hashlib
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
import case  # noqa: E402
from certs import Certs  # noqa: E402
from server import free_port, preload, until  # noqa: E402

ASK, SLOW_RESOLVER = sys.argv[1:3]
sys.argv[1:3] = []
os.environ["MILLRACE_BIN"] = ASK  # whose sanitizer's runtime goes first into LD_PRELOAD


def answer(body=b"", status="200 OK", headers=()):
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n".encode() + b"".join(h + b"\r\n" for h in headers) + b"\r\n" + body


class World:
    """A server of raw bytes: a path is a behaviour. Keeps what it was asked."""

    def __init__(self, address="127.0.0.1", context=None):
        self.asked, self.lock, self.now, self.most, self.context = [], threading.Lock(), 0, 0, context
        self.socket = socket.create_server((address, 0))
        self.port = self.socket.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://{address}:{self.port}"
        self.released = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                conn, _ = self.socket.accept()
                threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        with contextlib.suppress(OSError, ValueError), conn:
            if self.context:
                conn = self.context.wrap_socket(conn, server_side=True)
            f = conn.makefile("rb")
            while True:
                line = f.readline()
                if not line:
                    return
                method, target, _ = line.decode("latin-1").split(" ", 2)
                headers = []
                while (h := f.readline()) not in (b"\r\n", b"\n", b""):
                    name, value = h.decode("latin-1").rstrip("\r\n").split(":", 1)
                    headers.append((name, value.strip()))
                length = next((int(v) for n, v in headers if n.lower() == "content-length"), 0)
                body = f.read(length)
                with self.lock:
                    self.asked.append((method, target, headers, body))
                    self.now += 1
                    self.most = max(self.most, self.now)
                try:
                    path = target.removeprefix("http://nobody.invalid")  # as a proxy is asked
                    name = "do_" + path.split("?")[0].strip("/").split("/")[0].replace("-", "_")
                    again = getattr(self, name)(conn, method, target, headers, body)
                finally:
                    with self.lock:
                        self.now -= 1
                if again is False:
                    return

    # -- behaviours; False: the connection ends --

    def do_ok(self, conn, *_):
        conn.sendall(answer(b"hello"))

    def do_echo(self, conn, method, target, headers, body):
        conn.sendall(answer(json.dumps([method, target, headers, body.decode()]).encode()))

    def do_bytes(self, conn, method, target, *_):
        conn.sendall(answer(b"x" * int(target.rsplit("/", 1)[1])))

    def do_headers(self, conn, *_):
        conn.sendall(answer(b"", headers=[b"X-One: 1", b"x-two:  2 ", b"X-One: again", b"Empty:", b"Date: Sun, 06 Nov 1994 08:49:37 GMT"]))

    def do_date(self, conn, method, target, *_):
        conn.sendall(answer(b"", headers=[b"Date: " + target.split("?")[1].replace("_", " ").encode()]))

    def do_many(self, conn, *_):
        conn.sendall(answer(b"", headers=[b"X-%d: y" % n for n in range(400)]))

    def do_wide(self, conn, *_):
        conn.sendall(answer(b"", headers=[b"X-%d: " % n + b"y" * 60000 for n in range(5)]))

    def do_interim(self, conn, *_):
        conn.sendall(b"HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\n" + answer(b"late", headers=[b"X-Late: 1"]))

    def do_trailers(self, conn, *_):
        conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n")

    def do_no_content(self, conn, *_):
        conn.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    def do_head(self, conn, *_):
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")

    def do_old(self, conn, *_):
        conn.sendall(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")
        return False

    def do_cut_head(self, conn, *_):
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: \"a\"\r\n")
        return False

    def do_cut_line(self, conn, *_):
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Le")
        return False

    def do_truncated(self, conn, *_):
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
        return False

    def do_cut_chunk(self, conn, *_):
        conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
        return False

    def do_reset(self, conn, *_):
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    def do_nothing(self, conn, *_):
        return False

    def do_garbage(self, conn, *_):
        conn.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" * 10)
        return False

    def do_silent(self, conn, *_):
        self.released.wait(20)
        return False

    def do_stall(self, conn, *_):
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthis")
        self.released.wait(20)
        return False

    def do_declared(self, conn, *_):
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * 1000)
        self.released.wait(20)
        return False

    def do_endless(self, conn, *_):
        conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            conn.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")

    def do_gzip(self, conn, method, target, headers, *_):
        wants = any(n.lower() == "accept-encoding" and "gzip" in v for n, v in headers)
        conn.sendall(answer(gzip.compress(b"packed" * 1000) if wants else b"plain", headers=[b"Content-Encoding: gzip"] if wants else []))

    def do_bomb(self, conn, *_):
        conn.sendall(answer(gzip.compress(b"0" * 50_000_000), headers=[b"Content-Encoding: gzip"]))

    def do_no_gzip(self, conn, *_):
        conn.sendall(answer(b"this is no gzip", headers=[b"Content-Encoding: gzip"]))

    def do_to(self, conn, method, target, *_):
        conn.sendall(answer(b"moved", "302 Found", [b"Location: " + target.split("?to=")[1].encode()]))

    def do_303(self, conn, *_):
        conn.sendall(answer(b"", "303 See Other", [b"Location: /ok"]))

    def do_round(self, conn, *_):
        conn.sendall(answer(b"", "307 Temporary Redirect", [b"Location: /round"]))

    def do_nowhere(self, conn, *_):
        conn.sendall(answer(b"", "302 Found"))

    def do_once(self, conn, *_):
        """Kept alive, and gone when it is asked again on that connection."""
        conn.sendall(answer(b"first"))
        conn.recv(1)
        with self.lock:
            self.asked.append(("dead", "", [], b""))
        return False

    def stop(self):
        self.released.set()
        self.socket.close()


@contextlib.contextmanager
def world(*args, **more):
    w = World(*args, **more)
    try:
        yield w
    finally:
        w.stop()


def ask(*exchanges, close_ms=0, proxy=None, env=None, timeout=60):
    """What became of each, by its number; and under "worst_ms" the loop's worst gap."""
    args = [ASK, str(close_ms), *([proxy] if proxy else [])]
    text = "".join(json.dumps(x) + "\n" for x in exchanges)
    done = subprocess.run(args, input=text, capture_output=True, text=True, timeout=timeout, env={**os.environ, **(env or {})})
    if done.returncode or done.stderr:
        raise AssertionError(f"exit code {done.returncode}: {done.stderr[-4000:]}")
    ended = {}
    for line in done.stdout.splitlines():
        value = json.loads(line)
        case.true(value.get("n") not in ended, f"told once: {value}")
        if "n" in value:
            ended[value["n"]] = value
        else:
            ended.update(value)
    return ended


def one(url, **more):
    return ask({"url": url, **more})[0]


def sha(body):
    return hashlib.sha256(body).hexdigest()


def told(end, cause, status=None):
    case.equal(end["cause"], cause, f"{end}")
    case.true(bool(end["why"]) == (cause != "ok"), f"a reason: {end}")
    if status is not None:
        case.equal(end["status"], status)


def test_an_answer_comes_whole_and_its_headers_in_order():
    with world() as w:
        end = one(w.url + "/ok")
        told(end, "ok", 200)
        case.equal((end["bytes"], end["sha256"], end["sent"]), (5, sha(b"hello"), True))
        end = one(w.url + "/headers")
        case.equal(end["headers"], [["Content-Length", "0"], ["X-One", "1"], ["x-two", "2"], ["X-One", "again"], ["Empty", ""],
                                    ["Date", "Sun, 06 Nov 1994 08:49:37 GMT"]])
        case.equal(end["date_us"], 784111777 * 1000000, "RFC 9110's own example")
        for date, want in (("Tue, 14 Nov 2120000023 22:14:GMT", 0), ("soon", 0), ("", 0), ("Fri, 31 Dec 9999 23:59:59 GMT", 253402300799000000)):
            case.equal(one(w.url + "/date?" + date.replace(" ", "_"))["date_us"], want, date)
        case.equal(one(w.url + "/interim")["headers"], [["Content-Length", "4"], ["X-Late", "1"]], "not those of the interim answer")
        end = one(w.url + "/trailers")
        case.equal((end["sha256"], end["headers"]), (sha(b"hello"), [["Transfer-Encoding", "chunked"]]))
        told(one(w.url + "/no-content"), "ok", 204)
        told(one(w.url + "/head", method="HEAD"), "ok", 200)
        case.equal(one(w.url + "/old")["sha256"], sha(b"until the end"))
        told(one(w.url + "/bytes/20000000"), "ok", 200)


def test_a_request_is_what_the_caller_says_and_nothing_more():
    with world() as w:
        headers = [["Content-Type", "application/json"], ["X-Empty", ""], ["X-B", "2"], ["X-B", "1"]]
        for method, body in (("POST", "{}"), ("PUT", "text"), ("PATCH", "p"), ("DELETE", ""), ("GET", ""), ("POST", ""), ("PROPFIND", "")):
            told(one(w.url + "/echo/a?b=c%20d", method=method, body=body, headers=headers), "ok", 200)
            got = w.asked[-1]
            case.equal((got[0], got[1], got[3].decode()), (method, "/echo/a?b=c%20d", body))
            case.equal([list(h) for h in got[2] if h[0] not in ("Host", "User-Agent", "Accept", "Content-Length")], headers, method)
        for target in ("/echo/a/../b", "/echo/./c//d/..", "/echo/%2e%2e/e", "/echo/a?x=/../y"):
            told(one(w.url + target), "ok", 200)
            case.equal(w.asked[-1][1], target, "as it was given: what is signed is what is asked")
        told(one(w.url + "/echo", method="POST", body="x" * 300000), "ok", 200)
        names = [n for n, _ in w.asked[-1][2]]
        case.true("Expect" not in names and "Content-Type" not in names and "Accept-Encoding" not in names, names)


def test_what_ends_early_is_not_whole():
    with world() as w:
        for path in ("truncated", "cut-chunk", "reset", "nothing", "cut-head", "cut-line"):
            end = one(f"{w.url}/{path}")
            told(end, "broken")
            case.true(end["sent"], path)
        told(one(w.url + "/garbage"), "malformed")


def test_nobody_there():
    port = free_port()
    end = one(f"http://127.0.0.1:{port}/x?token=s3cr3t")
    told(end, "connect")
    case.equal((end["sent"], end["status"]), (False, 0))
    case.true("s3cr3t" not in end["why"] and f"http://127.0.0.1:{port}/x" in end["why"], end["why"])
    told(one("http://no.such.name.invalid/"), "resolve")


def test_every_wait_has_an_end_and_the_last_one_is_told():
    with world() as w:
        end = one(w.url + "/silent", total_ms=300)
        told(end, "timeout")
        case.true(end["sent"], "it may have been acted on")
        told(one(w.url + "/stall", stall_ms=1000), "timeout", 200)
        ends = ask(*[{"url": w.url + "/silent", "total_ms": 300 + 50 * n} for n in range(5)])
        case.equal([ends[n]["cause"] for n in range(5)], ["timeout"] * 5)
    with socket.create_server(("127.0.0.1", 0), backlog=1) as full:  # nobody accepts, and its queue is full
        others = [socket.socket() for _ in range(4)]
        for s in others:
            s.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                s.connect(full.getsockname())
        end = one(f"http://127.0.0.1:{full.getsockname()[1]}/", connect_ms=300)
        told(end, "timeout")
        case.equal(end["sent"], False)
        for s in others:
            s.close()


def test_a_name_server_that_hangs_stops_nobody():
    """It never answers: who waits for it, be it only at the end, does not end."""
    with world() as w, tempfile.TemporaryDirectory() as folder:
        fifo = os.path.join(folder, "hang")
        os.mkfifo(fifo)                           # and nobody writes to it
        env = {"LD_PRELOAD": preload(SLOW_RESOLVER), "ASAN_OPTIONS": "detect_leaks=0", "MRT_HANG": fifo}
        ends = ask({"url": "http://hang.test/", "connect_ms": 500}, {"url": w.url + "/bytes/5000000"}, env=env, timeout=30)
        told(ends[0], "timeout")
        told(ends[1], "ok", 200)
        case.true(ends["worst_ms"] < 2000, f"the loop stood still for {ends['worst_ms']} ms")
        ends = ask({"url": "http://hang.test/"}, close_ms=300, env=env, timeout=30)
        told(ends[0], "canceled")
        case.true(ends["worst_ms"] < 2000, f"closing: {ends['worst_ms']} ms")


def test_bodies_are_bounded_as_declared_as_they_come_and_unpacked():
    with world() as w:
        told(one(w.url + "/declared", body_max=1000000), "too_big")
        end = one(w.url + "/endless", body_max=1000000)
        told(end, "too_big")
        case.true(end["bytes"] <= 1000000, "no more than that was handed on")
        told(one(w.url + "/bytes/1000", body_max=1000), "ok")
        told(one(w.url + "/head", method="HEAD", body_max=1000), "ok", 200)  # it tells of 1234, and sends none
        told(one(w.url + "/bytes/1001", body_max=1000), "too_big")
        end = one(w.url + "/gzip", gzip=True)
        case.equal((end["cause"], end["sha256"]), ("ok", sha(b"packed" * 1000)))
        case.equal(one(w.url + "/gzip")["sha256"], sha(b"plain"))
        end = one(w.url + "/bomb", gzip=True)
        told(end, "too_big")
        case.true(end["bytes"] < 40_000_000, f"by its ratio, not its size: {end['bytes']}")
        told(one(w.url + "/bomb", gzip=True, ratio_max=5000), "ok")
        told(one(w.url + "/bomb", gzip=True, ratio_max=5000, body_max=2_000_000), "too_big")
        told(one(w.url + "/no-gzip", gzip=True), "malformed")
        told(one(w.url + "/many"), "too_big")
        told(one(w.url + "/wide"), "too_big")


def test_redirects_stay_within_the_origin():
    with world() as w, world("127.0.0.2") as other:
        secret = [["X-Shopify-Access-Token", "s3cr3t"], ["Authorization", "Bearer s3cr3t"]]
        told(one(w.url + "/to?to=/ok"), "ok", 302)
        end = one(w.url + "/to?to=/ok", follow=True, headers=secret)
        case.equal((end["cause"], end["status"], end["sha256"], end["headers"]), ("ok", 200, sha(b"hello"), [["Content-Length", "5"]]))
        case.equal([a[1] for a in w.asked[-2:]], ["/to?to=/ok", "/ok"])
        told(one(f"{w.url}/to?to={w.url}/ok", follow=True), "ok", 200)
        told(one(w.url + "/303", follow=True), "ok", 200)
        before = len(w.asked)
        told(one(w.url + "/round", follow=True), "refused")
        case.equal(len(w.asked) - before, 6, "five at most")
        for to in (f"{other.url}/ok", f"http://127.0.0.1:{other.port}/ok", f"https://127.0.0.1:{w.port}/ok", f"//127.0.0.2:{other.port}/ok", "file:///etc/passwd"):
            end = one(f"{w.url}/to?to={to}", follow=True, headers=secret)
            told(end, "refused")
            case.true("s3cr3t" not in end["why"], end["why"])
        case.equal(other.asked, [], "nobody else was asked, with or without what is secret")
        told(one(w.url + "/to?to=/ok", follow=True, method="POST", body="x"), "refused")
        told(one(w.url + "/nowhere", follow=True), "refused")
        told(one(w.url + "/to?to=/ok", follow=True, method="HEAD"), "ok")


def test_what_may_not_be_asked_is_not():
    with world() as w:
        for url in ("ftp://127.0.0.1/x", "file:///etc/passwd", "127.0.0.1/x", "", "http:/x", f"http://user:pw@127.0.0.1:{w.port}/ok", w.url + "/ok\r\nX: y"):
            told(one(url), "refused")
        told(one(w.url + "/ok", headers=[["X", "a\r\nY: b"]]), "refused")
        told(one(w.url + "/ok", headers=[["X\nY", "b"]]), "refused")
        told(one(w.url + "/ok", public=True), "refused")
        told(one(f"http://localhost:{w.port}/ok", public=True), "refused")
        case.equal(w.asked, [])


def test_the_environment_decides_nothing():
    with world() as w, tempfile.TemporaryDirectory() as home:
        with open(os.path.join(home, ".netrc"), "w") as f:
            f.write("machine 127.0.0.1 login user password s3cr3t\n")
        nowhere = f"http://127.0.0.1:{free_port()}"
        env = {"http_proxy": nowhere, "ALL_PROXY": nowhere, "HTTPS_PROXY": nowhere, "HOME": home}
        end = ask({"url": w.url + "/echo"}, env=env)[0]
        told(end, "ok", 200)
        case.true("Authorization" not in dict(w.asked[0][2]), w.asked)


def test_a_proxy_that_is_configured_is_asked():
    with world() as proxy:
        end = ask({"url": "http://nobody.invalid/ok"}, proxy=proxy.url)[0]
        told(end, "ok", 200)
        case.equal(proxy.asked[0][1], "http://nobody.invalid/ok")


def test_a_connection_that_died_meanwhile_is_made_anew():
    with world() as w:
        ends = ask({"url": w.url + "/once"}, {"url": w.url + "/ok", "after": 0})
        told(ends[1], "ok", 200)
        case.equal([a[0] for a in w.asked], ["GET", "dead", "GET"])
        case.equal([ends[n]["repeated"] for n in (0, 1)], [False, True], "and who asked is told: the first may have been acted on")
        case.equal(one(w.url + "/to?to=/ok", follow=True)["repeated"], False, "a redirect is another request")


def test_connections_are_kept_and_bounded():
    with world() as w:
        ends = ask(*[{"url": w.url + "/bytes/50000"} for _ in range(100)])
        case.equal({ends[n]["cause"] for n in range(100)}, {"ok"})
        case.true(w.most <= 8, f"{w.most} at once to one host")


def test_a_pause_holds_the_sender_back_and_nothing_is_lost():
    with world() as w:
        ends = ask({"url": w.url + "/bytes/30000000", "pause_ms": 300}, {"url": w.url + "/ok"}, {"url": w.url + "/gzip", "gzip": True, "pause_ms": 100})
        case.equal((ends[0]["cause"], ends[0]["sha256"]), ("ok", sha(b"x" * 30000000)))
        case.equal((ends[2]["cause"], ends[2]["sha256"]), ("ok", sha(b"packed" * 1000)))
        told(ends[1], "ok", 200)


def test_who_cancels_hears_nothing_more():
    with world() as w:
        for when in ("started", "head", "bytes"):
            ends = ask({"url": w.url + "/bytes/5000000", "cancel": when}, {"url": w.url + "/ok"})
            case.equal(sorted(k for k in ends if k != "worst_ms"), [1], when)
        ends = ask({"url": w.url + "/silent"}, {"url": w.url + "/stall"}, {"url": w.url + "/stall", "pause_ms": 10000}, close_ms=300)
        case.equal([ends[n]["cause"] for n in range(3)], ["canceled"] * 3)
        ends = ask({"url": w.url + "/ok"}, {"url": w.url + "/silent"}, {"url": w.url + "/ok", "after": 0}, close_ms=500)
        case.equal([ends[n]["cause"] for n in range(3)], ["ok", "canceled", "ok"])
        case.equal(ask(), {"worst_ms": 0}, "nobody asked for anything")


@contextlib.contextmanager
def certificates():
    with tempfile.TemporaryDirectory() as folder:
        certs = Certs(folder)
        certs.ca()
        certs.ca("other")
        certs.leaf("here")
        certs.leaf("elsewhere", names="DNS:elsewhere.example")
        certs.leaf("ended", days=-1)
        certs.leaf("us")
        yield certs


def tls(certs, name, clients=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certs.crt(name), certs.key(name))
    if clients:
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_tls_is_verified():
    with certificates() as certs:
        with world(context=tls(certs, "here")) as w:
            told(one(w.url + "/ok", ca=certs.crt("ca")), "ok", 200)
            for ca in ({"ca": certs.crt("other")}, {}):
                end = one(w.url + "/ok", **ca)
                told(end, "tls")
                case.equal(end["sent"], False)
            end = one(w.url + "/ok", ca=certs.crt("nowhere"))
            told(end, "tls")
            case.true("ca-certificates" in end["why"], end["why"])
            told(one(f"https://elsewhere.example:{w.port}/ok", ca=certs.crt("ca"), connect_to=f"127.0.0.1:{w.port}"), "tls")
            ends = ask({"url": w.url + "/ok"})
            case.true(ends["worst_ms"] < 1000, "the system's CAs are read on a worker")
            case.equal(ask({"url": w.url + "/ok"}, close_ms=1)[0]["cause"] in ("canceled", "tls"), True, "closed while they are read")
        for name in ("elsewhere", "ended"):
            with world(context=tls(certs, name)) as w:
                told(one(w.url + "/ok", ca=certs.crt("ca")), "tls")
        with world(context=tls(certs, "elsewhere")) as w:
            told(one("https://elsewhere.example/ok", ca=certs.crt("ca"), connect_to=f"127.0.0.1:{w.port}"), "ok", 200)
        with world(context=tls(certs, "here", clients=certs.crt("ca"))) as w:
            told(one(w.url + "/ok", ca=certs.crt("ca"), cert=certs.crt("us"), key=certs.key("us")), "ok", 200)
            case.true(one(w.url + "/ok", ca=certs.crt("ca"))["cause"] in ("tls", "broken"), "no certificate of ours")
        with world() as plain:
            told(one(f"https://127.0.0.1:{plain.port}/ok", ca=certs.crt("ca")), "tls")


def test_http2_is_spoken_where_it_is_wanted():
    haproxy = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if not haproxy:
        raise case.Skip("no haproxy")
    with certificates() as certs:
        both, port = os.path.join(certs.folder, "both.pem"), free_port()
        with open(both, "w") as f:
            f.write(open(certs.crt("here")).read() + open(certs.key("here")).read())
        conf = os.path.join(certs.folder, "haproxy.cfg")
        with open(conf, "w") as f:
            f.write(f"defaults\n mode http\n timeout client 9s\n timeout server 9s\n timeout connect 9s\nfrontend f\n bind 127.0.0.1:{port} ssl crt {both} alpn h2,http/1.1\n"
                    " http-request return status 200 content-type text/plain lf-string %HV\n")
        proc = subprocess.Popen([haproxy, "-f", conf, "-db"], stderr=subprocess.DEVNULL)
        try:
            url = f"https://127.0.0.1:{port}/"
            until("it listens", lambda: one(url, ca=certs.crt("ca"))["cause"] == "ok")
            case.equal(one(url, ca=certs.crt("ca"))["sha256"], sha(b"HTTP/1.1"))
            case.equal(one(url, ca=certs.crt("ca"), http2=True)["sha256"], sha(b"HTTP/2.0"))
        finally:
            proc.terminate()
            proc.wait(10)


if __name__ == "__main__":
    case.main(globals())
