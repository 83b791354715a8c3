# SPDX-License-Identifier: Apache-2.0
"""Time and order: who is slow, who leaves early, who asks for much at once, who wants another protocol."""
from attacks import END, NOTHING, RESET, Await, Bytewise, Case, Deaf, Drip, chunked, chunks, event, mac, post, smuggled

GONE = {400, 408, NOTHING}                        # a half request that will never be whole: told, or just ended
LATE = {408}


def half(whole, share=2):
    return whole[:len(whole) // share]


def head_of(whole):
    return whole[:whole.index(b"\r\n\r\n") + 4]


WHOLE = post("never-whole", b"X: " + b"y" * 100)
CHUNKED = chunks("never-whole")

SLOW = [
    # RFC 9112 9.3 and RFC 9110 15.5.9: a server may close when it pleases; 408 where a request has begun.
    Case("slow-first-byte", [], [{408, NOTHING}], "closed", ids=[None]),
    Case("slow-after-an-empty-line", b"\r\n", [{408, NOTHING}], "closed", ids=[None]),
    Case("slow-after-one-byte", b"P", [LATE], "closed", ids=[None]),
    Case("slow-in-the-request-line", WHOLE[:15], [LATE], "closed", ids=[None]),
    Case("slow-after-the-request-line", b"POST /hooks/github HTTP/1.1\r\n", [LATE], "closed", ids=[None]),
    Case("slow-in-the-headers", head_of(WHOLE)[:-30], [LATE], "closed", ids=[None]),
    Case("slow-before-the-last-lf-of-the-head", head_of(WHOLE)[:-1], [LATE], "closed", ids=[None]),
    Case("slow-before-the-body", head_of(WHOLE), [LATE], "closed", ids=[None]),
    Case("slow-in-the-body", WHOLE[:-5], [LATE], "closed", ids=[None]),
    Case("slow-before-the-chunks", head_of(CHUNKED), [LATE], "closed", ids=[None]),
    Case("slow-in-a-chunk-size", head_of(CHUNKED) + b"1", [LATE], "closed", ids=[None]),
    Case("slow-in-a-chunk-extension", head_of(CHUNKED) + b"5;a", [LATE], "closed", ids=[None]),
    Case("slow-in-a-chunk", CHUNKED[:-12], [LATE], "closed", ids=[None]),
    Case("slow-in-the-trailers", CHUNKED[:-2] + b"X: y\r\n", [LATE], "closed", ids=[None]),
    Case("slow-after-100-continue", [head_of(post("never-whole", b"Expect: 100-continue")), Await(100)], [LATE], "closed",
         ids=[None]),
    Case("dripping-headers", Drip(WHOLE), [LATE], "closed", ids=[None]),
    Case("dripping-headers-without-end", Drip(b"POST /hooks/github HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 1000), [LATE], "closed",
         ids=[None]),
    Case("dripping-body", [post(b"", b"Content-Length: 1000", length=False), Drip(b"x" * 1000)], [LATE], "closed", ids=[None]),
    Case("dripping-chunks", [head_of(CHUNKED), Drip(b"1\r\nx\r\n" * 1000)], [LATE], "closed", ids=[None]),
    Case("dripping-trailers", [CHUNKED[:-2], Drip(b"X: y\r\n" * 1000)], [LATE], "closed", ids=[None]),
    Case("dripping-empty-lines", Drip(b"\r\n" * 1000), [{400, 408, NOTHING}], "closed", ids=[None]),
    Case("idle-after-an-answer", post("idle-after-an-answer"), [{204}], "closed"),
    Case("slow-in-the-second-request", post("slow-in-the-second-request") + half(WHOLE), [{204}, LATE], "closed"),
    # it has its answer: a second one would be taken for that of the next request
    Case("slow-in-a-refused-body", half(post(b"x" * 1000, target=b"/nowhere")), [{404}], "closed", ids=[None]),
    Case("deaf-to-all-answers", Deaf(post(b"", method=b"GET", target=b"/nowhere", length=False)), [], "closed", ids=[]),
]


def leaves(name, sent, answers, how=END, ids=None):
    return Case(name, [sent, how], answers, "closed", ids=[None] * len(answers) if ids is None else ids)


PARTS = {
    "nothing": b"",
    "an-empty-line": b"\r\n",
    "one-byte": b"P",
    "half-the-request-line": WHOLE[:15],
    "the-request-line": b"POST /hooks/github HTTP/1.1\r\n",
    "half-the-headers": half(head_of(WHOLE)),
    "all-but-the-last-lf-of-the-head": head_of(WHOLE)[:-1],
    "the-head": head_of(WHOLE),
    "half-the-body": WHOLE[:-10],
    "all-but-the-last-byte": WHOLE[:-1],
    "the-head-of-chunks": head_of(CHUNKED),
    "half-a-chunk-size": head_of(CHUNKED) + b"2",
    "half-a-chunk": CHUNKED[:-12],
    "all-but-the-last-chunk": CHUNKED[:-5],
    "half-the-trailers": CHUNKED[:-2] + b"X: y\r\n",
    "all-but-the-last-lf": CHUNKED[:-1],
    "half-an-expectation": head_of(post("never-whole", b"Expect: 100-continue")),
}

# RFC 9112 8: a request that ends early is incomplete and never to be used.
LEAVING = [
    *[leaves("half-close-after-" + name, sent, [{NOTHING} if name in ("nothing", "an-empty-line") else GONE])
      for name, sent in PARTS.items() if name != "half-an-expectation"],
    Case("half-close-after-half-an-expectation", [PARTS["half-an-expectation"], END], [GONE], "closed", ids=[None], interim=True),
    *[Case("reset-after-" + name, [sent, RESET], [], "closed", ids=[]) for name, sent in PARTS.items()],
    leaves("half-close-after-a-whole-request", post("half-close-after-a-whole-request"), [{204}],
           ids=["half-close-after-a-whole-request"]),
    leaves("half-close-after-chunks", chunks("half-close-after-chunks"), [{204}], ids=["half-close-after-chunks"]),
    leaves("half-close-after-two-requests", post("hc2-1") + post("hc2-2"), [{204}, {204}], ids=["hc2-1", "hc2-2"]),
    leaves("half-close-after-one-and-a-half", post("hc15-1") + WHOLE[:-9], [{204}, GONE], ids=["hc15-1", None]),
    leaves("half-close-after-a-refused-one", post(b"x", target=b"/nowhere"), [{404}]),
    Case("reset-after-a-whole-request", [post("reset-after-a-whole-request"), RESET], [], "closed", ids=[],
         maybe=["reset-after-a-whole-request"]),
    Case("reset-after-two-requests", [post("r2-1") + post("r2-2"), RESET], [], "closed", ids=[], maybe=["r2-1", "r2-2"]),
]

HUNDRED = [f"pipelined-{n:03}" for n in range(100)]
FORGED = post(b'{"id":"forged"}', signed=b"another")


def train(name, middle, right, rest_runs, before=5, after=5, **kw):
    """Requests, one that is refused among them, more requests: those behind it run if the connection goes on, else not."""
    ids = [f"{name}-{n}" for n in range(before + after)]
    wire = b"".join(map(post, ids[:before])) + middle + b"".join(map(post, ids[before:]))
    answers = [{204}] * before + [right] + ([{204}] * after if rest_runs else [])
    return Case(name, wire, answers, "kept" if rest_runs else "closed",
                ids=ids[:before] + [None] + (ids[before:] if rest_runs else []), **kw)


PIPELINES = [
    Case("a-hundred-pipelined", b"".join(map(post, HUNDRED)), [{204}] * 100, "kept", ids=HUNDRED),
    Case("fifty-pipelined-bytewise", Bytewise(b"".join(post(f"pb-{n}") for n in range(50))), [{204}] * 50, "kept",
         ids=[f"pb-{n}" for n in range(50)]),
    Case("pipelined-chunks", b"".join(chunks(f"pc-{n}") for n in range(20)), [{204}] * 20, "kept", ids=[f"pc-{n}" for n in range(20)]),
    Case("pipelined-with-empty-lines", b"\r\n".join(post(f"pe-{n}") for n in range(10)), [{204}] * 10, "kept",
         ids=[f"pe-{n}" for n in range(10)]),
    train("forged-in-the-middle", FORGED, {401}, True),
    train("head-in-the-middle", post(b"", method=b"OPTIONS", target=b"/nowhere", length=False), {404}, True),
    train("no-route-in-the-middle", post(b"x" * 100, target=b"/nowhere"), {404}, True),
    # RFC 9112 9.6: nothing behind a request whose answer closes is to be processed.
    train("malformed-in-the-middle", b"POST /hooks/github HTTP/1.1\r\nno colon\r\n\r\n", {400}, False),
    train("no-host-in-the-middle", post(b"", host=None), {400}, False),
    train("two-lengths-in-the-middle", post(b"", b"Content-Length: 7"), {400}, False),
    train("unknown-method-in-the-middle", post(b"", method=b"brew"), {400, 405, 501}, False),
    train("http-2-0-in-the-middle", post(b"", version=b"HTTP/2.0"), {400, 505}, False),
    train("too-large-in-the-middle", post(b"", b"Content-Length: 2000000", length=False), {413}, False),
    train("rubbish-in-the-middle", b"\x00\x01\x02\x03", {400}, False),
    train("unknown-coding-in-the-middle", post(b"", b"Transfer-Encoding: gzip, chunked", length=False, wire=b"0\r\n\r\n"),
          {400, 501}, False),
    Case("nothing-runs-behind-connection-close", post("behind-close-1") + post("behind-close-2", b"Connection: close") +
         smuggled("behind-close"), [{204}, {204}], "closed", ids=["behind-close-1", "behind-close-2"]),
    Case("nothing-runs-behind-a-refused-close", post(b"x", b"Connection: close", target=b"/nowhere") + smuggled("refused-close"),
         [{404}], "closed", ids=[None]),
    Case("nothing-runs-behind-http-1-0", post("nothing-runs-behind-http-1-0", version=b"HTTP/1.0") + smuggled("1-0"), [{204}],
         "closed"),
    Case("connection-close-in-upper-case", post("connection-close-in-upper-case", b"CONNECTION: CLOSE") + smuggled("upper"), [{204}],
         "closed"),
    Case("connection-close-in-a-list", post("connection-close-in-a-list", b"Connection: x, close") + smuggled("list"), [{204}],
         "closed"),
    Case("connection-close-on-a-second-line", post("connection-close-on-a-second-line", b"Connection: keep-alive",
                                                   b"Connection: close") + smuggled("second"), [{204}], "closed"),
    # 9.3: close wins over keep-alive.
    Case("connection-close-and-keep-alive", post("connection-close-and-keep-alive", b"Connection: close, keep-alive") +
         smuggled("both"), [{204}], "closed"),
    Case("connection-closed-is-no-close", post("connection-closed-is-no-close", b"Connection: closed"), [{204}], "kept"),
    Case("http-1-0-keep-alive", post("http-1-0-keep-alive", b"Connection: keep-alive", version=b"HTTP/1.0"), [{204}], "either"),
    Case("http-1-0-keep-alive-and-close", post("http-1-0-keep-alive-and-close", b"Connection: keep-alive, close",
                                               version=b"HTTP/1.0"), [{204}], "closed"),
]

E100 = b"Expect: 100-continue"

EXPECTATIONS = [
    # RFC 9110 10.1.1
    Case("expect-and-wait", [head_of(post("expect-and-wait", E100)), Await(100), event("expect-and-wait")], [{204}], "kept"),
    Case("expect-and-do-not-wait", post("expect-and-do-not-wait", E100), [{204}], "kept", interim=True),
    Case("expect-in-upper-case", [head_of(post("expect-in-upper-case", b"EXPECT: 100-CONTINUE")), Await(100),
                                  event("expect-in-upper-case")], [{204}], "kept"),
    Case("expect-chunks", [head_of(chunks("expect-chunks", None, E100)), Await(100), chunked("expect-chunks")], [{204}], "kept"),
    Case("expect-without-a-body", post(b"", E100), [{204}], "kept", ids=[b""], interim=True),
    Case("expect-in-http-1-0", post("expect-in-http-1-0", E100, version=b"HTTP/1.0"), [{204}], "closed"),
    Case("expect-to-nowhere", head_of(post("x", E100, target=b"/nowhere")), [{404}], "closed", ids=[None]),
    Case("expect-and-a-wrong-method", head_of(post("x", E100, method=b"PUT")), [{405}], "closed", ids=[None]),
    Case("expect-a-body-too-large", post(b"", E100, b"Content-Length: 99999999", length=False), [{413}], "closed", ids=[None]),
    Case("expect-something-else", post("expect-something-else", b"Expect: tea"), [{204, 417}], "either"),
    Case("expect-200", post("expect-200", b"Expect: 200-ok"), [{204, 417}], "either"),
    Case("expect-two-things", post("expect-two-things", b"Expect: 100-continue, tea"), [{204, 417}], "either", interim=True),
    Case("expect-twice", post("expect-twice", E100, E100), [{204, 400, 417}], "either", interim=True),
    Case("expect-nothing", post("expect-nothing", b"Expect:"), [{204, 417}], "either"),
    Case("expect-with-a-parameter", post("expect-with-a-parameter", b"Expect: 100-continue;q=1"), [{204, 417}], "either", interim=True),
    Case("expect-and-half-a-body-at-once", [post("expect-and-half-a-body-at-once", E100)[:-9],
                                            event("expect-and-half-a-body-at-once")[-9:]], [{204}], "kept", interim=True),
]

H2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
WEBSOCKET = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Sec-WebSocket-Version: 13")
H2C = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__")

PROTOCOLS = [
    # RFC 9110 7.8: an upgrade may be ignored; never 101 here.
    Case("upgrade-to-h2c", post("upgrade-to-h2c", *H2C), [{204}], "kept"),
    Case("upgrade-to-h2c-and-its-preface", post("upgrade-to-h2c-and-its-preface", *H2C) + H2, [{204}, {400, 405, 501, 505}], "closed"),
    Case("upgrade-to-websocket", post("upgrade-to-websocket", *WEBSOCKET), [{204}], "kept"),
    Case("upgrade-by-get", post(b"", *WEBSOCKET, method=b"GET", length=False), [{405}], "either",
         ids=[None]),
    Case("upgrade-and-chunks", chunks("upgrade-and-chunks", None, *H2C), [{204}], "kept"),
    Case("upgrade-without-a-name", post("upgrade-without-a-name", b"Connection: Upgrade"), [{204}], "kept"),
    Case("upgrade-not-named-by-connection", post("upgrade-not-named-by-connection", b"Upgrade: h2c"), [{204}], "kept"),
    Case("upgrade-without-a-body", post(b"", *H2C) + post("behind-an-upgrade"), [{204}, {204}], "kept",
         ids=[b"", "behind-an-upgrade"]),
    Case("upgrade-in-http-1-0", post("upgrade-in-http-1-0", *H2C, version=b"HTTP/1.0"), [{204}], "closed"),
    Case("upgrade-to-tls", post("upgrade-to-tls", b"Connection: Upgrade", b"Upgrade: TLS/1.0"), [{204, 426}], "kept"),
    # RFC 9113 3.4: what does not speak HTTP/2 sees a request it must refuse
    Case("http-2-preface", H2 + SETTINGS, [{400, 405, 501, 505}], "closed", ids=[None]),
    Case("http-2-preface-and-a-request", H2 + smuggled("preface"), [{400, 405, 501, 505}], "closed", ids=[None]),
    Case("http-2-frames-alone", SETTINGS * 5, [{400, NOTHING}], "closed", ids=[None]),
    Case("tls-hello", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(range(160)), [{400, NOTHING}], "closed", ids=[None]),
    Case("ssl-2-hello", b"\x80\x2e\x01\x00\x02" + bytes(41), [{400, NOTHING}], "closed", ids=[None]),
    Case("proxy-line", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + smuggled("proxy"), [{400, 405, 501, 505, NOTHING}], "closed",
         ids=[None]),
    Case("proxy-of-version-2", b"\r\n\r\n\x00\r\nQUIT\n" + b"\x21\x11\x00\x0c" + bytes(12) + smuggled("proxy-2"), [{400, NOTHING}],
         "closed", ids=[None]),
    Case("smtp", b"EHLO x\r\nMAIL FROM:<x>\r\n", [{400, 405, 501, 505}], "closed", ids=[None]),
    Case("ssh", b"SSH-2.0-OpenSSH_9.2\r\n", [{400, 501, 505}], "closed", ids=[None]),
    Case("redis", b"*1\r\n$4\r\nPING\r\n", [{400, 501, 505, NOTHING}], "closed", ids=[None]),
    Case("an-answer-for-a-request", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", [{400, 501, 505}], "closed", ids=[None]),
    Case("zeros", bytes(5000), [{400, NOTHING}], "closed", ids=[None]),
    Case("all-bytes", bytes(range(256)) * 20, [{400, 501, NOTHING}], "closed", ids=[None]),
    Case("whole-request-bytewise", Bytewise(post("whole-request-bytewise")), [{204}], "kept"),
    Case("signature-of-another-body", post("signature-of-another-body", signed=b"another"), [{401}], "either", ids=[None]),
    Case("no-signature", post("no-signature").replace(mac(event("no-signature")) + b"\r\n", b""), [{401}], "either", ids=[None]),
]

GROUPS = {"leaving": LEAVING, "pipelines": PIPELINES, "expectations": EXPECTATIONS, "other protocols": PROTOCOLS}
SLOW_GROUP = {"slow": SLOW}
