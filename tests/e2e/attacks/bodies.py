# SPDX-License-Identifier: Apache-2.0
"""Chunks, sizes and content codings: bodies made to break, to fill, or to say two things."""
import gzip
import struct
import zlib

from attacks import END, Bytewise, Case, chunked, chunks, event, mac, post, smuggled, zipped

REFUSED = {400}
TOO_MUCH = {400, 413}                             # an overflow may be seen as malformed or as too large
MIB = 1 << 20                                    # the default of http.body_limit
LARGEST = b'"' + b"x" * (MIB - 2) + b'"'


def size(name, text, right=REFUSED, end="closed"):
    """text: a line that stands for the size of the chunk; # is the true size."""
    body = event(name)
    wire = text.replace(b"#", b"%x" % len(body)) + b"\r\n" + body + b"\r\n0\r\n\r\n"
    return Case(name, chunks(name, wire + (smuggled(name) if end == "closed" else b"")), [right], end)


def tail(name, wire, right=REFUSED, end="closed"):
    """wire: what stands behind the size of the one chunk; # is its data."""
    body = event(name)
    more = smuggled(name) if end == "closed" else b""
    return Case(name, chunks(name, b"%x" % len(body) + wire.replace(b"#", body) + more), [right], end)


SIZES = [
    size("chunk-size-with-0x", b"0x#"),
    size("chunk-size-with-plus", b"+#"),
    size("chunk-size-with-minus", b"-#"),
    size("chunk-size-minus-one", b"-1"),
    size("chunk-size-behind-a-blank", b" #"),
    size("chunk-size-behind-a-tab", b"\t#"),
    size("chunk-size-before-a-blank", b"# ", {204, 400}, "either"),   # trailing blanks have been padding since Apache 1.3
    size("chunk-size-before-a-tab", b"#\t", {204, 400}, "either"),
    size("chunk-size-with-a-blank-inside", b"1 0"),
    size("chunk-size-empty", b""),
    size("chunk-size-of-an-extension-alone", b";#"),
    size("chunk-size-of-letters", b"xyz"),
    size("chunk-size-with-an-underscore", b"1_0"),
    size("chunk-size-with-a-nul", b"#\x00"),
    size("chunk-size-with-a-comma", b"#,#"),
    size("chunk-size-quoted", b'"#"'),
    size("chunk-size-with-an-h", b"#h"),
    size("chunk-size-of-a-fraction", b"#.0"),
    # RFC 9112 7.1: 1*HEXDIG, and "prevent parsing errors due to integer conversion overflows"
    size("chunk-size-of-16-fs", b"f" * 16, TOO_MUCH),
    size("chunk-size-of-17-fs", b"f" * 17, TOO_MUCH),
    size("chunk-size-of-2-to-the-64", b"1" + b"0" * 16, TOO_MUCH),
    size("chunk-size-that-wraps-to-the-true-one", b"10000000000000000"[:15] + b"#", TOO_MUCH),
    size("chunk-size-that-wraps-at-32-bits", b"1000000#", TOO_MUCH),
    size("chunk-size-of-2-to-the-63", b"8" + b"0" * 15, TOO_MUCH),
    size("chunk-size-of-a-thousand-digits", b"1" * 1000, TOO_MUCH),
    size("chunk-size-with-leading-zeros", b"000#", {204}, "kept"),
    size("chunk-size-with-thirty-leading-zeros", b"0" * 30 + b"#", {204, 400, 413}, "either"),
    size("chunk-size-with-ten-thousand-leading-zeros", b"0" * 10000 + b"#", {204, 400, 413}, "either"),
    Case("chunk-size-in-upper-case", chunks("chunk-size-in-upper-case", b"%X\r\n" % len(event("chunk-size-in-upper-case")) +
                                            event("chunk-size-in-upper-case") + b"\r\n000\r\n\r\n"), [{204}], "kept"),
    # 7.1.1: extensions must be ignored if not understood.
    size("chunk-extension", b"#;a=b", {204}, "kept"),
    size("chunk-extension-without-a-value", b"#;a;b", {204}, "kept"),
    # To be ignored as well; a parser (llhttp 8.1) that refuses it does no harm, and nobody sends it.
    size("chunk-extension-behind-a-value", b"#;a=b;c=d", {204, 400}, "either"),
    size("chunk-extension-quoted", b'#;a="b c;d"', {204}, "kept"),
    size("chunk-extension-behind-a-blank", b"# ;a=b", {204, 400}, "either"),
    size("chunk-extension-of-nothing", b"#;", {204, 400}, "either"),
    size("chunk-extension-with-a-nul", b"#;a=\x00"),
    size("chunk-extension-with-a-lone-cr", b"#;a\rb"),
    # 2.2: a lone LF may end the line; what stands behind it is then the chunk, and nothing else may be.
    size("chunk-extension-with-a-lf", b"#;a\nb"),
    size("chunk-extension-with-crlf-in-quotes", b'#;a="\r\nb"'),
    Case("chunk-extension-hides-a-request", chunks("chunk-extension-hides-a-request",
                                                   b"2;\nxx\r\n0\r\n\r\n" + smuggled("extension")), [REFUSED], "closed"),
    Case("chunk-extensions-without-end", chunks("chunk-extensions-without-end", b"1;" + b"a" * 600000),
         [{400, 413, 431}], "closed"),
    Case("chunk-extensions-on-each-byte", chunks("chunk-extensions-on-each-byte", chunked(
        "chunk-extensions-on-each-byte" + "x" * 9000, 1, b";" + b"a" * 100)), [{400, 413, 431}], "closed"),
]

BREAKS = [
    tail("chunk-line-ends-in-lf", b"\n#\r\n0\r\n\r\n", {204, 400}, "either"),
    tail("chunk-line-ends-in-cr", b"\r#\r\n0\r\n\r\n"),
    tail("chunk-line-ends-in-crcrlf", b"\r\r\n#\r\n0\r\n\r\n"),
    tail("chunk-data-ends-in-lf", b"\r\n#\n0\r\n\r\n", {204, 400}, "either"),
    tail("chunk-data-ends-in-cr", b"\r\n#\r0\r\n\r\n"),
    tail("chunk-data-without-end", b"\r\n#0\r\n\r\n"),
    tail("chunk-data-longer-by-one", b"\r\n#x\r\n0\r\n\r\n"),
    tail("chunk-data-longer-by-two", b"\r\n#xx0\r\n\r\n"),
    tail("chunk-data-shorter-by-two", b"\r\n" + b"x\r\n0\r\n\r\n"),
    tail("chunk-data-followed-by-an-empty-line", b"\r\n#\r\n\r\n0\r\n\r\n"),
    tail("last-chunk-of-many-zeros", b"\r\n#\r\n0000000\r\n\r\n", {204}, "kept"),
    tail("last-chunk-with-an-extension", b"\r\n#\r\n0;a=b\r\n\r\n", {204}, "kept"),
    tail("last-chunk-ends-in-lf", b"\r\n#\r\n0\n\r\n", {204, 400}, "either"),
    tail("last-chunk-ends-in-two-lfs", b"\r\n#\r\n0\r\n\n", {204, 400}, "either"),
    tail("last-chunk-ends-in-cr", b"\r\n#\r\n0\r\n\r"),
    tail("last-chunk-of-minus-zero", b"\r\n#\r\n-0\r\n\r\n"),
    # the request behind it stands where trailers do
    tail("last-chunk-without-its-empty-line", b"\r\n#\r\n0\r\n"),
    tail("no-last-chunk", b"\r\n#\r\n"),
    Case("a-hundred-thousand-chunks-of-one-byte", chunks("a-hundred-thousand-chunks-of-one-byte", chunked(
        event("a-hundred-thousand-chunks-of-one-byte", pad="x" * 100000), 1),
        signed=event("a-hundred-thousand-chunks-of-one-byte", pad="x" * 100000)), [{204, 400, 413}], "either"),
    Case("chunks-in-single-bytes", Bytewise(chunks("chunks-in-single-bytes")), [{204}], "kept"),
    Case("chunks-of-nothing", chunks(b"", b"0\r\n\r\n"), [{204}], "kept", ids=[b""]),
]


def trailer(name, lines, right, end="either"):
    return Case(name, chunks(name, chunked(name, trailer=lines) + (smuggled(name) if end == "closed" else b"")), [right], end)


TRAILERS = [
    trailer("trailer", b"X: y\r\n", {204}, "kept"),
    # RFC 9110 6.5.1: fields of framing, routing and authentication must not be there; they are refused or dropped.
    trailer("trailer-content-length", b"Content-Length: 5\r\n", {204, 400}),
    trailer("trailer-transfer-encoding", b"Transfer-Encoding: chunked\r\n", {204, 400}),
    trailer("trailer-transfer-encoding-gzip", b"Transfer-Encoding: gzip\r\n", {204, 400, 501}),
    trailer("trailer-host", b"Host: other\r\n", {204, 400}),
    trailer("trailer-content-encoding", b"Content-Encoding: gzip\r\n", {204, 400}),
    trailer("trailer-connection-close", b"Connection: close\r\n", {204, 400}),
    trailer("trailer-connection-upgrade", b"Connection: upgrade\r\nUpgrade: h2c\r\n", {204, 400}),
    trailer("trailer-expect", b"Expect: 100-continue\r\n", {204, 400, 417}),
    trailer("trailer-signature-of-another", mac(b"other") + b"\r\n", {204, 400}),
    Case("trailer-with-the-only-signature", post(b"", b"Transfer-Encoding: chunked", length=False, wire=b"").replace(
        mac(b"") + b"\r\n", b"") + chunked("only", trailer=mac(event("only")) + b"\r\n"), [{400, 401}], "either", ids=[None]),
    trailer("trailer-without-a-colon", b"nonsense\r\n", REFUSED, "closed"),
    trailer("trailer-with-a-blank-before-the-colon", b"X : y\r\n", REFUSED, "closed"),
    trailer("trailer-without-a-name", b": y\r\n", REFUSED, "closed"),
    trailer("trailer-with-a-nul", b"X: a\x00b\r\n", REFUSED, "closed"),
    trailer("trailer-with-a-nul-in-the-name", b"X\x00: a\r\n", REFUSED, "closed"),
    trailer("trailer-with-a-lone-cr", b"X: a\rb\r\n", REFUSED, "closed"),
    trailer("trailer-that-ends-in-lf-cr", b"X: a\r\n\rY: b\r\n", REFUSED, "closed"),
    trailer("trailer-folded", b"X: y\r\n z\r\n", {204, 400}),
    trailer("trailer-begins-with-a-blank", b" X: y\r\n", {204, 400}),
    trailer("trailer-ends-in-lf", b"X: y\n", {204, 400}),
    trailer("trailers-by-the-thousand", b"X: y\r\n" * 20000, {400, 413, 431}, "closed"),
    trailer("trailer-of-300000-bytes", b"X: " + b"y" * 300000 + b"\r\n", {400, 413, 431}, "closed"),
    Case("trailer-cut-short", [chunks("trailer-cut-short", chunked("trailer-cut-short")[:-2] + b"X: y"), END],
         [{400, 0}], "closed"),
]


def large(name, *lines, right=(431,), **kw):
    return Case(name, post(name, *lines, **kw) + smuggled(name), [right], "closed")


SIZES_OF_ALL = [
    large("header-of-70000-bytes", b"X: " + b"y" * 70000),
    large("header-of-a-million-bytes", b"X: " + b"y" * MIB),
    large("header-name-of-70000-bytes", b"X" * 70000 + b": y"),
    large("header-without-a-colon-of-70000-bytes", b"X" * 70000, right=(400, 431)),
    large("headers-of-70000-bytes-together", *[b"X-%d: " % n + b"y" * 1000 for n in range(70)]),
    large("headers-by-the-thousand", *[b"X-%d: y" % n for n in range(2000)]),
    large("headers-of-one-letter", *[b"a:"] * 5000),
    large("hosts-by-the-thousand", *[b"Host: x"] * 2000, right=(400, 431)),
    large("request-line-without-end", target=b"/" + b"a" * MIB, right=(414, 431)),
    large("signature-of-60000-bytes", b"X-Hub-Signature-256: sha256=" + b"a" * 60000, right=(401, 431)),
    Case("body-of-exactly-the-limit", post(LARGEST), [{204}], "kept", ids=[LARGEST]),
    Case("body-one-byte-above-the-limit", post(b'"' + b"x" * (MIB - 1) + b'"'), [{413}], "either", ids=[None]),
    Case("body-declared-of-a-gigabyte", post(b"", b"Content-Length: 1073741824", length=False), [{413}], "closed", ids=[None]),
    Case("body-declared-of-a-gigabyte-and-sent", post(b"", b"Content-Length: 1073741824", length=False, wire=b"x" * 3 * MIB),
         [{413}], "closed", ids=[None]),
    Case("chunks-above-the-limit", chunks(b"", chunked(b"x" * 2 * MIB, 16384)), [{413}], "closed", ids=[None]),
    Case("one-chunk-above-the-limit", chunks(b"", b"%x\r\n" % (MIB + 1)), [{413}], "closed", ids=[None]),
    Case("chunks-of-exactly-the-limit", chunks(LARGEST, chunked(LARGEST, 65536)), [{204}], "kept", ids=[LARGEST]),
]


def packed(name, wire, right, ids=None, coding=b"gzip", *lines):
    """Signed as it is on the wire."""
    return Case(name, post(wire, b"Content-Encoding: " + coding, *lines), [right], "kept" if right == {204} else "either", ids=ids)


def broken(body, at, byte):
    return body[:at] + bytes([byte]) + body[at + 1:]


def member(name):
    return zipped(name)


def trailer_of(crc, length):
    return struct.pack("<II", crc & 0xffffffff, length & 0xffffffff)


CODINGS = [
    packed("gzip", member("gzip"), {204}),
    packed("gzip-in-upper-case", member("gzip-in-upper-case"), {204}, None, b"GZIP"),
    packed("gzip-by-its-old-name", member("gzip-by-its-old-name"), {204}, None, b"x-gzip"),   # RFC 9110 8.4.1.3
    # RFC 1952 2.2: a file may have several members, one after the other.
    packed("gzip-of-two-members", gzip.compress(event("gzip-of-two-members")[:9], mtime=0) +
           gzip.compress(event("gzip-of-two-members")[9:], mtime=0), {204}),
    packed("gzip-of-nothing", zipped(b""), {204}, [b""]),
    packed("gzip-and-a-bomb", gzip.compress(b" " * 3 * MIB, mtime=0), {413}, [None]),
    packed("gzip-bomb-of-members", gzip.compress(b" " * 100000, mtime=0) * 20, {413}, [None]),
    packed("gzip-bomb-to-one-byte-above", gzip.compress(b" " * (MIB + 1), mtime=0), {413}, [None]),
    packed("gzip-to-exactly-the-limit", gzip.compress(LARGEST, mtime=0), {204}, [LARGEST]),
    packed("gzip-in-gzip", zipped(member("gzip-in-gzip")), {204}, [member("gzip-in-gzip")]),
    packed("gzip-cut-short", member("gzip-cut-short")[:-5], REFUSED),
    packed("gzip-without-a-trailer", member("gzip-without-a-trailer")[:-8], REFUSED),
    packed("gzip-of-a-header-alone", member("x")[:10], REFUSED),
    packed("gzip-of-two-bytes", b"\x1f\x8b", REFUSED),
    packed("gzip-of-no-bytes", b"", {204, 400}, [b""]),
    packed("gzip-with-a-wrong-crc", broken(member("gzip-with-a-wrong-crc"), -8, 0x55), REFUSED),
    packed("gzip-with-a-wrong-length", member("gzip-with-a-wrong-length")[:-4] + b"\xff\xff\xff\xff", REFUSED),
    packed("gzip-with-a-length-of-zero", member("gzip-with-a-length-of-zero")[:-4] + b"\0\0\0\0", REFUSED),
    packed("gzip-with-reserved-flags", broken(member("gzip-with-reserved-flags"), 3, 0xe0), REFUSED),
    packed("gzip-with-another-method", broken(member("gzip-with-another-method"), 2, 7), REFUSED),
    packed("gzip-with-another-magic", broken(member("gzip-with-another-magic"), 1, 0x8c), REFUSED),
    packed("gzip-with-a-long-name", b"\x1f\x8b\x08\x08\0\0\0\0\0\x03" + b"n" * 50000 + b"\0" +
           member("gzip-with-a-long-name")[10:], {204}),
    packed("gzip-with-a-name-without-end", b"\x1f\x8b\x08\x08\0\0\0\0\0\x03" + b"n" * 50000, REFUSED),
    packed("gzip-with-a-broken-block", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x07" + trailer_of(0, 0), REFUSED),
    packed("gzip-followed-by-rubbish", member("gzip-followed-by-rubbish") + b"rubbish", REFUSED),
    packed("gzip-followed-by-zeros", member("gzip-followed-by-zeros") + b"\0" * 512, {204, 400}),
    packed("gzip-followed-by-half-a-member", member("gzip-followed-by-half-a-member") + member("x")[:12], REFUSED),
    packed("gzip-that-is-plain", event("gzip-that-is-plain"), REFUSED),
    packed("gzip-that-is-zlib", zlib.compress(event("gzip-that-is-zlib")), REFUSED),
    packed("gzip-twice", zipped(member("gzip-twice")), {204, 415}, None, b"gzip, gzip"),
    packed("gzip-on-two-lines", zipped(member("gzip-on-two-lines")), {204, 415}, None, b"gzip", b"Content-Encoding: gzip"),
    packed("gzip-and-identity", member("gzip-and-identity"), {204, 415}, None, b"gzip, identity"),
    packed("gzip-with-a-comma", member("gzip-with-a-comma"), {204, 415}, None, b"gzip,"),
    packed("gzip-with-a-parameter", member("gzip-with-a-parameter"), {415}, [None], b"gzip;q=1"),
    packed("gzip-quoted", member("gzip-quoted"), {415}, [None], b'"gzip"'),
    *[packed("coding-of-" + c.decode(), event("coding-of-" + c.decode()), {415}, [None], c)
      for c in (b"br", b"zstd", b"deflate", b"compress", b"x", b"chunked", b"aes128gcm")],
    packed("coding-identity-is-none", event("coding-identity-is-none"), {204, 415}, None, b"identity"),
    packed("coding-of-nothing", event("coding-of-nothing"), {204, 400, 415}, None, b""),
    Case("gzip-in-chunks", post(member("gzip-in-chunks"), b"Content-Encoding: gzip", b"Transfer-Encoding: chunked", length=False,
                                wire=chunked(member("gzip-in-chunks"), 7)), [{204}], "kept"),
    Case("gzip-bomb-in-chunks", post(gzip.compress(b" " * 3 * MIB, mtime=0), b"Content-Encoding: gzip", b"Transfer-Encoding: chunked",
                                     length=False, wire=chunked(gzip.compress(b" " * 3 * MIB, mtime=0), 100)), [{413}], "either",
         ids=[None]),
    Case("gzip-signed-as-plain", post(member("gzip-signed-as-plain"), b"Content-Encoding: gzip",
                                      signed=event("gzip-signed-as-plain")), [{204, 401}], "either"),
    Case("gzip-forged", post(gzip.compress(b" " * 3 * MIB, mtime=0), b"Content-Encoding: gzip", signed=b"another"), [{401}], "either",
         ids=[None]),
]

GROUPS = {"chunk sizes": SIZES, "broken chunks": BREAKS, "trailers": TRAILERS, "sizes": SIZES_OF_ALL, "content codings": CODINGS}
