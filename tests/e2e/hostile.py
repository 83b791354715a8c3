#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The listener under attack: every case of tests/e2e/attacks/ against the real server.

After each case an honest request on a connection of its own must get its 2xx, and in the end the zone holds what was
acknowledged, once, and nothing that stood hidden in another request.

usage: hostile.py [NAME...]         stories, by a part of their name; ATTACK=name runs that one case of them
       hostile.py --seeds FOLDER    writes the bytes of all cases as seeds of tests/fuzz/http.c
       hostile.py --peer PORT       how many a server of others gets right (bench/peers/hostile/), the slow ones left out
"""
import base64
import collections
import hashlib
import os
import select
import socket
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import sign  # noqa: E402
import wire  # noqa: E402
from attacks import END, NOTHING, RESET, Await, Bytewise, Deaf, Drip, bodies, flow, framing, lines, post  # noqa: E402
from deliver import accepted, event, wait_landed  # noqa: E402
from server import SECRET, Home, Server, config, is_sanitized, landed, running, until, webhook  # noqa: E402

SOURCE = {"github": webhook()}
SOON = 0.05                                       # between two bytes of a drip, unless something comes earlier
PATIENT = 5.0 if "--peer" in sys.argv else 30.0   # for any single answer: far above every deadline of the server
DEADLINES = {key + "_timeout": "1s" for key in ("first_byte", "header", "body", "idle")}
GROUPS = {**framing.GROUPS, **lines.GROUPS, **bodies.GROUPS, **flow.GROUPS, **flow.SLOW_GROUP}


class Wrong(Exception):
    pass


# ---- one case ----

def readable(conn, timeout=0.0):
    return bool(conn.buf or select.select([conn.sock], [], [], timeout)[0])


def send(conn, data):
    """Sends as a client that listens: it stops when the peer has something to say. False: it has, or it is gone."""
    try:
        for at in range(0, len(data), 16384):
            conn.send(data[at:at + 16384])
            if at + 16384 < len(data) and readable(conn):
                return False
        return True
    except OSError:
        return False


def drip(conn, data, pause):
    for at in range(len(data)):
        if not send(conn, data[at:at + 1]) or (pause and readable(conn, pause)):
            return


def deaf(conn, data):
    """Sends until the peer ends the connection, and reads nothing: its answers have nowhere to go."""
    conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    many = data * (65536 // len(data) + 1)
    try:
        while True:
            conn.sock.sendall(many)              # blocks when the peer stops reading; its end fails it
    except TimeoutError:
        raise Wrong("the connection of one who never reads is kept for ever") from None
    except OSError:
        pass


def await_status(conn, status):
    res = conn.read()
    if res.status != status:
        raise Wrong(f"{res} instead of {status}")


def play(conn, steps):
    """True if there is still somebody to listen to."""
    for step in steps:
        if step == RESET:
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            conn.close()
            return False
        if step == END:
            try:
                conn.sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass                             # ended by the peer
        elif isinstance(step, Await):
            await_status(conn, step)
        elif isinstance(step, Deaf):
            deaf(conn, step)
        elif isinstance(step, (Drip, Bytewise)):
            drip(conn, step, SOON if isinstance(step, Drip) else 0)
        else:
            send(conn, step)
    return not any(isinstance(s, Deaf) for s in steps)


def due(attack, conn, form):
    """The next answer's status, NOTHING if the connection ends without one."""
    while True:
        try:
            res = conn.read(head_only=attack.head)
        except wire.Closed:
            if conn.buf:
                raise Wrong(f"half an answer: {conn.buf!r}") from None
            return NOTHING
        except TimeoutError:
            raise Wrong(f"no answer within {PATIENT:g} s") from None
        if res.status >= 200:
            form(res, attack)
            return res.status
        if not attack.interim or res.status != 100:
            raise Wrong(f"{res} was not asked for")


def judge_form(res, attack):
    """What RFC 9110 demands of any answer, and our own promise: a refusal says its reason in one line of JSON."""
    if res.version not in ("HTTP/1.1", "HTTP/1.0"):
        raise Wrong(f"version {res.version}")
    if res.status == 405 and not res.header("Allow"):
        raise Wrong("405 without Allow")
    if res.status == 503 and not res.header("Retry-After"):
        raise Wrong("503 without Retry-After")
    if res.status == 204 and (res.header("Content-Length") or res.header("Transfer-Encoding")):
        raise Wrong("204 with a length")          # RFC 9110 8.6, RFC 9112 6.1
    if res.status >= 400 and not attack.head and not (res.body.startswith(b'{"error":"') and res.body.count(b"\n") == 1):
        raise Wrong(f"{res.status} without its reason: {res.body!r}")


class Tally:
    """What must be in the zone, and what may be."""

    def __init__(self):
        self.acked, self.maybe = collections.Counter(), set()
        self.honest = 0

    def note(self, ident):
        self.acked[key_of_body(ident) if isinstance(ident, bytes) else ident] += 1


def judge_end(attack, conn, tally):
    if attack.end == "closed":
        if conn.buf or not conn.is_closed_by_peer(PATIENT):
            raise Wrong(f"the connection goes on, {conn.buf!r}")
        return
    after = attack.name + "/after"
    send(conn, post(after) if attack.end == "kept" else post(after, b"Connection: close"))
    try:
        res = conn.final()
    except wire.Closed as e:
        if attack.end == "kept":
            raise Wrong(f"the connection is not kept: {e}") from None
        return
    if res.status != 204:
        raise Wrong(f"a genuine request behind it gets {res}")
    tally.note(after)


def run(attack, port, tally, form=judge_form):
    tally.maybe.update(attack.maybe)
    with wire.Conn(port, timeout=PATIENT) as conn:
        if not play(conn, attack.steps):
            return
        for n, right in enumerate(attack.answers):
            status = due(attack, conn, form)
            if 200 <= status < 300 and attack.ids[n] is not None:
                tally.note(attack.ids[n])
            if status not in right:
                raise Wrong(f"answer {n}: {status or 'none'}, right would be {sorted(right)}")
            if status == NOTHING:
                return
        judge_end(attack, conn, tally)


# ---- a group on one server ----

def key_of_body(body):
    return "sha256:" + hashlib.sha256(body).hexdigest()


def key_of(record):
    """An event of ours by its id, any other by what its body was."""
    v = record.value
    if isinstance(v.get("data"), dict):
        return v["data"].get("id")
    if "data_base64" in v:
        return key_of_body(base64.b64decode(v["data_base64"]))
    if "data_text" in v:
        return key_of_body(v["data_text"].encode())
    text = record.text                            # JSON, but no object: its own token is the last of the line
    return key_of_body(text[text.rindex('"data":') + 7:-1].encode())


def honest(server, tally):
    tally.honest += 1
    ident = f"honest-{tally.honest}"
    accepted(server, event(ident))
    tally.note(ident)


def judge_zone(server, tally):
    found = collections.Counter(key_of(r) for r in landed(server))
    wrong = [f"in the zone {n} times, acknowledged {tally.acked[i]} times: {i}" for i, n in found.items()
             if n != tally.acked[i] and not (i in tally.maybe and n == 1)]
    return wrong + [f"acknowledged and not in the zone: {i}" for i in tally.acked if i not in found]


def attack_all(name, http=None):
    only = os.environ.get("ATTACK")
    attacks = [a for a in GROUPS[name] if not only or a.name == only]
    if not attacks:
        raise case.Skip("no case of that name")
    wrong, tally = [], Tally()
    with running(SOURCE, name="mr-hostile", **({"http": http} if http else {})) as server:
        for attack in attacks:
            try:
                run(attack, server.port, tally)
            except (Wrong, OSError, wire.Closed, ValueError) as e:
                wrong.append(f"{attack.name}: {e}")
            honest(server, tally)
        wrong += judge_zone(server, tally)
    print(f"        {len(attacks)} cases, {sum(tally.acked.values())} events acknowledged", flush=True)
    case.equal(wrong, [], name)


def test_two_lengths_at_once_are_refused_or_end_the_connection():
    attack_all("contradictions")


def test_a_length_is_decimal_digits():
    attack_all("lengths")


def test_chunked_is_the_only_coding_of_the_transfer():
    attack_all("codings")


def test_a_request_in_the_body_of_another_is_never_run():
    attack_all("carried requests")


def test_header_lines():
    attack_all("header lines")


def test_request_lines():
    attack_all("request lines")


def test_methods():
    attack_all("methods")


def test_targets():
    attack_all("targets")


def test_hosts():
    attack_all("hosts")


def test_chunk_sizes():
    attack_all("chunk sizes")


def test_broken_chunks():
    attack_all("broken chunks")


def test_trailers():
    attack_all("trailers")


def test_sizes_above_the_limits():
    attack_all("sizes")


def test_content_codings():
    attack_all("content codings")


def test_who_leaves_early():
    attack_all("leaving")


def test_pipelines():
    attack_all("pipelines")


def test_expectations():
    attack_all("expectations")


def test_other_protocols():
    attack_all("other protocols")


def test_the_slow_are_told_or_sent_away():
    attack_all("slow", DEADLINES)


def test_there_are_many_cases_and_each_has_a_name_of_its_own():
    names = collections.Counter(a.name for g in GROUPS.values() for a in g)
    case.equal([n for n, times in names.items() if times > 1], [], "twice")
    case.true(len(names) >= 400, f"only {len(names)} cases")
    case.equal([g for g in GROUPS if not any(f'"{g}"' in line for line in open(__file__))], [], "groups that nobody runs")


def hold_half_bodies(server, many):
    """Connections that have sent nine tenths of a body of 1 MiB, as far as it was read, and hold the rest back."""
    held = []
    for _ in range(many):
        conn = wire.Conn(server.port, timeout=PATIENT)
        conn.sock.setblocking(False)
        held.append([conn, post(b"", b"Content-Length: 1048576", length=False, wire=b"x" * 943718)])
    return held


def push(held):
    """Sends what the server takes now; the connections that it has answered go."""
    for pair in held:
        try:
            while pair[1]:
                pair[1] = pair[1][pair[0].sock.send(pair[1]):]
        except OSError:
            pass                                 # full, or refused
    for pair in [p for p in held if readable(p[0])]:
        pair[0].close()
        held.remove(pair)


def test_half_bodies_cannot_starve_the_honest():
    """200 of them want three times the memory there is: some are sent away, and honest requests come through."""
    limits = {"memory": "64MiB", "disk_reserve": "0B"}
    with running(SOURCE, name="mr-hostile", limits=limits, http={"body_timeout": "1h"}) as server:
        held, statuses = hold_half_bodies(server, 200), collections.Counter()

        def come_through(n):
            push(held)
            res = wire.once(server.port, "POST", "/hooks/github", sign.github(SECRET, event(f"honest-{n}")), event(f"honest-{n}"),
                            timeout=PATIENT)
            statuses[res.status] += 1
            return res.status == 204
        for n in range(50):
            until("an honest request comes through", lambda: come_through(n), PATIENT)
        case.true(set(statuses) <= {204, 503}, f"honest answers: {statuses}")
        case.true(held and len(held) < 200, f"{len(held)} of 200 half bodies are still held")
        if not is_sanitized():
            case.true(server.memory_kib() < 112 * 1024, f"{server.memory_kib()} KiB")
        for conn, _ in held:
            conn.close()
        case.equal(sorted(r.value["data"]["id"] for r in landed(server)), sorted(f"honest-{n}" for n in range(50)))
        print(f"        honest answers {dict(statuses)}, {len(held)} half bodies held to the end", flush=True)


def test_a_crowd_leaves_descriptors_for_the_queue():
    """A limit of 1,024 descriptors, as shells and services have it, and a crowd that wants them all: what the honest send
    is stored in new segments and landed meanwhile."""
    with Home("mr-hostile") as home:
        cfg = config(home, SOURCE, queue={"segment_size": "1MiB"}, limits={"disk_reserve": "0B"}, http={"first_byte_timeout": "1h"})
        server = Server(home, cfg, wrapper=["prlimit", "--nofile=1024:1024"])
        try:
            server.start()
            with wire.Conn(server.port) as honest:
                crowd = [wire.Conn(server.port) for _ in range(1500)]
                idents = [f"honest-{n}" for n in range(100)]
                for ident in idents:
                    honest.send(post(event(ident, pad="x" * 50000)))
                    case.equal(honest.final().status, 204, ident)
                wait_landed(server, idents[-1])
                for conn in crowd:
                    conn.close()
            case.true("connections_limited" in server.log(), "it is said that the limit is low")
            case.equal(sorted(r.value["data"]["id"] for r in landed(server)), sorted(idents))
        finally:
            server.kill9()


# ---- other people's clients ----

def tool(server, *cmd, stdin=b""):
    """Runs a client to its end; it must have one."""
    url = f"http://127.0.0.1:{server.port}/hooks/github"
    return subprocess.run([c.replace("URL", url) for c in cmd], input=stdin, capture_output=True, timeout=60)


def curl(server, ident, *args):
    body = event(ident)
    name, value = sign.github(SECRET, body)[0]
    done = tool(server, "curl", "-q", "-sS", "-m", "20", "-o", "-", "-w", "\n%{http_code}", "-H", f"{name}: {value}",
                *args, "URL", stdin=body)
    return done.returncode, done.stdout.decode().rsplit("\n", 1)[-1]


CURLS = {
    "plain": ("--data-binary", "@-"),
    "asks-for-http2": ("--http2", "--data-binary", "@-"),
    "expects-100": ("-H", "Expect: 100-continue", "--data-binary", "@-"),
    "http-1-0": ("--http1.0", "--data-binary", "@-"),
    "takes-http-0-9": ("--http0.9", "--data-binary", "@-"),
    "chunked": ("-X", "POST", "-T", "-"),
    "chunked-data": ("-H", "Transfer-Encoding: chunked", "--data-binary", "@-"),
    "chunked-and-expects": ("-X", "POST", "-T", "-", "-H", "Expect: 100-continue"),
    "wants-trailers": ("-H", "TE: trailers", "-H", "Connection: TE", "--data-binary", "@-"),
    "compressed": ("--compressed", "--tr-encoding", "--data-binary", "@-"),
}


def have(name):
    return any(os.access(os.path.join(p, name), os.X_OK) for p in os.environ["PATH"].split(os.pathsep))


def test_curl_in_its_odd_modes():
    if not have("curl"):
        raise case.Skip("no curl")
    with running(SOURCE, name="mr-hostile") as server:
        got = {name: curl(server, name, *args) for name, args in CURLS.items()}
        case.equal(got, {name: (0, "204") for name in CURLS})
        code, status = curl(server, "never", "--http2-prior-knowledge", "--data-binary", "@-")
        case.true(code != 0 and status == "000", f"HTTP/2 at once: curl ended with {code}, {status}")
        code, status = curl(server, "never", "--request-target", "*", "--data-binary", "@-")
        case.true((code, status) in ((0, "400"), (0, "404")), f"a request for *: {code}, {status}")
        code, status = curl(server, "never", "-T", "-")
        case.equal((code, status), (0, "405"), "PUT by chunks")
        accepted(server, "honest")
        case.equal(sorted(r.value["data"]["id"] for r in landed(server)), sorted([*CURLS, "honest"]))


def test_clients_of_http_2_are_sent_away_and_h2load_speaks_http_1():
    if not have("nghttp") or not have("h2load"):
        raise case.Skip("no nghttp, no h2load")
    with running(SOURCE, name="mr-hostile") as server:
        done = tool(server, "nghttp", "-n", "--timeout=20", "-d", "-", "URL", stdin=event("never"))
        said = (done.stdout + done.stderr).decode(errors="replace")
        case.true("HTTP/2 200" not in said and done.returncode < 128, f"nghttp: {done}")
        done = tool(server, "nghttp", "-n", "--timeout=20", "-u", "URL")
        case.true(done.returncode < 128, f"nghttp by Upgrade: {done}")
        done = tool(server, "h2load", "-n", "20", "-c", "4", "--connection-inactivity-timeout=20", "URL")
        case.true(b"20 failed" in done.stdout or b"0 succeeded" in done.stdout, f"h2load: {done}")
        done = tool(server, "h2load", "--h1", "-n", "500", "-c", "10", "-m", "8", "URL")   # GET: 405, each of them
        case.true(b"500 4xx" in done.stdout, f"h2load --h1: {done}")
        accepted(server, "honest")
        case.equal([r.value["data"]["id"] for r in landed(server)], ["honest"])


# ---- seeds ----

def write_seeds(folder):
    """A seed byte, a byte for the body limit, the wire, as tests/fuzz/http.c reads them; what is long is left out."""
    os.makedirs(folder, exist_ok=True)
    for attacks in GROUPS.values():
        for attack in attacks:
            data = attack.wire()
            if 0 < len(data) <= 3000:
                with open(os.path.join(folder, "attack-" + attack.name), "wb") as f:
                    f.write(b"a\xff" + data)


# ---- peers ----

def judge_peer(port):
    """Statuses, who closes, and what is run alone: not the form of a refusal, which is our own, and no zone."""
    right = total = 0
    for name, attacks in GROUPS.items():
        if name == "slow":
            continue                              # their deadlines are minutes
        for attack in attacks:
            total += 1
            try:
                run(attack, port, Tally(), lambda res, attack: None)
                right += 1
            except (Wrong, OSError, wire.Closed, ValueError) as e:
                print(f"{name}: {attack.name}: {e}", flush=True)
    print(f"{right} of {total}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        judge_peer(int(sys.argv[2]))
    elif sys.argv[1:2] == ["--seeds"]:
        write_seeds(sys.argv[2])
    else:
        case.main(globals())
