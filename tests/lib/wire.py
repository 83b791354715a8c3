# SPDX-License-Identifier: Apache-2.0
"""A raw HTTP/1.1 client: it sends exactly the bytes it is told to, in the pieces it is told to, and reads answers.

http.client hides what these tests are about (half sent requests, pipelining, 1xx answers, who closes the connection),
so the few lines of HTTP that are needed stand here.
"""
import socket


class Closed(Exception):
    """The peer ended the connection before the answer was whole."""


class Response:
    def __init__(self, status, headers, body, version):
        self.status, self.headers, self.body, self.version = status, headers, body, version

    def header(self, name):
        for key, value in self.headers:
            if key.lower() == name.lower():
                return value
        return None

    def __repr__(self):
        return f"<{self.status} {self.body[:200]!r}>"


class Conn:
    """One connection. Not for several threads at once."""

    def __init__(self, port, host="127.0.0.1", timeout=20.0):
        self.sock = socket.create_connection((host, port), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = b""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def _more(self):
        try:
            got = self.sock.recv(65536)
        except ConnectionError as e:
            raise Closed(str(e)) from e
        if not got:
            raise Closed(f"end of stream, {len(self.buf)} bytes of an answer read")
        self.buf += got

    def _line(self):
        while b"\r\n" not in self.buf:
            self._more()
        line, self.buf = self.buf.split(b"\r\n", 1)
        return line

    def _exactly(self, n):
        while len(self.buf) < n:
            self._more()
        out, self.buf = self.buf[:n], self.buf[n:]
        return out

    def read(self, head_only=False):
        """The next answer, 1xx included. head_only: the answer to HEAD has no body whatever its headers say."""
        version, status = self._line().decode("latin-1").split(" ", 2)[:2]
        headers = []
        while True:
            line = self._line()
            if not line:
                break
            key, value = line.decode("latin-1").split(":", 1)
            headers.append((key, value.strip()))
        res = Response(int(status), headers, b"", version)
        if head_only or res.status < 200 or res.status in (204, 304):
            return res
        if (res.header("Transfer-Encoding") or "").lower() == "chunked":
            res.body = self._chunks()
        elif res.header("Content-Length") is not None:
            res.body = self._exactly(int(res.header("Content-Length")))
        else:
            res.body = self._to_the_end()
        return res

    def _chunks(self):
        body = b""
        while True:
            size = int(self._line().split(b";")[0], 16)
            body += self._exactly(size)
            self._line()
            if size == 0:
                return body

    def _to_the_end(self):
        try:
            while True:
                self._more()
        except Closed:
            body, self.buf = self.buf, b""
            return body

    def final(self, head_only=False):
        """The next answer that is not 1xx."""
        while True:
            res = self.read(head_only)
            if res.status >= 200:
                return res

    def is_closed_by_peer(self, timeout=10.0):
        """Waits until the peer ends the connection (True), or says something more or nothing at all (False)."""
        self.sock.settimeout(timeout)
        try:
            return self.sock.recv(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False


def request(method, path, headers=(), body=b"", host="localhost", version="HTTP/1.1", length=True):
    """The bytes of one request. length=False leaves Content-Length to the caller's own headers."""
    lines = [f"{method} {path} {version}", f"Host: {host}"]
    lines += [f"{k}: {v}" for k, v in headers]
    if length and (body or method in ("POST", "PUT")):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def once(port, method, path, headers=(), body=b"", timeout=20.0, **kw):
    """One request on a connection of its own; the final answer."""
    with Conn(port, timeout=timeout) as conn:
        conn.send(request(method, path, headers, body, **kw))
        return conn.final(head_only=method == "HEAD")
