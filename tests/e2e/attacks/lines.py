# SPDX-License-Identifier: Apache-2.0
"""Lines: how they end, what may stand in them; the request line; targets and hosts."""
from attacks import CRLF, PATH, Case, event, mac, post, smuggled

REFUSED = {400}


def line(name, text, right=REFUSED, end="closed", **kw):
    """A header line as it is, among good ones. A genuine request follows: it is not to be run when the first is refused."""
    more = smuggled(name) if end == "closed" else b""
    return Case(name, post(name, text, **kw) + more, [right], end)


def lf_only(name):
    """RFC 9112 2.2: a recipient may take a single LF as the end of a line."""
    return post(name, eol=b"\n")


HEADERS = [
    # RFC 9112 5.2: obs-fold is refused by 400, or each one replaced by blanks.
    line("fold", b"X: y\r\n z", {204, 400}, "either"),
    line("fold-with-a-tab", b"X: y\r\n\tz", {204, 400}, "either"),
    line("fold-of-nothing", b"X: y\r\n ", {204, 400}, "either"),
    line("fold-that-hides-a-host", b"X: y\r\n Host: z", {204, 400}, "either"),
    # 2.2: white space between the request line and the first header is refused, or the line is passed over.
    Case("blank-line-start-after-the-request-line", post("blank-line-start-after-the-request-line", host=b" X: y\r\nHost: x"),
         [{204, 400}], "either"),
    Case("tab-line-start-after-the-request-line", post("tab-line-start-after-the-request-line", host=b"\tX: y\r\nHost: x"),
         [{204, 400}], "either"),
    # 5.1: a blank before the colon must get 400.
    line("blank-before-the-colon", b"X : y"),
    line("tab-before-the-colon", b"X\t: y"),
    line("blank-before-the-colon-of-host", b"X: y", host=b"Host : x"),
    # RFC 9110 5.1: a name is a token of one character at least.
    line("name-empty", b": y"),
    line("name-blank", b" : y"),
    line("name-with-a-blank", b"X Y: z"),
    line("name-with-parentheses", b"X(Y): z"),
    line("name-with-a-slash", b"X/Y: z"),
    line("name-with-a-quote", b'X"Y: z'),
    line("name-with-a-comma", b"X,Y: z"),
    line("name-with-an-at", b"X@Y: z"),
    line("name-in-brackets", b"[X]: z"),
    line("name-with-a-backslash", b"X\\Y: z"),
    line("name-with-a-nul", b"X\x00Y: z"),
    line("name-with-a-control-byte", b"X\x01Y: z"),
    line("name-with-del", b"X\x7fY: z"),
    line("name-above-ascii", b"X\xe9Y: z"),
    line("name-with-a-lone-cr", b"X\rY: z"),
    line("name-of-all-token-characters", b"!#$%&'*+-.^_`|~09azAZ: z", {204}, "kept"),
    line("no-colon", b"nonsense"),
    line("no-colon-but-a-nul", b"\x00"),
    line("a-request-line-among-headers", b"POST /hooks/github HTTP/1.1"),
    # 5.5: CR, LF and NUL in a value: refused, or replaced by a blank. Other controls may stay; obs-text may be there.
    line("value-with-a-nul", b"X: a\x00b"),
    line("value-with-a-lone-cr", b"X: a\rb"),
    line("value-ends-in-two-crs", b"X: a\r"),
    line("value-with-cr-lf-of-another", b"X: a\r\n\rb: c"),
    line("value-with-a-control-byte", b"X: a\x01b", {204, 400}, "either"),
    line("value-with-escape", b"X: \x1b[2J", {204, 400}, "either"),
    line("value-with-del", b"X: a\x7fb", {204, 400}, "either"),
    line("value-with-a-tab", b"X: a\tb", {204}, "kept"),
    line("value-above-ascii", b"X: \xc3\xa4\xff", {204, 400}, "either"),
    line("value-empty", b"X:", {204}, "kept"),
    line("value-all-blanks", b"X: \t  \t ", {204}, "kept"),
    line("value-of-colons", b"X: ::::", {204}, "kept"),
    # 2.2: a single LF may end a line, a lone CR never does.
    Case("lf-ends-each-line", lf_only("lf-ends-each-line"), [{204, 400}], "either"),
    line("lf-ends-a-header", b"X: y\nZ: w", {204, 400}, "either"),
    Case("lf-ends-the-request-line", post("lf-ends-the-request-line").replace(CRLF, b"\n", 1), [{204, 400}], "either"),
    Case("lf-ends-the-head", post("lf-ends-the-head").replace(b"\r\n\r\n", b"\r\n\n", 1), [{204, 400}], "either"),
    Case("two-lfs-end-the-head", post("two-lfs-end-the-head").replace(b"\r\n\r\n", b"\n\n", 1), [{204, 400}], "either"),
    Case("cr-ends-each-line", post("cr-ends-each-line", eol=b"\r") + b"\r\n\r\n", [REFUSED], "closed"),
    Case("cr-ends-the-request-line", post("cr-ends-the-request-line").replace(CRLF, b"\r", 1), [REFUSED], "closed"),
    Case("cr-ends-the-head", post("cr-ends-the-head", b"X: y").replace(b"\r\n\r\n", b"\r\n\r", 1) + smuggled("cr-ends-the-head"),
         [REFUSED], "closed"),
    Case("lf-cr-ends-the-head", post("lf-cr-ends-the-head").replace(b"\r\n\r\n", b"\n\r\n\r", 1), [REFUSED], "closed"),
    line("cr-cr-lf-ends-a-line", b"X: y\r\r\nZ: w"),
    # 2.2: at least one empty line before the request line should be passed over.
    Case("an-empty-line-before", CRLF + post("an-empty-line-before"), [{204}], "kept"),
    Case("a-bare-lf-before", b"\n" + post("a-bare-lf-before"), [{204, 400}], "either"),
    Case("a-lone-cr-before", b"\r" + post("a-lone-cr-before"), [REFUSED], "closed"),
    Case("a-hundred-empty-lines-before", CRLF * 100 + post("a-hundred-empty-lines-before"), [{204, 400}], "either"),
    Case("a-nul-before", b"\x00" + post("a-nul-before"), [REFUSED], "closed"),
    Case("a-blank-before", b" " + post("a-blank-before"), [{400, 501}], "closed"),
    Case("a-byte-order-mark-before", b"\xef\xbb\xbf" + post("a-byte-order-mark-before"), [{400, 501}], "closed"),
    Case("a-name-twice", post("a-name-twice", b"X: 1", b"x: 2"), [{204}], "kept"),
    Case("two-signatures", post("two-signatures", mac(b"other")), [{401}], "either", ids=[None]),
]


def request_line(name, text, right, end="closed", ids=None):
    """text: the whole request line. The rest is genuine."""
    head = text + CRLF + b"Host: x" + CRLF + mac(event(name)) + CRLF + b"Content-Length: %d" % len(event(name)) + CRLF * 2
    more = smuggled(name) if end == "closed" else b""
    return Case(name, head + event(name) + more, [right], end, ids=ids)


VERSIONS = [
    request_line("version-1-1", b"POST /hooks/github HTTP/1.1", {204}, "kept"),
    request_line("version-1-0", b"POST /hooks/github HTTP/1.0", {204}, "closed"),
    # RFC 9110 2.5: a higher minor version should be taken as the highest known; 15.6.6: 505 is for major ones.
    request_line("version-1-2", b"POST /hooks/github HTTP/1.2", {204, 400, 505}, "either"),
    request_line("version-1-9", b"POST /hooks/github HTTP/1.9", {204, 400, 505}, "either"),
    *[request_line("version-" + name, b"POST /hooks/github " + text, {400, 505}) for name, text in (
        ("2-0", b"HTTP/2.0"), ("3-0", b"HTTP/3.0"), ("0-9", b"HTTP/0.9"), ("11-1", b"HTTP/11.1"), ("1-10", b"HTTP/1.10"),
        ("01-1", b"HTTP/01.1"), ("2", b"HTTP/2"), ("1", b"HTTP/1"), ("1-dot", b"HTTP/1."), ("1-comma-1", b"HTTP/1,1"),
        ("1-1x", b"HTTP/1.1x"), ("without-slash", b"HTTP1.1"), ("lower-case", b"http/1.1"), ("https", b"HTTPS/1.1"),
        ("icy", b"ICY/1.1"), ("rtsp", b"RTSP/1.0"), ("of-blanks", b"HTTP / 1.1"), ("negative", b"HTTP/-1.1"),
        ("hexadecimal", b"HTTP/1.a"), ("empty", b""))],
    request_line("version-behind-two", b"POST /hooks/github HTTP/1.1 HTTP/1.0", {400, 404, 505}),
    Case("version-none", b"GET /hooks/github\r\n", [{400, 505}], "closed", ids=[None]),
    Case("version-none-and-a-request-behind", b"GET /hooks/github\r\n" + smuggled("version-none"), [{400, 505}], "closed",
         ids=[None]),
    # RFC 9112 3: words may be told apart by other white space; refusing is as right.
    request_line("line-with-two-blanks-before-the-target", b"POST  /hooks/github HTTP/1.1", {204, 400}, "either"),
    request_line("line-with-two-blanks-after-the-target", b"POST /hooks/github  HTTP/1.1", {204, 400, 505}, "either"),
    request_line("line-with-tabs", b"POST\t/hooks/github\tHTTP/1.1", {204, 400}, "either"),
    request_line("line-ends-in-a-blank", b"POST /hooks/github HTTP/1.1 ", {204, 400, 505}, "either"),
    request_line("line-with-a-vertical-tab", b"POST\x0b/hooks/github\x0bHTTP/1.1", {204, 400}, "either"),
    request_line("line-with-a-lone-cr", b"POST /hooks/github\rHTTP/1.1", {204, 400, 505}, "either"),
    request_line("line-without-a-target", b"POST HTTP/1.1", {400, 505}),
    request_line("line-of-a-method-alone", b"POST", {400, 505}),
    request_line("line-without-a-method", b" /hooks/github HTTP/1.1", {400, 501}),
    request_line("line-with-a-nul", b"POST /hooks/git\x00hub HTTP/1.1", REFUSED),
]

METHODS = [
    *[request_line("method-" + m.decode().lower(), m + b" /hooks/github HTTP/1.1", {405}, "either", ids=[None])
      for m in (b"GET", b"PUT", b"PATCH", b"DELETE", b"PROPFIND", b"M-SEARCH")],
    Case("method-head", post("method-head", method=b"HEAD"), [{405}], "either", ids=[None], head=True),
    Case("method-head-to-nowhere", post(b"", method=b"HEAD", target=b"/nowhere", length=False), [{404}], "kept", ids=[None],
         head=True),
    Case("method-head-malformed", post(b"", b"X : y", method=b"HEAD", length=False), [REFUSED], "closed", ids=[None], head=True),
    Case("method-options", post(b"", method=b"OPTIONS", length=False), [{200, 204, 405}], "either", ids=[None]),
    Case("method-options-asterisk", post(b"", method=b"OPTIONS", target=b"*", length=False), [{200, 204, 404, 405, 501}], "either",
         ids=[None]),
    request_line("method-trace", b"TRACE /hooks/github HTTP/1.1", {400, 405, 501}, "either", ids=[None]),
    request_line("method-connect", b"CONNECT x:443 HTTP/1.1", {400, 405, 501}, ids=[None]),
    request_line("method-connect-to-a-path", b"CONNECT /hooks/github HTTP/1.1", {400, 405, 501}, ids=[None]),
    # RFC 9110 9.1: methods are case-sensitive; 501 for one not known.
    *[request_line("method-" + name, m + b" /hooks/github HTTP/1.1", {400, 405, 501}, "either", ids=[None]) for name, m in (
        ("in-lower-case", b"post"), ("in-mixed-case", b"Post"), ("unknown", b"BREW"), ("of-one-letter", b"P"),
        ("longer-than-post", b"POSTS"), ("shorter-than-post", b"POS"), ("of-a-hundred-letters", b"A" * 100))],
    *[request_line("method-" + name, m + b" /hooks/github HTTP/1.1", {400, 501}, ids=[None]) for name, m in (
        ("in-parentheses", b"PO(ST)"), ("with-a-colon", b"POST:"), ("with-a-slash", b"PO/ST"), ("above-ascii", b"P\xd6ST"),
        ("with-a-nul", b"PO\x00ST"), ("with-a-control-byte", b"PO\x01ST"), ("quoted", b'"POST"'))],
    request_line("method-of-five-thousand-letters", b"A" * 5000 + b" /hooks/github HTTP/1.1", {400, 405, 414, 431, 501}, ids=[None]),
]


def target(name, t, right, end="either", **kw):
    ids = None if 204 in right else [None]
    return Case(name, post(name, target=t, **kw), [right], end, ids=ids)


TARGETS = [
    # RFC 9112 3.2.2: the absolute form must be understood; the target's authority counts, not Host.
    target("target-absolute", b"http://x/hooks/github", {204}, "kept"),
    target("target-absolute-https", b"https://x/hooks/github", {204, 400, 404, 421}),
    target("target-absolute-in-upper-case", b"HTTP://X/hooks/github", {204}, "kept"),
    target("target-absolute-of-another-host", b"http://other:80/hooks/github", {204, 400, 404, 421}),
    target("target-absolute-with-a-query", b"http://x/hooks/github?a=b", {204}, "kept"),
    target("target-absolute-without-a-path", b"http://x", {404}),
    target("target-absolute-without-host", b"http://x/hooks/github", {400}, "closed", host=None),
    # RFC 9110 4.2.1: an empty host in an http URI must be rejected; 4.2.4: userinfo should be.
    target("target-absolute-without-authority", b"http:///hooks/github", {400}),
    target("target-absolute-of-a-port-alone", b"http://:80/hooks/github", {400}),
    target("target-absolute-with-a-user", b"http://me@x/hooks/github", {204, 400}),
    target("target-absolute-with-a-bad-port", b"http://x:80a/hooks/github", {400}),
    target("target-absolute-with-blanks-escaped", b"http://x%20y/hooks/github", {204, 400}),
    target("target-absolute-without-slashes", b"http:/hooks/github", {400}),
    target("target-of-another-scheme", b"ftp://x/hooks/github", {400, 404}),
    target("target-of-a-file", b"file:///hooks/github", {400, 404}),
    target("target-authority", b"x:80", {400}),
    target("target-asterisk", b"*", {400, 404}),
    target("target-relative", b"hooks/github", {400}),
    target("target-query-alone", b"?a=b", {400}),
    target("target-backslash", b"\\hooks\\github", {400}),
    # 3.2.1: origin form; a path that begins with // is a path.
    target("target-of-two-slashes", b"//hooks/github", {404}),
    target("target-of-two-slashes-and-a-host", b"//x/hooks/github", {404}),
    target("target-slash-twice-inside", b"/hooks//github", {404}),
    target("target-slash-behind", b"/hooks/github/", {404}),
    target("target-in-upper-case", b"/HOOKS/GITHUB", {404}),
    target("target-with-dots", b"/hooks/../hooks/github", {204, 400, 404}),
    target("target-with-a-dot", b"/hooks/./github", {204, 400, 404}),
    target("target-above-the-root", b"/../../../../etc/passwd", {400, 404}),
    target("target-with-escaped-dots", b"/%2e%2e/hooks/github", {400, 404}),
    target("target-with-an-escaped-slash", b"/hooks%2fgithub", {400, 404}),
    target("target-with-an-escaped-letter", b"/hooks/git%68ub", {204, 404}),
    target("target-with-an-escaped-nul", b"/hooks/github%00", {400, 404}),
    target("target-with-an-escaped-crlf", b"/hooks/github%0d%0aX:y", {400, 404}),
    target("target-with-half-an-escape", b"/hooks/github%2", {400, 404}),
    target("target-with-a-wrong-escape", b"/hooks/github%zz", {400, 404}),
    target("target-with-a-parameter", b"/hooks/github;a=b", {400, 404}),
    target("target-with-a-fragment", b"/hooks/github#a", {400}),
    target("target-with-a-fragment-behind-a-query", b"/hooks/github?a#b", {400}),
    target("target-above-ascii", b"/hooks/g\xc3\xaft", {400, 404}),
    target("target-in-overlong-utf-8", b"/hooks\xc0\xafgithub", {400, 404}),
    target("target-with-angle-brackets", b"/<script>", {400, 404}),
    target("target-with-a-control-byte", b"/hooks/\x01", {400}),
    target("target-with-del", b"/hooks/\x7f", {400}),
    target("target-with-a-query", b"/hooks/github?a=b&c=%00", {204}, "kept"),
    target("target-with-an-empty-query", b"/hooks/github?", {204}, "kept"),
    target("target-with-two-question-marks", b"/hooks/github??", {204}, "kept"),
    target("target-with-a-url-in-the-query", b"/hooks/github?u=http://x/", {204}, "kept"),
    # 3: a request line of 8,000 octets should be supported.
    target("target-of-7900-bytes", b"/" + b"a" * 7900, {404}),
    target("target-with-a-query-of-7900-bytes", PATH + b"?" + b"a" * 7900, {204}, "kept"),
    target("target-of-20000-bytes", b"/" + b"a" * 20000, {414, 431}, "closed"),
    target("target-of-300000-bytes", b"/" + b"a" * 300000, {414, 431}, "closed"),
]


def host(name, value, right=REFUSED, end="closed"):
    """RFC 9112 3.2: no Host, more than one, or an invalid one must get 400."""
    more = smuggled(name) if end == "closed" else b""
    return Case(name, post(name, host=value) + more, [right], end)


HOSTS = [
    host("host-missing", None),
    host("host-twice-equal", b"Host: x\r\nHost: x"),
    host("host-twice-different", b"Host: x\r\nHost: y"),
    host("host-twice-one-empty", b"Host:\r\nHost: x"),
    host("host-twice-in-other-case", b"Host: x\r\nhOST: y"),
    host("host-empty", b"Host:", {204, 400}, "either"),
    host("host-with-a-blank", b"Host: x y"),
    host("host-with-a-tab", b"Host: x\ty"),
    host("host-with-a-path", b"Host: x/y"),
    host("host-with-a-user", b"Host: me@x"),
    host("host-a-url", b"Host: http://x"),
    host("host-with-a-query", b"Host: x?y"),
    host("host-with-a-fragment", b"Host: x#y"),
    host("host-with-angle-brackets", b"Host: <x>"),
    host("host-with-a-quote", b'Host: "x"'),
    host("host-with-a-backslash", b"Host: x\\y"),
    host("host-with-a-nul", b"Host: x\x00y"),
    host("host-above-ascii", b"Host: \xc3\xa4"),
    # RFC 3986 3.2.3: port = *DIGIT; 3.2.2: an address of IPv6 stands in brackets; 2.1: % HEXDIG HEXDIG
    host("host-with-a-port-in-letters", b"Host: x:http"),
    host("host-with-a-negative-port", b"Host: x:-1"),
    host("host-with-two-ports", b"Host: x:1:2"),
    host("host-of-colons", b"Host: ::1"),
    host("host-with-an-open-bracket", b"Host: [::1"),
    host("host-with-a-closed-bracket", b"Host: ::1]"),
    host("host-with-words-behind-a-bracket", b"Host: [::1]x"),
    host("host-with-a-bracket-inside", b"Host: a[b]"),
    host("host-with-nothing-in-brackets", b"Host: []"),
    host("host-with-half-an-escape", b"Host: x%2"),
    host("host-with-a-wrong-escape", b"Host: x%zz"),
    host("host-a-list", b"Host: x, y"),
    host("host-a-list-without-blank", b"Host: x,y", {204, 400}, "either"),   # a comma is a sub-delim of RFC 3986
    host("host-a-port-alone", b"Host: :80", {204, 400}, "either"),
    host("host-with-an-empty-port", b"Host: x:", {204, 400}, "either"),
    host("host-with-a-port", b"Host: x.example:8080", {204}, "kept"),
    host("host-an-address", b"Host: 127.0.0.1:80", {204}, "kept"),
    host("host-an-ipv6-address", b"Host: [::1]:80", {204}, "kept"),
    host("host-an-ipv6-address-without-port", b"Host: [2001:db8::1]", {204}, "kept"),
    host("host-with-underscores-and-dots", b"Host: a_b.c-d.e.", {204}, "kept"),
    host("host-with-an-escape", b"Host: x%41", {204, 400}, "either"),
    Case("host-missing-in-http-1-0", post("host-missing-in-http-1-0", host=None, version=b"HTTP/1.0"), [{204}], "closed"),
]

GROUPS = {"header lines": HEADERS, "request lines": VERSIONS, "methods": METHODS, "targets": TARGETS, "hosts": HOSTS}
