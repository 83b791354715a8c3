# SPDX-License-Identifier: Apache-2.0
"""Where does the body end? Content-Length and Transfer-Encoding in every spelling that has fooled somebody."""
from attacks import PATH, Case, chunked, chunks, event, post, smuggled

REFUSED = {400}
UNKNOWN = {400, 501}                              # RFC 9112 6.1: 501 for a coding not understood; 6.3: 400 for one whose end is unknown


def both(name, first, second, version=b"HTTP/1.1"):
    """Two lengths at once. RFC 9112 6.1 allows to refuse, or to believe the chunks alone; it must close either way."""
    body = chunked(name) + smuggled(name)
    lines = [line.replace(b"#", b"%d" % len(body)) for line in (first, second)]
    return Case(name, post(name, *lines, version=version, length=False, wire=body), [{204, 400}], "closed")


CL, TE = b"Content-Length: #", b"Transfer-Encoding: chunked"

CONTRADICTIONS = [
    both("length-then-chunks", CL, TE),
    both("chunks-then-length", TE, CL),
    both("chunks-then-length-upper-case", b"TRANSFER-ENCODING: CHUNKED", b"CONTENT-LENGTH: #"),
    both("length-then-chunks-in-http-1-0", CL, TE, b"HTTP/1.0"),
    both("length-zero-and-chunks", b"Content-Length: 0", TE),
    both("length-and-an-empty-coding", CL, b"Transfer-Encoding:"),
    both("length-behind-a-bare-lf-and-chunks", b"X: y\nContent-Length: #", TE),
    both("chunks-behind-a-bare-lf-and-length", b"X: y\nTransfer-Encoding: chunked", CL),
    Case("length-and-identity", post("length-and-identity", b"Transfer-Encoding: identity"), [{204, 400, 501}], "closed"),
    Case("length-and-xchunked", post("length-and-xchunked", b"Transfer-Encoding: xchunked"), [{204, 400, 501}], "closed"),
    # 6.1: a coding in HTTP/1.0 is faulty framing; whoever takes it all the same must close.
    Case("chunks-in-http-1-0", chunks("chunks-in-http-1-0", version=b"HTTP/1.0"), [{204, 400}], "closed"),
    Case("chunks-in-http-1-0-keep-alive", chunks("chunks-in-http-1-0-keep-alive", None, b"Connection: keep-alive",
                                                 version=b"HTTP/1.0") + smuggled("chunks-in-http-1-0-keep-alive"),
         [{204, 400}], "closed"),
]


def length(name, value, right, end="closed", body=None):
    """value: what stands behind `Content-Length:`; # is the true length."""
    body = event(name) if body is None else body
    line = b"Content-Length:" + value.replace(b"#", b"%d" % len(body))
    return Case(name, post(body, line, length=False, wire=body), [right], end)


TWO_TO_64 = 1 << 64

LENGTHS = [
    # 6.3: equal ones may be taken as one; different ones must be refused.
    length("length-twice-equal", b" #\r\nContent-Length: #", {204, 400}, "either"),
    length("length-list-equal", b" #, #", {204, 400}, "either"),
    length("length-list-without-blank", b" #,#", {204, 400}, "either"),
    length("length-list-ends-in-a-comma", b" #,", {204, 400}, "either"),
    length("length-list-begins-with-a-comma", b" ,#", {204, 400}, "either"),
    length("length-twice-different", b" #\r\nContent-Length: 1", REFUSED),
    length("length-twice-the-lesser-first", b" 1\r\nContent-Length: #", REFUSED),
    length("length-twice-one-zero", b" 0\r\nContent-Length: #", REFUSED),
    length("length-list-different", b" #, 1", REFUSED),
    length("length-twice-one-empty", b" #\r\nContent-Length:", REFUSED),
    # RFC 9110 8.6: 1*DIGIT.
    length("length-with-plus", b" +#", REFUSED),
    length("length-with-minus", b" -#", REFUSED),
    length("length-minus-one", b" -1", REFUSED),
    length("length-hexadecimal", b" 0x5", REFUSED),
    length("length-hexadecimal-digits", b" 1f", REFUSED),
    length("length-with-a-blank-inside", b" 1 0", REFUSED),
    length("length-with-a-tab-inside", b" 1\t0", REFUSED),
    length("length-empty", b"", REFUSED),
    length("length-blank", b"  ", REFUSED),
    length("length-in-words", b" many", REFUSED),
    length("length-with-a-fraction", b" 5.0", REFUSED),
    length("length-with-an-exponent", b" 1e1", REFUSED),
    length("length-quoted", b' "5"', REFUSED),
    length("length-with-a-parameter", b" 5;x=1", REFUSED),
    length("length-with-an-underscore", b" 1_0", REFUSED),
    length("length-behind-a-vertical-tab", b" \x0b#", REFUSED),
    length("length-before-a-form-feed", b" #\x0c", REFUSED),
    length("length-behind-a-no-break-space", b" \xa0#", REFUSED),
    length("length-before-a-nul", b" #\x00", REFUSED),
    length("length-before-a-lone-cr", b" #\r", REFUSED),
    length("length-in-arabic-digits", b" \xd9\xa5", REFUSED),
    length("length-with-blanks-around", b" \t #\t ", {204}, "kept"),
    length("length-without-a-blank", b"#", {204}, "kept"),
    length("length-with-leading-zeros", b" 000#", {204, 400}, "either"),
    length("length-with-sixty-leading-zeros", b" " + b"0" * 60 + b"#", {204, 400, 413}, "either"),
    # 8.6: "prevent parsing errors due to integer conversion overflows"
    length("length-of-2-to-the-63", b" %d" % (1 << 63), {400, 413}),
    length("length-of-2-to-the-64", b" %d" % TWO_TO_64, {400, 413}),
    length("length-that-wraps-to-the-true-one", b" %d" % (TWO_TO_64 + len(event("length-that-wraps-to-the-true-one"))),
           {400, 413}),
    length("length-that-wraps-at-32-bits", b" %d" % ((1 << 32) + len(event("length-that-wraps-at-32-bits"))), {400, 413},
           "closed"),
    length("length-of-a-hundred-digits", b" " + b"9" * 100, {400, 413}),
    # RFC 9112 5.1: no blank before the colon; 5.2: a folded line is refused, or a blank.
    Case("length-blank-before-the-colon", post("length-blank-before-the-colon", b"Content-Length : 0"), [REFUSED], "closed"),
    Case("length-folded", post("length-folded", b"Content-Length:\r\n %d" % len(event("length-folded")), length=False,
                               wire=event("length-folded")), [{204, 400}], "either"),
    Case("length-less-than-the-body", post(b'{"a"}', b"Content-Length: 5", length=False, signed=b"another",
                                           wire=b'{"a"}{"b"}\r\n\r\n' + smuggled("length-less")),
         [{401}, {400}], "closed", ids=[None, None]),
    Case("no-length-and-a-body", post(b"", length=False) + b'{"a":1}\r\n\r\n' + smuggled("no-length"), [{204}, {400}],
         "closed", ids=[b"", None]),
]


def coding(name, line, right, end="closed"):
    wire = chunked(name) + (smuggled(name) if end == "closed" else b"")
    return Case(name, post(name, line, length=False, wire=wire), [right], end)


CODINGS = [
    coding("coding-blank-before-the-colon", b"Transfer-Encoding : chunked", REFUSED),
    coding("coding-tab-before-the-colon", b"Transfer-Encoding\t: chunked", REFUSED),
    coding("coding-xchunked", b"Transfer-Encoding: xchunked", UNKNOWN),
    coding("coding-chunkedx", b"Transfer-Encoding: chunkedx", UNKNOWN),
    coding("coding-chunked-then-identity", b"Transfer-Encoding: chunked, identity", UNKNOWN),
    coding("coding-identity-then-chunked", b"Transfer-Encoding: identity, chunked", UNKNOWN),
    coding("coding-chunked-twice", b"Transfer-Encoding: chunked, chunked", UNKNOWN),
    coding("coding-identity", b"Transfer-Encoding: identity", UNKNOWN),
    coding("coding-gzip-then-chunked", b"Transfer-Encoding: gzip, chunked", UNKNOWN),
    coding("coding-chunked-then-gzip", b"Transfer-Encoding: chunked, gzip", UNKNOWN),
    coding("coding-gzip", b"Transfer-Encoding: gzip", UNKNOWN),
    coding("coding-two-lines", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", UNKNOWN),
    coding("coding-two-lines-identity-last", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", UNKNOWN),
    coding("coding-two-lines-identity-first", b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", UNKNOWN),
    coding("coding-two-lines-in-other-case", b"Transfer-Encoding: chunked\r\ntransfer-encoding: cow", UNKNOWN),
    coding("coding-behind-a-tab", b"Transfer-Encoding:\tchunked", {204}, "kept"),
    coding("coding-without-a-blank", b"Transfer-Encoding:chunked", {204}, "kept"),
    coding("coding-in-mixed-case", b"TrAnSfEr-EnCoDiNg: ChUnKeD", {204}, "kept"),
    coding("coding-with-blanks-around", b"Transfer-Encoding: \t chunked \t", {204}, "kept"),
    coding("coding-behind-a-vertical-tab", b"Transfer-Encoding:\x0bchunked", UNKNOWN),
    coding("coding-behind-a-form-feed", b"Transfer-Encoding: \x0cchunked", UNKNOWN),
    coding("coding-before-a-nul", b"Transfer-Encoding: chunked\x00", UNKNOWN),
    coding("coding-behind-a-no-break-space", b"Transfer-Encoding: \xa0chunked", UNKNOWN),
    coding("coding-quoted", b'Transfer-Encoding: "chunked"', UNKNOWN),
    coding("coding-with-a-parameter", b"Transfer-Encoding: chunked;q=1", UNKNOWN),
    coding("coding-with-a-second-word", b"Transfer-Encoding: chunked cow", UNKNOWN),
    # RFC 9110 5.6.1.2: empty members of a list are to be ignored; to refuse the rare is sane here.
    coding("coding-ends-in-a-comma", b"Transfer-Encoding: chunked,", {204, 400, 501}, "either"),
    coding("coding-begins-with-a-comma", b"Transfer-Encoding: ,chunked", {204, 400, 501}, "either"),
    coding("coding-empty", b"Transfer-Encoding:", UNKNOWN),
    coding("coding-folded", b"Transfer-Encoding:\r\n chunked", {204, 400}, "either"),
    coding("coding-folded-behind-another", b"X: y\r\n Transfer-Encoding: chunked", REFUSED),
    coding("coding-behind-a-lone-cr", b"X: y\rTransfer-Encoding: chunked", REFUSED),
    coding("coding-named-by-connection", b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked", {204, 400}, "either"),
    Case("coding-with-an-underscore", post("coding-with-an-underscore", b"Transfer_Encoding: chunked"), [{204, 400}], "either"),
    Case("te-is-not-transfer-encoding", post("te-is-not-transfer-encoding", b"TE: trailers, chunked"), [{204}], "kept"),
]


def carried(name, right, *lines, method=b"POST", target=PATH, end="either", **kw):
    """A refused request whose body is a genuine one: whoever answers before the body must not take the body for the next."""
    inner = smuggled(name)
    head = {k: kw.pop(k) for k in ("head", "interim") if k in kw}
    return Case(name, post(inner, *lines, method=method, target=target, **kw), [right], end, ids=[None], **head)


CARRIED = [
    carried("a-request-in-the-body-of-get", {405}, method=b"GET"),
    carried("a-request-in-the-body-of-head", {405}, method=b"HEAD", head=True),
    carried("a-request-in-the-body-of-options", {200, 204, 405}, method=b"OPTIONS"),
    carried("a-request-in-the-body-of-delete", {405}, method=b"DELETE"),
    carried("a-request-in-the-body-of-trace", {400, 405, 501}, method=b"TRACE"),
    carried("a-request-in-the-body-of-an-unknown-method", {405, 501}, method=b"BREW"),
    carried("a-request-in-a-body-to-nowhere", {404}, target=b"/nowhere"),
    carried("a-request-in-a-forged-body", {401}, signed=b"another"),
    carried("a-request-in-a-body-of-another-coding", {415}, b"Content-Encoding: br"),
    carried("a-request-in-a-body-with-an-expectation", {404}, b"Expect: 100-continue", target=b"/nowhere", interim=True),
    carried("a-request-in-a-body-with-an-unknown-expectation", {401, 417}, b"Expect: tea", signed=b"another"),
    carried("a-request-in-the-body-of-an-upgrade", {404}, b"Connection: Upgrade", b"Upgrade: websocket", target=b"/nowhere"),
    carried("a-request-in-a-body-of-http-1-0", {404}, target=b"/nowhere", version=b"HTTP/1.0"),
    Case("a-request-in-the-chunks-to-nowhere", post(b"", b"Transfer-Encoding: chunked", target=b"/nowhere", length=False,
                                                    wire=chunked(smuggled("chunks-to-nowhere"))), [{404}], "either", ids=[None]),
    Case("a-request-in-the-chunks-of-get", post(b"", b"Transfer-Encoding: chunked", method=b"GET", length=False,
                                                wire=chunked(smuggled("chunks-of-get"))), [{405}], "either", ids=[None]),
    Case("a-request-in-a-body-too-large", post(smuggled("too-large") * 20000), [{413}], "closed", ids=[None]),
    Case("a-request-in-a-body-declared-too-large", post(b"", b"Content-Length: 99999999", length=False,
                                                        wire=smuggled("declared")), [{413}], "closed", ids=[None]),
    Case("a-request-behind-connect", post(b"", method=b"CONNECT", target=b"x:443", length=False) + smuggled("connect"),
         [{400, 405, 501}], "closed", ids=[None]),
]

GROUPS = {"contradictions": CONTRADICTIONS, "lengths": LENGTHS, "codings": CODINGS, "carried requests": CARRIED}
