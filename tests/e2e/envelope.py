#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The envelope of a webhook record: its keys, its payload byte for byte, its headers in order, its secrets masked."""
import base64
import gzip
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import sign  # noqa: E402
from deliver import accepted, event  # noqa: E402
from server import SECRET, landed, running, webhook  # noqa: E402

KEYS = {"source", "stream", "id", "ingested_at", "event_at", "position", "request", "verified", "replay", "key",
        "key_base64", "headers", "event_at_type", "data", "data_text", "data_base64", "tombstone"}
SOURCE = {"github": webhook()}


def data_of(record):
    """The raw text of the value of `data`, cut out of the line by hand: a parser would hide what is looked for."""
    at = record.text.index('"data":') + len('"data":')
    depth, i, quoted = 0, at, False
    while True:
        c = record.text[i]
        if quoted:
            if c == "\\":
                i += 1
            elif c == '"':
                quoted = False
        elif c == '"':
            quoted = True
        elif c in "{[":
            depth += 1
        elif c in "}]":
            if depth == 0:
                return record.text[at:i]
            depth -= 1
        elif c == "," and depth == 0:
            return record.text[at:i]
        i += 1


def land_one(body, source=None, **kw):
    with running({"github": source or webhook()}) as server:
        accepted(server, body, **kw)
        record, = landed(server)
        return record


def test_the_keys_are_those_of_the_contract():
    with running(SOURCE) as server:
        accepted(server, "one", path="/hooks/github?a=1&b=%20x")
        record, = landed(server)
        value = record.value
    case.true(set(value) <= KEYS, f"unknown keys: {set(value) - KEYS}")
    case.equal((value["source"], value["stream"]), ("github", "github"))
    case.true(re.fullmatch(r"[0-9a-f-]+/\d+", value["id"]), f"id, <queue id>/<sequence>: {value['id']}")
    case.true(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", value["ingested_at"]), value["ingested_at"])
    case.equal(value["position"], {"request": value["id"]})
    request = value["request"]
    case.equal(set(request), {"method", "path", "query", "remote"})
    case.equal((request["method"], request["path"], request["query"]), ("POST", "/hooks/github", "a=1&b=%20x"))
    case.true("127.0.0.1" in request["remote"], request["remote"])
    case.equal(value["verified"], {"scheme": "github", "secret": 0, "covers": "body"})
    case.true(record.text.count("\n") == 0, "one line")


def test_json_keeps_every_token_and_loses_only_white_space():
    tokens = (b'{ "f" : 1.0 , "e":1e5, "E":1E+05 ,"neg":-0.0,\n\t"big":123456789012345678901234567890,'
              b'"long":0.1000000000000000055511151231257827021181583404541015625,\r\n "dup":1, "dup":2, "z":1,"a":2,'
              b' "esc":"\\u0041\\/\\ud83d\\ude00 \\" \\\\ ", "utf8":"\xc3\xa4 \xf0\x9f\x98\x80", "sp":" a  b ",'
              b' "null":null,"t":true, "nest":[ [ ] , { } , [ 1 , 2 ] ], "":0 }')
    want = ('{"f":1.0,"e":1e5,"E":1E+05,"neg":-0.0,"big":123456789012345678901234567890,'
            '"long":0.1000000000000000055511151231257827021181583404541015625,"dup":1,"dup":2,"z":1,"a":2,'
            '"esc":"\\u0041\\/\\ud83d\\ude00 \\" \\\\ ","utf8":"ä 😀","sp":" a  b ",'
            '"null":null,"t":true,"nest":[[],{},[1,2]],"":0}')
    case.equal(data_of(land_one(tokens)), want)


def test_json_that_is_no_object_stays_what_it_is():
    with running(SOURCE) as server:
        bodies = [b"1.0", b'"text"', b"null", b"true", b"[1, 2]", b" 12345678901234567890123 "]
        for body in bodies:
            accepted(server, body)
        got = sorted(data_of(r) for r in landed(server))
    case.equal(got, sorted(["1.0", '"text"', "null", "true", "[1,2]", "12345678901234567890123"]))


def test_what_is_not_strict_json_lands_as_text():
    texts = ["hello", '{"a":1,}', "{'a':1}", "01", "[1] x", '{"a":NaN}', "", "tab\tand \"quotes\" \\ and \x01 and ü",
             '"\\ud800 alone \\x"', "a=1&b=2", "\ufeff{}", "[" * 5000 + "]" * 5000]
    with running(SOURCE) as server:
        for t in texts:
            accepted(server, t.encode())
        got = [r.value.get("data_text") for r in landed(server)]
    wrong = [t for t in texts if t not in got and not t.startswith("[[")]
    case.equal(wrong, [], "texts that did not land as they were")
    case.equal(len(got), len(texts), "records")


def test_bytes_that_are_no_text_land_as_base64():
    bodies = [bytes(range(256)), b"latin \xe4", b"nul \x00 inside", b"\xed\xa0\x80", b'{"a":"\xff"}', b"\xc0\xaf"]
    with running(SOURCE) as server:
        for body in bodies:
            accepted(server, body)
        got = [base64.b64decode(r.value["data_base64"]) for r in landed(server)]
    case.equal(sorted(got), sorted(bodies))


def test_payload_exact_keeps_the_received_bytes():
    pretty = b'{\n  "id": "evt_1",\n  "amount": 1.50\n}\n'
    record = land_one(pretty, webhook(payload="exact"))
    case.equal(record.value["data_text"].encode(), pretty)
    case.true("data" not in record.value, "no second copy")
    record = land_one(b'{"a":"\xff"}', webhook(payload="exact"))
    case.equal(base64.b64decode(record.value["data_base64"]), b'{"a":"\xff"}')


def test_headers_keep_order_case_and_repeats():
    also = [("X-B", "2"), ("x-a", "1"), ("X-B", "3"), ("X-Empty", ""), ("X-Latin", "caf\xe9")]
    record = land_one("headers", also=also)
    headers = record.value["headers"]
    case.equal([(h["name"], h["value"]) for h in headers if h["name"] in ("X-B", "x-a", "X-Empty")],
               [("X-B", "2"), ("x-a", "1"), ("X-B", "3"), ("X-Empty", "")])
    latin, = [h for h in headers if h["name"] == "X-Latin"]
    case.equal(base64.b64decode(latin["value_base64"]), b"caf\xe9")


def test_secret_headers_are_masked_and_signatures_kept():
    body = event("masked")
    signature = sign.github(SECRET, body)[0]
    secrets = [("Authorization", "Bearer tell-nobody-1"), ("Cookie", "session=tell-nobody-2"),
               ("Proxy-Authorization", "Basic tell-nobody-3")]
    record = land_one(body, also=secrets)
    case.true("tell-nobody" not in record.text, "a secret header's value is in the zone")
    names = [h["name"] for h in record.value["headers"]]
    case.true(all(n in names for n, _ in secrets), f"the names stay: {names}")
    kept = [h["value"] for h in record.value["headers"] if h["name"] == signature[0]]
    case.equal(kept, [signature[1]], "the signature stays")


def test_the_queue_on_disk_holds_no_secret_header_either():
    with running(SOURCE, zone={"roll": {"age": "60s"}}) as server:
        accepted(server, "masked", also=[("Authorization", "Bearer tell-nobody-4")])
        server.kill9()
        for folder, _, names in os.walk(server.data_dir):
            for name in names:
                with open(os.path.join(folder, name), "rb") as f:
                    case.true(b"tell-nobody-4" not in f.read(), f"{name} holds the secret")


def test_a_stream_name_is_escaped_in_paths_and_kept_in_the_record():
    record = land_one("s", webhook(stream="a b/ü"))
    case.equal(record.value["stream"], "a b/ü")
    case.equal(record.stream, "a%20b%2F%C3%BC")


def test_each_compression_is_readable():
    for kind, ending in (("zstd", ".ndjson.zst"), ("gzip", ".ndjson.gz"), ("none", ".ndjson")):
        with running(SOURCE, zone={"compression": kind, "roll": {"age": "1s"}}) as server:
            for n in range(20):
                accepted(server, f"{kind}{n}")
            records = landed(server)
        case.equal(len(records), 20, kind)
        case.true(all(r.file.endswith(ending) for r in records), f"{kind}: {records[0].file}")


def test_a_gzip_body_is_landed_decoded_and_says_how_it_came():
    body = event("gz")
    packed = gzip.compress(body)
    record = land_one(packed, headers=sign.github(SECRET, packed), also=[("Content-Encoding", "gzip")])
    case.equal(record.value["data"], {"id": "gz"})
    case.true(any(h["name"].lower() == "content-encoding" for h in record.value["headers"]), "the header stays")


def test_the_data_keys_exclude_each_other():
    with running(SOURCE) as server:
        for body in (b"{}", b"text", b"\xff"):
            accepted(server, body)
        for r in landed(server):
            case.equal(len({"data", "data_text", "data_base64"} & set(r.value)), 1, r.text)


if __name__ == "__main__":
    case.main(globals())
