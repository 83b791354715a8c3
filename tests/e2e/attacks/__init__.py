# SPDX-License-Identifier: Apache-2.0
"""Hostile HTTP as tables: what is sent, byte for byte, and what RFC 9110 and RFC 9112 allow as an answer.

A case says nothing of how millrace is built. Where the RFC leaves a choice all right answers are listed. The events of
a case are signed as a genuine vendor signs them, so a server that reads the bytes otherwise than it should would take
them: a request hidden in a body (`smuggled()`) would land, and the zone would show it.
"""
import gzip

import sign
from deliver import event
from server import SECRET

PATH = b"/hooks/github"
CRLF = b"\r\n"
NOTHING = 0                                       # among the answers: the connection may end without one

# What a step does, apart from sending bytes.
END = "half-close"                                # we say no more, and listen on
RESET = "reset"                                   # we go away as rudely as TCP can


class Drip(bytes):
    """Sent byte by byte, a while between two, until the peer answers or ends."""


class Bytewise(bytes):
    """Sent byte by byte, without waiting."""


class Deaf(bytes):
    """Sent again and again without reading one answer, until the peer ends the connection."""


class Await(int):
    """An answer with this status is read before the next step."""


class Case:
    """answers: for each answer due, in order, the statuses that are right. ids: the event that each 2xx among them
    acknowledges (bytes: a payload that is no JSON of ours). end: `closed` the peer ends the connection and says nothing
    more; `kept` it serves a next request on it; `either` it does one of the two. maybe: events whose answer we never
    read. interim: 100 Continue may come. head: answers carry no body."""

    def __init__(self, name, steps, answers, end, ids=None, maybe=(), interim=False, head=False):
        self.name = name
        self.steps = list(steps) if isinstance(steps, (list, tuple)) else [steps]
        self.answers = [{a} if isinstance(a, int) else set(a) for a in answers]
        self.end, self.maybe, self.interim, self.head = end, list(maybe), interim, head
        self.ids = [name] + [None] * (len(self.answers) - 1) if ids is None else list(ids)

    def wire(self):
        """All bytes in one piece: a seed for a fuzzer."""
        return b"".join(bytes(s) for s in self.steps if isinstance(s, bytes))


def mac(body, secret=SECRET):
    name, value = sign.github(secret, body)[0]
    return f"{name}: {value}".encode()


def post(body, *lines, method=b"POST", target=PATH, version=b"HTTP/1.1", host=b"Host: x", length=True, wire=None,
         signed=None, eol=CRLF):
    """One request. body: the id of an event, or bytes. lines: further header lines as they are. wire: what is sent
    behind the head in place of the body. signed: what the signature is made of, if not the body."""
    body = event(body) if isinstance(body, str) else body
    head = [method + b" " + target + b" " + version]
    head += [host] if host is not None else []
    head += [mac(body if signed is None else signed), *lines]
    if length:
        head.append(b"Content-Length: %d" % len(body if wire is None else wire))
    return eol.join(head) + eol + eol + (body if wire is None else wire)


def smuggled(name):
    """A genuine request that nobody has sent: it stands where a body or a part of one should be."""
    return post("smuggled-" + name)


def chunked(body, size=None, ext=b"", trailer=b""):
    body = event(body) if isinstance(body, str) else body
    size = size or max(1, len(body))
    out = b"".join(b"%x%s\r\n%s\r\n" % (len(body[i:i + size]), ext, body[i:i + size]) for i in range(0, len(body), size))
    return out + b"0\r\n" + trailer + b"\r\n"


def chunks(name, wire=None, *lines, **kw):
    """A request with a chunked body, signed for the event that the chunks hold."""
    return post(name, b"Transfer-Encoding: chunked", *lines, length=False, wire=chunked(name) if wire is None else wire,
                **kw)


def zipped(body):
    return gzip.compress(event(body) if isinstance(body, str) else body, mtime=0)
