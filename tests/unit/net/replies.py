#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""S3's XML: documents made by Python of values drawn at random, as AWS, versitygw and MinIO lay them out, must be read back as those values; and what we
send must be read by Python as it was meant.

usage: replies.py READS
"""
import base64
import json
import os
import random
import subprocess
import sys
import urllib.parse
import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
import case  # noqa: E402

READS = sys.argv[1]
sys.argv[1:2] = []
SPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
RNG = random.Random(int(os.environ.get("SEED", "0")) or random.SystemRandom().randint(1, 10 ** 6))


def word(most=20, odd=True):
    return "".join(RNG.choice(["a", "b", "/", "=", "-", ".", "é", "🐯", "&", "<", ">", "\"", "'", "+", "%", " ", "]]>"] if odd else ["a", "B", "9", "-"]) for _ in range(RNG.randint(1, most)))


def element(name, text):
    """Escaped, or as character data."""
    if "]]>" not in text and RNG.random() < 0.2:
        return f"<{name}><![CDATA[{text}]]></{name}>"
    return f"<{name}>{escape(text)}</{name}>"


def read(*documents):
    lines = "".join(base64.b64encode(d.encode() if isinstance(d, str) else d).decode() + "\n" for d in documents)
    done = subprocess.run([READS], input=lines, capture_output=True, text=True, timeout=60)
    if done.returncode or done.stderr:
        raise AssertionError(f"{READS}: {done.returncode} {done.stderr[-3000:]}")
    plain = lambda v: base64.b64decode(v).decode() if isinstance(v, str) else [{k: plain(x) for k, x in i.items()} for i in v] if isinstance(v, list) else v  # noqa: E731
    return [{k: plain(v) for k, v in json.loads(line).items()} for line in done.stdout.splitlines()]


def lay_out(fields, items, root):
    """What belongs to the page may stand before the items, behind, or between."""
    RNG.shuffle(fields)
    at = RNG.choice([len(fields), RNG.randint(0, len(fields))])
    head = RNG.choice(['<?xml version="1.0" encoding="UTF-8"?>\n', ""])
    return f"{head}<{root}{SPACE}>" + RNG.choice(["", "\n  "]).join(fields[:at] + items + fields[at:]) + f"</{root}>"


def test_lists_of_objects_are_read_as_they_were_made():
    documents, wanted = [], []
    for _ in range(200):
        url, more = RNG.random() < 0.5, RNG.random() < 0.5
        objects = [{"key": word(), "size": RNG.randint(0, 2 ** 62), "etag": f'"{word(8, False)}"', "modified": "2026-11-27T05:06:07.000Z", "storage_class": RNG.choice(["STANDARD", "GLACIER", ""])}
                   for _ in range(RNG.randint(0, 6))]
        items = ["<Contents>" + "".join(RNG.sample([element("Key", urllib.parse.quote_plus(o["key"]) if url else o["key"]), element("Size", str(o["size"])), element("ETag", o["etag"]),
                                                    element("LastModified", o["modified"]), element("StorageClass", o["storage_class"]),
                                                    "<Owner><ID>x</ID><DisplayName>Key</DisplayName></Owner>"], 6)) + "</Contents>" for o in objects]
        token = word(30, False)
        fields = ["<Name>bucket</Name>", "<Prefix></Prefix>", "<MaxKeys>1000</MaxKeys>", f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>", "<KeyCount>1</KeyCount>"]
        fields += ["<EncodingType>url</EncodingType>"] if url else []
        fields += [element("NextContinuationToken", token)] if more else []
        documents.append(lay_out(fields, items, "ListBucketResult"))
        wanted.append((True, more, token if more else "", objects))
    for got, (ok, more, token, objects) in zip(read(*documents), wanted):
        case.equal((got["list"], got["more"], got["next"]), (ok, more, token))
        case.equal([{k: i[k] for k in ("key", "size", "etag", "modified", "storage_class")} for i in got["items"]], objects)


def test_lists_of_uploads_and_parts():
    documents, wanted = [], []
    for _ in range(100):
        uploads = [{"key": word(), "upload_id": word(30, False), "initiated": "2026-11-27T05:06:07.000Z"} for _ in range(RNG.randint(0, 4))]
        more = bool(uploads) and RNG.random() < 0.5
        fields = ["<Bucket>b</Bucket>", "<KeyMarker></KeyMarker>", f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>"]
        fields += [element("NextKeyMarker", uploads[-1]["key"]), element("NextUploadIdMarker", uploads[-1]["upload_id"])] if more else []
        items = ["<Upload>" + element("Key", u["key"]) + element("UploadId", u["upload_id"]) + "<Initiator><ID>UploadId</ID></Initiator>" + element("Initiated", u["initiated"]) + "</Upload>"
                 for u in uploads]
        documents.append(lay_out(fields, items, "ListMultipartUploadsResult"))
        wanted.append((more, uploads[-1]["key"] if more else "", uploads[-1]["upload_id"] if more else "", uploads))
    for got, (more, key, upload, uploads) in zip(read(*documents), wanted):
        case.equal((got["list"], got["more"], got["next"], got["next_upload"]), (True, more, key, upload))
        case.equal([{k: i[k] for k in ("key", "upload_id", "initiated")} for i in got["items"]], uploads)
    parts = [{"part": n, "size": 5 << 20, "etag": f'"{n:032x}"'} for n in range(1, 200)]
    got, = read("<ListPartsResult>" + "<IsTruncated>true</IsTruncated><NextPartNumberMarker>199</NextPartNumberMarker>" + "".join(
        f"<Part><PartNumber>{p['part']}</PartNumber><ETag>{escape(p['etag'])}</ETag><Size>{p['size']}</Size></Part>" for p in parts) + "</ListPartsResult>")
    case.equal((got["more"], got["next"], [{k: i[k] for k in ("part", "size", "etag")} for i in got["items"]]), (True, "199", parts))


def test_prefixes_of_the_namespace_do_not_matter():
    got, = read('<s3:ListBucketResult xmlns:s3="http://s3.amazonaws.com/doc/2006-03-01/"><s3:Contents><s3:Key>k</s3:Key></s3:Contents></s3:ListBucketResult>')
    case.equal([i["key"] for i in got["items"]], ["k"])


def test_single_answers():
    documents = [f"<InitiateMultipartUploadResult{SPACE}><Bucket>b</Bucket><Key>k</Key>" + element("UploadId", "a<b&c") + "</InitiateMultipartUploadResult>",
                 f"<CompleteMultipartUploadResult{SPACE}><Location>l</Location>" + element("ETag", '"abc-2"') + "</CompleteMultipartUploadResult>",
                 "<Error><Code>AccessDenied</Code><Message>Access &lt;Denied&gt;</Message><Region>eu-west-1</Region><HostId>h</HostId></Error>",
                 "<Error><Code>" + "x" * 1000 + "</Code></Error>", "<a><Error><Code>NotAtTheRoot</Code></Error></a>", b"<Error><Code>cut", b"", b"\x00\x01", b"<Error/>"]
    got = read(*documents)
    case.equal((got[0]["id"], got[1]["completed"]), ("a<b&c", '"abc-2"'))
    case.equal((got[2]["error"], got[2]["code"], got[2]["message"], got[2]["region"]), (True, "AccessDenied", "Access <Denied>", "eu-west-1"))
    case.equal((got[3]["error"], len(got[3]["code"])), (True, 63))
    case.equal([g["error"] for g in got[4:]], [False, False, False, False, True])


def test_the_shortest_lifecycle_rule_that_aborts_uploads():
    documents, wanted = [], []
    for _ in range(100):
        rules = [(RNG.choice(["Enabled", "Disabled"]), RNG.choice([None, RNG.randint(1, 30)])) for _ in range(RNG.randint(0, 4))]
        laid_out = []
        for status, days in rules:
            parts = ["<ID>DaysAfterInitiation</ID>", f"<Status>{status}</Status>", "<Filter><Prefix></Prefix></Filter>", "<Expiration><Days>2</Days></Expiration>"]
            parts += [f"<AbortIncompleteMultipartUpload><DaysAfterInitiation>{days}</DaysAfterInitiation></AbortIncompleteMultipartUpload>"] if days else []
            RNG.shuffle(parts)
            laid_out.append("<Rule>" + "".join(parts) + "</Rule>")
        documents.append(lay_out([], laid_out, "LifecycleConfiguration"))
        wanted.append(min((days for status, days in rules if days and status == "Enabled"), default=0))
    documents += ["<Error><Code>NoSuchLifecycleConfiguration</Code></Error>", "<LifecycleConfiguration"]
    case.equal([g["days"] for g in read(*documents)], wanted + [-1, -1])


def test_what_completes_an_upload_is_read_as_it_was_meant():
    etags = ['"abc"', "a&b<c>", "plain"]
    done = subprocess.run([READS, "completion", *etags], capture_output=True, text=True, check=True)
    root = ET.fromstring(done.stdout)
    space = "{http://s3.amazonaws.com/doc/2006-03-01/}"
    case.equal(root.tag, space + "CompleteMultipartUpload")
    case.equal([(p.find(space + "PartNumber").text, p.find(space + "ETag").text) for p in root], [(str(n + 1), e) for n, e in enumerate(etags)])


if __name__ == "__main__":
    case.main(globals())
