#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The listener over TLS, against clients that share no code with it: Python's ssl (OpenSSL), openssl s_client, curl."""
import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import sign  # noqa: E402
import wire  # noqa: E402
from certs import RSA, Certs  # noqa: E402
from deliver import event  # noqa: E402
from server import SECRET, Home, Server, config, landed, living, until, webhook  # noqa: E402

SOURCE = {"github": webhook()}


class TlsConn(wire.Conn):
    def __init__(self, port, context, name="localhost", session=None, timeout=20.0):
        super().__init__(port, timeout=timeout)
        self.sock = context.wrap_socket(self.sock, server_hostname=name, session=session, suppress_ragged_eofs=False)


def trusting(certs, client=None, ca="ca"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certs.crt(ca))
    if client:
        context.load_cert_chain(certs.crt(client), certs.key(client))
    return context


def believing():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def post(ident, **more):
    body = event(ident, **more)
    return wire.request("POST", "/hooks/github", sign.github(SECRET, body), body)


def say(conn, ident, **more):
    conn.send(post(ident, **more))
    return conn.final().status


@contextlib.contextmanager
def serving(sources=None, leaf=None, tls=None, stop=True, limits=None, **http):
    """A server whose certificate is `server`, with its Certs."""
    with Home("mr-tls") as home:
        certs = Certs(home.at("certs"))
        certs.ca()
        certs.leaf("server", **(leaf or {}))
        cfg = config(home, sources or SOURCE, http={"tls": certs.pair("server"), **http}, **({"limits": limits} if limits else {}))
        if tls:
            cfg["http"]["tls"].update(tls(certs))
        server = Server(home, cfg)
        with living(server, stop=stop):
            server.start()
            yield server, certs


def ids(server):
    return sorted(r.value["data"]["id"] for r in landed(server))


def test_events_over_tls_land_and_the_protocol_is_modern():
    with serving() as (server, certs):
        with TlsConn(server.port, trusting(certs)) as conn:
            case.equal(conn.sock.version(), "TLSv1.2")
            case.true("GCM" in conn.sock.cipher()[0] or "CHACHA20" in conn.sock.cipher()[0], conn.sock.cipher())
            for n in range(1000):
                case.equal(say(conn, f"e{n:03}"), 204)
        case.equal(ids(server), [f"e{n:03}" for n in range(1000)])


def test_an_rsa_certificate_works_too():
    with serving(leaf={"kind": RSA}) as (server, certs):
        with TlsConn(server.port, trusting(certs)) as conn:
            case.equal(say(conn, "e"), 204)
            case.true("RSA" in conn.sock.cipher()[0], conn.sock.cipher())
        case.equal(ids(server), ["e"])


def test_old_protocols_and_weak_ciphers_are_refused():
    with serving() as (server, certs):
        for options in (["-tls1"], ["-tls1_1"], ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0"],
                        ["-tls1_2", "-cipher", "AES128-GCM-SHA256:@SECLEVEL=0"]):
            done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", *options], input=b"", capture_output=True)
            case.true(done.returncode != 0, f"{options}: {done.stdout[-300:]}")
        until("they are counted", lambda: server.metrics().get('millrace_http_refused_total{listener="webhook",cause="tls_handshake"}', 0) >= 4)
        with TlsConn(server.port, trusting(certs)) as conn:
            case.equal(say(conn, "e"), 204)


def test_the_name_chooses_the_certificate():
    def more(certs):
        certs.leaf("hooks", names="DNS:hooks.example.com,DNS:other.example.org")
        certs.leaf("wild", names="DNS:*.wild.example")
        certs.leaf("common.example", names=None)
        return {"more": [certs.pair("hooks"), certs.pair("wild"), certs.pair("common.example")]}

    with serving(tls=more) as (server, certs):
        context = believing()
        for name, wanted in (("localhost", "server"), ("hooks.example.com", "hooks"), ("OTHER.example.org", "hooks"), ("a.wild.example", "wild"),
                             ("a.b.wild.example", "server"), ("wild.example", "server"), ("common.example", "common.example"),
                             ("nobody.example", "server"), (None, "server")):
            with TlsConn(server.port, context, name=name) as conn:
                shown = conn.sock.getpeercert(binary_form=True)
                with open(certs.crt(wanted)) as f:
                    case.true(shown == ssl.PEM_cert_to_DER_cert(f.read()), f"{name} gets the certificate of {wanted}")


def test_clients_show_their_certificates():
    def mutual(certs):
        certs.ca("other")
        certs.leaf("client")
        certs.leaf("rogue", ca="other")
        certs.leaf("ended", days=-1)
        return {"client_ca": certs.crt("ca")}

    with serving(tls=mutual) as (server, certs):
        with TlsConn(server.port, trusting(certs, client="client")) as conn:
            case.equal(say(conn, "known"), 204)
        for client in (None, "rogue", "ended"):
            try:
                with TlsConn(server.port, trusting(certs, client=client)) as conn:
                    say(conn, "stranger")
                raise AssertionError(f"client {client} was let in")
            except (ssl.SSLError, wire.Closed, OSError):
                pass
        refused = 'millrace_http_refused_total{listener="webhook",cause="tls_client_certificate"}'
        until("three are counted", lambda: server.metrics().get(refused) == 3)
        case.equal(ids(server), ["known"])


def test_an_optional_certificate_may_be_left_out():
    with serving(tls=lambda certs: {"client_ca": certs.crt("ca"), "client_auth": "optional"}) as (server, certs):
        with TlsConn(server.port, trusting(certs)) as conn:
            case.equal(say(conn, "e"), 204)


def test_a_ticket_spares_the_next_handshake():
    with serving() as (server, certs):
        context = trusting(certs)
        with TlsConn(server.port, context) as conn:
            case.equal(say(conn, "first"), 204)
            session = conn.sock.session
        with TlsConn(server.port, context, session=session) as conn:
            case.true(conn.sock.session_reused, "the session is taken up again")
            case.equal(say(conn, "second"), 204)
        metrics = server.metrics()
        case.equal([metrics.get(f'millrace_tls_handshakes_total{{listener="webhook",kind="{k}"}}') for k in ("full", "resumed")], [1, 1])


def test_plain_http_on_the_port_is_told_so():
    with serving() as (server, certs):
        res = wire.once(server.port, "GET", "/")
        case.equal((res.status, b"TLS" in res.body), (400, True), res)
        with TlsConn(server.port, trusting(certs)) as conn:
            case.equal(say(conn, "e"), 204)


def test_rubbish_and_cut_handshakes_harm_nobody():
    hello = bytes.fromhex("160301006d010000690303") + os.urandom(32)
    with serving(first_byte_timeout="1s") as (server, certs):
        for junk in (b"\0" * 100, b"\x16\x03\x01\xff\xff" + b"x" * 1000, hello[:3], hello, b"\x15\x03\x03\x00\x02\x02\x28", os.urandom(40000),
                     b"\x16\x03\x01\x40\x00" + b"\x01" * 16384 + b"\x16\x03\x01\x40\x00" + b"\x01" * 16384 + b"\x01" * 4096):
            with wire.Conn(server.port) as conn:
                with contextlib.suppress(OSError):
                    conn.send(junk)
                conn.sock.settimeout(20)
                with contextlib.suppress(OSError):
                    while conn.sock.recv(4096):
                        pass
            with TlsConn(server.port, trusting(certs)) as conn:
                case.equal(say(conn, f"after {junk[:8].hex()}"), 204)
        case.equal(len(ids(server)), 7)


def test_a_record_that_was_tampered_with_ends_the_connection():
    with serving() as (server, certs):
        raw = socket.create_connection(("127.0.0.1", server.port))
        inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = trusting(certs).wrap_bio(inward, outward, server_hostname="localhost")
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(outward.read())
                inward.write(raw.recv(65536))
        tls.write(post("tampered"))
        record = bytearray(outward.read())
        record[-1] ^= 1
        raw.sendall(record)
        answer = b""
        while got := raw.recv(4096):
            answer += got
        raw.close()
        case.true(answer[:1] == b"\x15", f"an alert: {answer[:20]}")
        until("it is counted", lambda: server.metrics().get('millrace_http_refused_total{listener="webhook",cause="tls_record"}') == 1)
        case.equal(ids(server), [])


def test_requests_cut_anyhow_into_records():
    with serving() as (server, certs):
        with TlsConn(server.port, trusting(certs)) as conn:
            for byte in post("one byte a record"):
                conn.send(bytes([byte]))
            case.equal(conn.final().status, 204)
            conn.send(post("two in") + post("one record"))
            case.equal([conn.final().status, conn.final().status], [204, 204])
            case.equal(say(conn, "64 KiB", filler="x" * 65536), 204)
            case.equal(say(conn, "nearly 1 MiB", filler="y" * 1000000), 204)
            conn.send(b"".join(post(f"pipelined {n}") for n in range(50)))
            case.equal([conn.final().status for _ in range(50)], [204] * 50)
            conn.send(post("bye"))
            case.equal(conn.final().status, 204)
            conn.sock = conn.sock.unwrap()  # close_notify both ways
            case.equal(conn.sock.recv(1), b"", "then the connection ends")
        case.equal(len(ids(server)), 56)


def test_an_answer_that_closes_says_so_in_tls():
    with serving() as (server, certs):
        with TlsConn(server.port, trusting(certs)) as conn:
            body = event("last")
            conn.send(wire.request("POST", "/hooks/github", [*sign.github(SECRET, body), ("Connection", "close")], body))
            case.equal(conn.final().status, 204)
            case.equal(conn.sock.recv(1), b"", "close_notify, no ragged end")


def test_a_request_cut_off_is_no_event():
    with serving() as (server, certs):
        with TlsConn(server.port, trusting(certs)) as conn:
            conn.send(post("half")[:-3])
            conn.sock.shutdown(socket.SHUT_RDWR)
        case.equal(ids(server), [])


def test_a_crowd_of_handshakes_delays_nobody_who_is_through():
    with serving() as (server, certs):
        context, done, stop = trusting(certs), [], threading.Event()
        with TlsConn(server.port, context) as conn:
            def shake():
                while not stop.is_set():
                    with TlsConn(server.port, context) as c:
                        done.append(c.sock.version())

            crowd = [threading.Thread(target=shake) for _ in range(20)]
            for t in crowd:
                t.start()
            for n in range(200):
                case.equal(say(conn, f"e{n}"), 204)
            until("200 handshakes", lambda: len(done) >= 200, 60)
            stop.set()
            for t in crowd:
                t.join()
        case.equal(len(ids(server)), 200)


def test_idle_connections_leave_requests_their_memory():
    with serving(limits={"memory": "16MiB"}) as (server, certs):
        context, held, refused = trusting(certs), [], 0
        for n in range(220):  # 48 KiB each: half of 16 MiB are 170
            try:
                conn = TlsConn(server.port, context)
                case.equal(say(conn, f"idle {n}"), 204)
                held.append(conn)
            except (ssl.SSLError, wire.Closed, OSError):
                refused += 1
        case.true(100 <= len(held) <= 171 and refused, f"{len(held)} are open, {refused} were refused")
        for n, conn in enumerate(held[:20]):  # in pieces, so that each needs a buffer of its own
            conn.send(post(f"large {n}", filler="x" * 100000)[:60000])
        for n, conn in enumerate(held[:20]):
            conn.send(post(f"large {n}", filler="x" * 100000)[60000:])
            case.equal(conn.final().status, 204, n)
        for conn in held:
            conn.close()

        def again():
            with TlsConn(server.port, context) as conn:
                return say(conn, "again") == 204

        until("there is room again", lambda: tried(again))


def tried(call):
    try:
        return call()
    except (ssl.SSLError, wire.Closed, OSError):
        return False


def test_a_reload_brings_a_new_certificate_and_drops_nobody():
    with serving() as (server, certs):
        with TlsConn(server.port, trusting(certs)) as conn:
            case.equal(say(conn, "before"), 204)
            old = conn.sock.getpeercert(binary_form=True)
            certs.leaf("server")
            server.signal(signal.SIGHUP)

            def new_one():
                with TlsConn(server.port, trusting(certs)) as c:
                    return c.sock.getpeercert(binary_form=True) != old

            until("new connections get the new one", new_one)
            case.equal(say(conn, "on the old one"), 204)
            for broken in ("no certificate", None):
                if broken:
                    with open(certs.crt("server"), "w") as f:
                        f.write(broken)
                else:
                    os.unlink(certs.crt("server"))
                before = server.log().count("reload_refused")
                server.signal(signal.SIGHUP)
                until("the reload is refused", lambda: server.log().count("reload_refused") > before)
                case.true(certs.crt("server") in server.log(), "the log names the file")
                case.equal(say(conn, f"still there {broken}"), 204)
                case.true(new_one(), "and the certificate in use is the one before")
        case.equal(len(ids(server)), 4)


def test_a_certificate_that_ends_soon_is_told():
    with serving(leaf={"days": 5}) as (server, certs):
        told = [a for a in server.status()["alerts"] if a["name"] == "tls_certificate"]
        case.true(len(told) == 1 and certs.crt("server") in told[0]["text"] and "4 days" in told[0]["text"], told)
        ends = [v for k, v in server.metrics().items() if k.startswith("millrace_tls_certificate_expiry_time_seconds")]
        shown = subprocess.run(["openssl", "x509", "-in", certs.crt("server"), "-noout", "-enddate"], capture_output=True, text=True).stdout
        case.equal(ends, [float(ssl.cert_time_to_seconds(shown.split("=")[1].strip()))])


def test_files_that_do_not_fit_are_named_before_the_start():
    with Home("mr-tls") as home:
        certs = Certs(home.at("certs"))
        certs.ca()
        certs.leaf("a")
        certs.leaf("b")
        wrong = [({"cert": certs.crt("a"), "key": certs.key("b")}, "is not the private key of"),
                 ({"cert": home.at("none.crt"), "key": certs.key("a")}, "none.crt"),
                 ({"cert": certs.key("a"), "key": certs.key("a")}, "no certificate in PEM"),
                 ({"cert": certs.crt("a"), "key": certs.crt("a")}, "no private key in PEM"),
                 ({**certs.pair("a"), "client_ca": certs.key("b")}, "no certificate in PEM")]
        for tls, words in wrong:
            server = Server(home, config(home, SOURCE, http={"tls": tls}))
            done = server.cli("check", "--offline")
            case.equal(done.returncode, 2, done)
            case.true(words in done.stderr.decode() and "millrace.yaml:" in done.stderr.decode(), done.stderr)


def test_send_speaks_tls():
    with serving() as (server, certs):
        done = server.cli("send", "github", stdin=event("by send"))
        case.equal(done.returncode, 0, done)
        url = f"https://localhost:{server.port}/hooks/github"
        case.equal(server.cli("send", "github", "--to", url, "--ca", certs.crt("ca"), stdin=event("by its CA")).returncode, 0)
        done = server.cli("send", "github", "--to", url, stdin=event("not trusted"))
        case.true(done.returncode == 1 and b"--ca" in done.stderr, done)
        other = f"https://127.0.0.2:{server.port}/hooks/github"
        case.equal(server.cli("send", "github", "--to", other, "--ca", certs.crt("ca"), stdin=event("another name")).returncode, 1)
        case.equal(ids(server), ["by its CA", "by send"])


def test_curl_gets_through():
    if not shutil.which("curl"):
        raise case.Skip("no curl")
    with serving() as (server, certs):
        body = event("curl")
        headers = [x for k, v in sign.github(SECRET, body) for x in ("-H", f"{k}: {v}")]
        done = subprocess.run(["curl", "-sS", "--cacert", certs.crt("ca"), "-o", "/dev/null", "-w", "%{http_code}", *headers, "--data-binary", body,
                               f"https://localhost:{server.port}/hooks/github"], capture_output=True, text=True)
        case.equal(done.stdout, "204", done.stderr)
        case.equal(ids(server), ["curl"])


def test_what_was_acknowledged_outlives_a_kill():
    with serving(stop=False, sources=SOURCE) as (server, certs):
        acked = []
        with TlsConn(server.port, trusting(certs)) as conn:
            for n in range(300):
                if say(conn, f"e{n:03}") == 204:
                    acked.append(f"e{n:03}")
            server.kill9()
        server.start()
        case.equal(ids(server), acked)


if __name__ == "__main__":
    case.main(globals())
