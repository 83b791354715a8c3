# SPDX-License-Identifier: Apache-2.0
"""A real store that speaks S3 and checks signatures (versitygw), started for a test on a port of its own; and a proxy in front of it that loses, cuts and
changes answers, while Host and signature stay as they were."""
import os
import shutil
import socket
import subprocess
import threading

from case import Skip
from server import free_port, until

ACCESS, SECRET = "testkey", "testsecret123"
HERE = os.path.dirname(os.path.abspath(__file__))
BUILT = os.path.join(HERE, "..", "..", "build", "tools", "versitygw")


def gateway():
    found = next((p for p in (os.environ.get("MILLRACE_VERSITYGW"), BUILT, shutil.which("versitygw")) if p and os.path.exists(p)), None)
    if not found:
        raise Skip("no versitygw: deps/install-debian.sh test builds it, if there is a Go of 1.24 or later")
    return os.path.abspath(found)


class Store:
    """In a folder; a bucket is a folder of it."""

    def __init__(self, folder, *buckets, options=()):
        self.options = options
        self.folder, self.root, self.port = folder, os.path.join(folder, "root"), free_port()
        for name in ("root", "iam", *(os.path.join("root", b) for b in buckets)):
            os.makedirs(os.path.join(folder, name), exist_ok=True)
        self.log = open(os.path.join(folder, "gateway.log"), "wb")
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [gateway(), "--quiet", "--port", f"127.0.0.1:{self.port}", "--health", "/health", "--iam-dir", os.path.join(self.folder, "iam"), *self.options, "posix", self.root],
            env={**os.environ, "ROOT_ACCESS_KEY": ACCESS, "ROOT_SECRET_KEY": SECRET, "GOMAXPROCS": "2"}, stdout=self.log, stderr=self.log)
        until("the store answers", self.answers)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def answers(self):
        if self.process.poll() is not None:
            raise Skip(f"versitygw ended: see {self.log.name}")
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as s:
                s.sendall(b"GET /health HTTP/1.0\r\n\r\n")
                return b" 200 " in s.recv(100)
        except OSError:
            return False

    def environment(self, bucket="zone", url=None):
        """For lib/server.config and what it starts: zones are prefixes of this bucket."""
        return {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_ENDPOINT_URL_S3": url or self.url, "AWS_REGION": "us-east-1",
                "MRT_ZONE": f"s3://{bucket}", "MRT_ZONE_ROOT": os.path.join(self.root, bucket)}

    def uploads(self, bucket="zone"):
        """The uploads that are begun and neither completed nor aborted, as the store keeps them: a folder each, below the hash of their key."""
        folder = os.path.join(self.root, bucket, ".sgwtmp", "multipart")
        return sorted(os.path.join(k, u) for k in (os.listdir(folder) if os.path.isdir(folder) else []) for u in os.listdir(os.path.join(folder, k)))

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


class Faults:
    """HTTP/1.1 passed on to the store, one connection a request. `plan(n, method, target)` says what becomes of the n-th: None passes it on; "lost" lets the store act and
    closes; ("late", event) closes at once and lets the store act when the event is set; "cut" sends half of the answer; "refuse" closes at once; bytes are the answer instead; ("skew", seconds) changes the Date of the answer; a callable gets
    and returns the answer."""

    def __init__(self, store, plan):
        self.store, self.plan, self.asked, self.heads = store, plan, [], []
        self.lock = threading.Lock()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                conn, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def request(self, f):
        head = f.readline()
        if not head:
            return None
        while (line := f.readline()) not in (b"\r\n", b""):
            head += line
        length = next((int(h.split(b":")[1]) for h in head.split(b"\r\n") if h.lower().startswith(b"content-length:")), 0)
        return head, f.read(length)

    def forward(self, head, body):
        with socket.create_connection(("127.0.0.1", self.store.port), 20) as s:
            s.sendall(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + b"\r\n" + body)
            answer = b""
            while piece := s.recv(65536):
                answer += piece
        return answer

    def serve(self, conn):
        with conn:
            try:
                while got := self.request(conn.makefile("rb")):
                    head, body = got
                    method, target = head.split(b" ")[:2]
                    with self.lock:
                        n = len(self.asked)
                        self.asked.append((method.decode(), target.decode()))
                        self.heads.append(head.decode("latin-1"))
                    what = self.plan(n, method.decode(), target.decode())
                    if what == "refuse":
                        return
                    if isinstance(what, tuple) and what[0] == "late":
                        conn.close()
                        what[1].wait(120)
                        self.forward(head, body)
                        return
                    answer = what if isinstance(what, bytes) else self.forward(head, body)
                    if what == "lost":
                        return
                    if callable(what):
                        answer = what(answer)
                    conn.sendall(answer[:len(answer) // 2] if what == "cut" else answer)
                    return
            except OSError:
                pass

    def stop(self):
        self.socket.close()


def error(code, status="503 Service Unavailable", extra="", headers=""):
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>made by the test</Message>{extra}</Error>'.encode()
    return f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\n{headers}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
