#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Who may send: clients behind proxies, load balancers' PROXY headers, address ranges, paces, and a path that nobody can guess."""
import base64
import contextlib
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import sign  # noqa: E402
import wire  # noqa: E402
from certs import Certs  # noqa: E402
from deliver import event  # noqa: E402
from server import SECRET, Home, Server, config, free_port, landed, running, until, webhook  # noqa: E402

LOCAL = ["127.0.0.0/30"]  # 127.0.0.1 is a proxy of ours, 127.0.0.9 a stranger
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


class From(wire.Conn):
    """A connection from another address of this machine."""

    def __init__(self, port, host="127.0.0.1", timeout=20.0):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout, source_address=(host, 0))
        self.buf = b""


def post(ident, also=(), path="/hooks/github", secret=SECRET):
    body = event(ident)
    return wire.request("POST", path, [*sign.github(secret, body), *also], body)


def say(port, ident, host="127.0.0.1", before=b"", **kw):
    with From(port, host) as conn:
        conn.send(before + post(ident, **kw))
        return conn.final()


def remotes(server):
    return {r.value["data"]["id"]: r.value["request"]["remote"] for r in landed(server)}


def v2(client, port=4711, command=1):
    family = socket.AF_INET6 if ":" in client else socket.AF_INET
    body = socket.inet_pton(family, client) * 2 + struct.pack(">HH", port, 443) + b"\x04\0\x03pad"
    return SIGNATURE + bytes([0x20 | command, 0x21 if ":" in client else 0x11]) + struct.pack(">H", len(body)) + body


def refused(server, cause):
    return server.metrics().get(f'millrace_http_refused_total{{listener="webhook",cause="{cause}"}}', 0)


def requests(server, cause):
    return server.metrics().get(f'millrace_webhook_requests_total{{source="github",outcome="refused",cause="{cause}"}}', 0)


def gone(conn):
    """The peer ends the connection without a word."""
    with contextlib.suppress(ConnectionError):
        case.equal(conn.sock.recv(4096), b"", "no answer")


def test_what_strangers_say_of_themselves_is_not_believed():
    with running({"github": webhook()}) as server:
        for n, name in enumerate(("X-Forwarded-For", "Forwarded", "X-Real-IP")):
            case.equal(say(server.port, f"e{n}", also=[(name, "203.0.113.7")]).status, 204)
        case.equal({r.rsplit(":", 1)[0] for r in remotes(server).values()}, {"127.0.0.1"})


def test_trusted_proxies_name_the_client():
    with running({"github": webhook()}, http={"trusted_proxies": [*LOCAL, "10.0.0.0/8"]}) as server:
        said = {"one": [("X-Forwarded-For", "203.0.113.7")], "spoofed": [("X-Forwarded-For", "1.1.1.1, 203.0.113.8, 10.1.2.3")],
                "two lines": [("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-For", "203.0.113.9")], "six": [("X-Forwarded-For", "2001:db8::7")],
                "broken": [("X-Forwarded-For", "what?")], "another header": [("X-Real-IP", "203.0.113.7")], "nothing": []}
        for ident, headers in said.items():
            case.equal(say(server.port, ident, also=headers).status, 204)
        case.equal(say(server.port, "stranger", host="127.0.0.9", also=[("X-Forwarded-For", "203.0.113.7")]).status, 204)
        seen = remotes(server)
        case.equal({k: v for k, v in seen.items() if not v.startswith("127.")},
                   {"one": "203.0.113.7", "spoofed": "203.0.113.8", "two lines": "203.0.113.9", "six": "2001:db8::7"})
        case.equal({k: v.split(":")[0] for k, v in seen.items() if v.startswith("127.")},
                   {"broken": "127.0.0.1", "another header": "127.0.0.1", "nothing": "127.0.0.1", "stranger": "127.0.0.9"})


def test_forwarded_of_rfc_7239():
    with running({"github": webhook()}, http={"trusted_proxies": LOCAL, "client_header": "forwarded"}) as server:
        case.equal(say(server.port, "e", also=[("Forwarded", 'for=1.1.1.1, For="[2001:db8:cafe::17]:4711";proto=https')]).status, 204)
        case.equal(remotes(server), {"e": "2001:db8:cafe::17"})


def test_only_allowed_addresses_may_send():
    source = webhook(allow=["203.0.113.0/24", "127.0.0.9"], quarantine="full")
    with running({"github": source}, http={"trusted_proxies": LOCAL}) as server:
        for host, also, status in (("127.0.0.9", [], 204), ("127.0.0.1", [("X-Forwarded-For", "203.0.113.200")], 204), ("127.0.0.1", [], 403),
                                   ("127.0.0.10", [], 403), ("127.0.0.9", [("X-Forwarded-For", "198.51.100.1")], 204),
                                   ("127.0.0.1", [("X-Forwarded-For", "198.51.100.1")], 403)):
            res = say(server.port, f"{host} {also} {status}", host=host, also=also)
            case.equal(res.status, status, (host, also))
        case.equal(requests(server, "address"), 3)
        with From(server.port) as conn:  # refused before its body is there
            conn.send(post("no body yet")[:-5])
            case.equal(conn.final().status, 403)
        case.true(not os.path.exists(os.path.join(server.data_dir, "quarantine", "github")), "nothing of them is kept")
        server.cfg["sources"]["github"]["webhook"]["allow"] = ["127.0.0.1"]
        server.write_config()
        server.signal(signal.SIGHUP)
        until("the reload", lambda: say(server.port, "after the reload").status == 204)
        case.equal(say(server.port, "no more", host="127.0.0.9").status, 403)
        case.true(all("204" in i or i == "after the reload" for i in remotes(server)), "who landed")


def test_proxy_headers_of_both_versions():
    names = {}
    with running({"github": webhook()}, http={"trusted_proxies": LOCAL, "proxy_protocol": True}) as server:
        one = b"PROXY TCP4 203.0.113.7 198.51.100.1 56324 443\r\n"
        for ident, before, wanted in (("v1", one, "203.0.113.7:56324"), ("v1 six", b"PROXY TCP6 2001:db8::7 ::1 4711 443\r\n", "[2001:db8::7]:4711"),
                                      ("v2", v2("203.0.113.8"), "203.0.113.8:4711"), ("v2 six", v2("2001:db8::8"), "[2001:db8::8]:4711"),
                                      ("unknown", b"PROXY UNKNOWN\r\n", None), ("local", v2("203.0.113.8", command=0), None)):
            case.equal(say(server.port, ident, before=before).status, 204, ident)
            with From(server.port) as conn:  # in pieces, and two requests behind it
                whole = before + post(ident + " cut") + post(ident + " again")
                for at in range(0, len(before) + 3):
                    conn.send(whole[at:at + 1])
                conn.send(whole[len(before) + 3:])
                case.equal([conn.final().status, conn.final().status], [204, 204], ident)
            for seen in (ident, ident + " cut", ident + " again"):
                names[seen] = wanted
        for junk in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"PROXY TCP4 nonsense\r\n", SIGNATURE + b"\x31\x11\0\0", b"PROXY TCP4 " + b"1" * 200):
            with From(server.port) as conn:
                conn.send(junk)
                gone(conn)
        case.equal(refused(server, "proxy_header"), 4)
        with From(server.port, "127.0.0.9") as conn:  # a stranger may not even try
            with contextlib.suppress(ConnectionError):
                conn.send(one + post("stranger"))
            gone(conn)
        case.equal(refused(server, "not_a_proxy"), 1)
        seen = remotes(server)
        case.equal({k: v if names[k] else None for k, v in seen.items()}, names)
        case.equal({v.split(":")[0] for k, v in seen.items() if not names[k]}, {"127.0.0.1"})


def test_a_proxy_header_in_front_of_tls():
    with Home("mr-peers") as home:
        certs = Certs(home.at("certs"))
        certs.ca()
        certs.leaf("server")
        server = Server(home, config(home, {"github": webhook()}, http={"trusted_proxies": LOCAL, "proxy_protocol": True, "tls": certs.pair("server")}))
        try:
            server.start()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(certs.crt("ca"))
            with From(server.port) as conn:
                conn.send(v2("203.0.113.7"))
                conn.sock = context.wrap_socket(conn.sock, server_hostname="localhost")
                conn.send(post("e"))
                case.equal(conn.final().status, 204)
            case.equal(remotes(server), {"e": "203.0.113.7:4711"})
            server.sanitized()
        finally:
            server.kill9()


def test_connections_are_counted_by_the_client_that_the_header_names():
    with running({"github": webhook()}, http={"trusted_proxies": LOCAL, "proxy_protocol": True, "connections_per_peer": 2}) as server:
        held = []
        for n in range(2):
            conn = From(server.port)
            conn.send(v2("203.0.113.7") + post(f"held {n}"))
            case.equal(conn.final().status, 204)
            held.append(conn)
        with From(server.port) as conn:
            conn.send(v2("203.0.113.7") + post("a third"))
            gone(conn)
        case.equal(say(server.port, "another", before=v2("203.0.113.8")).status, 204)
        held.pop().close()
        until("there is room again", lambda: ok(server.port, v2("203.0.113.7")))
        for conn in held:
            conn.close()


def ok(port, before):
    try:
        return say(port, "again", before=before).status == 204
    except (wire.Closed, ConnectionError):
        return False


def test_haproxy_as_it_is():
    if not shutil.which("haproxy"):
        raise case.Skip("no haproxy")
    for line, http in (("send-proxy", {"proxy_protocol": True}), ("send-proxy-v2", {"proxy_protocol": True}), ("", {})):
        with running({"github": webhook()}, http={"trusted_proxies": LOCAL, **http}) as server:
            port, mode = free_port(), "tcp" if line else "http"
            with open(server.home.at("haproxy.cfg"), "w") as f:
                f.write(f"defaults\n mode {mode}\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n{'' if line else ' option forwardfor'}\n"
                        f"listen in\n bind 127.0.0.1:{port}\n server out 127.0.0.1:{server.port} {line}\n")
            proxy = subprocess.Popen(["haproxy", "-db", "-f", server.home.at("haproxy.cfg")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                until("haproxy", lambda: ok_at(port))
                case.equal(say(port, "through", host="127.0.0.77").status, 204, line)
            finally:
                proxy.terminate()
                proxy.wait(20)
            case.equal(remotes(server)["through"].split(":")[0], "127.0.0.77", line)


def ok_at(port):
    try:
        with From(port) as conn:
            conn.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            return conn.final().status == 404
    except (OSError, wire.Closed):
        return False


def test_a_source_s_pace_is_spent_by_the_verified_alone():
    with running({"github": webhook(rate={"per_second": 1, "burst": 5})}) as server:
        for n in range(30):
            case.equal(say(server.port, f"forged {n}", secret="not the secret").status, 401)
        statuses = [say(server.port, f"e{n}").status for n in range(8)]
        case.equal(statuses[:5], [204] * 5, "a stranger has used nothing up")
        case.true(429 in statuses[5:], statuses)
        res = until("one too many", lambda: [r for r in [say(server.port, "late")] if r.status == 429])[0]
        case.true(1 <= int(res.header("Retry-After")) <= 3, res.headers)
        until("there is a pace again", lambda: say(server.port, "later").status == 204, 20, every=0.3)
        case.true(requests(server, "rate") >= 2, "counted")


def test_each_client_has_a_pace_of_his_own():
    with running({"github": webhook(rate_per_client={"per_second": 1, "burst": 3})}) as server:
        statuses = [say(server.port, f"e{n}", secret="guess").status for n in range(8)]
        case.equal(statuses[:3], [401] * 3)
        case.true(429 in statuses[3:], statuses)
        with From(server.port) as conn:  # told before the body
            conn.send(post("no body yet")[:-5])
            case.equal(conn.final().status, 429)
        case.equal(say(server.port, "another client", host="127.0.0.9").status, 204)


def test_a_path_that_nobody_can_guess():
    secret = "Zm9vYmFyLWJhei1xdXV4-XYZ"
    source = webhook("none", path="/hooks/acme", path_secret="${env:MRT_PATH}", quarantine="full")
    with running({"acme": source}, env={"MRT_PATH": secret}) as server:
        case.equal(wire.once(server.port, "POST", f"/hooks/acme/{secret}", [], event("e")).status, 204)
        for path in ("/hooks/acme", "/hooks/acme/", "/hooks/acme/***", f"/hooks/acme/{secret[:-1]}", f"/hooks/acme/{secret}x", f"/hooks/acme/{secret[:-1]}W",
                     f"/hooks/acme/{secret}/", f"/hooks/{secret}"):
            case.equal(wire.once(server.port, "POST", path, [], event("guess")).status, 404, path)
        case.equal(wire.once(server.port, "DELETE", f"/hooks/acme/{secret}").status, 405)
        done = server.cli("send", "acme", stdin=event("sent"))
        case.equal(done.returncode, 0, done)
        told = [server.get(p).text for p in ("/", "/metrics", "/api/status")] + [done.stdout.decode(), done.stderr.decode()]
        told += [server.cli(*verb).stdout.decode() for verb in (("check", "--offline"), ("status",))]
        proxied = [("X-Original-URI", f"/hooks/acme/{secret}"), ("Referer", f"https://x/hooks/acme/{secret}?a"), ("X-Other", "kept")]
        case.equal(wire.once(server.port, "POST", f"/hooks/acme/{secret}", proxied, event("through a proxy")).status, 204)
        case.equal(wire.once(server.port, "POST", f"/hooks/acme/{secret}", [*proxied, ("Content-Encoding", "br")], event("refused")).status, 415)
        records = landed(server)
        case.equal({r.value["request"]["path"] for r in records}, {"/hooks/acme/***"})
        headers = [{h["name"]: h["value"] for h in r.value["headers"]} for r in records if r.value["data"]["id"] == "through a proxy"]
        case.equal([(h["X-Original-URI"], h["Referer"], h["X-Other"]) for h in headers], [("***", "***", "kept")])
        told.append(server.log(since_start=False))
        for folder, _, names in os.walk(server.home.path):
            for name in names:
                with open(os.path.join(folder, name), "rb") as f:
                    told.append(f.read().decode("latin-1"))
        case.true(not any(secret in t for t in told), "the secret is somewhere")


def test_two_sources_may_share_a_path_with_secrets_of_their_own():
    sources = {name: webhook("none", path="/in", path_secret=f"${{env:MRT_{name.upper()}}}") for name in ("one", "two")}
    with running(sources, env={"MRT_ONE": "1" * 20, "MRT_TWO": "2" * 20}) as server:
        case.equal(wire.once(server.port, "POST", "/in/" + "1" * 20, [], event("first")).status, 204)
        case.equal(wire.once(server.port, "POST", "/in/" + "2" * 20, [], event("second")).status, 204)
        case.equal({r.source: r.value["data"]["id"] for r in landed(server)}, {"one": "first", "two": "second"})


def test_a_public_url_gets_the_secret_too():
    source = webhook("square", path="/sq", path_secret="${env:MRT_PATH}", public_url="https://example.com/sq")
    secret = "s" * 20
    with running({"square": source}, env={"MRT_PATH": secret}) as server:
        body = event("e")
        mac = base64.b64encode(sign.mac(SECRET, f"https://example.com/sq/{secret}".encode() + body).digest()).decode()
        case.equal(wire.once(server.port, "POST", f"/sq/{secret}", [("x-square-hmacsha256-signature", mac)], body).status, 204)


def test_nonsense_in_the_config_is_told():
    with Home("mr-peers") as home:
        for http, source, words in (({"trusted_proxies": ["10.0.0.1/8"]}, {}, "10.0.0.0/8"), ({"proxy_protocol": True}, {}, "trusted_proxies"),
                                    ({}, {"allow": ["office"]}, "no address"), ({}, {"path_secret": "${env:MRT_SHORT}"}, "16 to 256"),
                                    ({}, {"rate": {"burst": 3}}, "per_second")):
            server = Server(home, config(home, {"github": webhook(**source)}, http=http), env={"MRT_SHORT": "short"})
            done = server.cli("check", "--offline")
            case.equal(done.returncode, 2, (http, source, done))
            case.true(words in done.stderr.decode() and "millrace.yaml:" in done.stderr.decode(), done.stderr)


if __name__ == "__main__":
    case.main(globals())
