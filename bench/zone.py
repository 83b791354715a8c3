#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The zone's bench: what a full queue costs to land, in a bucket and in a directory, beside a bare multipart upload by curl and a bare copy by dd, in one
table from one run; and how many requests a landed file costs.

The queue is filled once, while nothing lands (the process is killed before a landing ends); each run lands a copy of it by `run --once`. Rounds are
interleaved. Exit status: 0 fine; 1 a run failed or a record is missing; 2 usage, or a peer that is not there."""
import argparse
import datetime
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests/lib"))
import case  # noqa: E402
from s3 import ACCESS, SECRET, Store  # noqa: E402
from server import free_port  # noqa: E402

PART = 8 << 20
BUCKET = "bench"


def options():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--millrace", default=str(HERE.parent / "build/release/millrace"), help="the built binary")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--mib", type=int, default=256, help="what is landed as one file (256)")
    p.add_argument("--files", type=int, default=200, help="sources with a small file each, for the requests (200)")
    p.add_argument("--dir", help="folder on the disk to be measured (a temporary one under build/)")
    args = p.parse_args()
    if not shutil.which("curl"):
        print("zone.py: curl: not here", file=sys.stderr)
        sys.exit(2)
    return args


class Millrace:
    """A full queue, and what it takes to land it."""

    def __init__(self, binary, folder, sources, events, size):
        self.binary, self.folder, self.sources = binary, folder, [f"s{n:03}" for n in range(sources)]
        self.full = folder / f"full-{sources}"
        self.records = sources * events
        self.fill(events, size)

    def config(self, data, zone, port=0):
        path = self.folder / "millrace.yaml"
        path.write_text(json.dumps({
            "data_dir": str(data), "zone": {"url": zone, "compression": "none", "roll": {"age": "1h", "size": "16GiB"}}, "queue": {"max_size": "16GiB"},
            "http": {"listen": f"127.0.0.1:{port}"}, "admin": {"listen": "127.0.0.1:0"},
            "sources": {s: {"webhook": {"path": f"/{s}", "verify": {"scheme": "none"}}} for s in self.sources}}))
        return path

    def fill(self, events, size):
        port = free_port()
        log = open(self.folder / "fill.log", "wb")
        server = subprocess.Popen([self.binary, "run", "-c", self.config(self.full, f"file:{self.folder}/unused-{len(self.sources)}", port)], stdout=log, stderr=log)
        try:
            while b'"ready"' not in (self.folder / "fill.log").read_bytes():
                if server.poll() is not None:
                    raise RuntimeError(f"millrace ended: {self.folder}/fill.log")
                time.sleep(0.05)
            threads = [threading.Thread(target=self.send, args=(port, n, events, size)) for n in range(4)]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
        finally:
            server.kill()
            server.wait()
        for state in self.full.glob("state.db*"):
            state.unlink()                        # it belongs to the other zone, and has decided nothing

    def send(self, port, turn, events, size):
        conn = http.client.HTTPConnection("127.0.0.1", port)
        filling = os.urandom(size // 2).hex()
        for n in range(turn, len(self.sources) * events, 4):
            conn.request("POST", f"/{self.sources[n % len(self.sources)]}", json.dumps({"id": n, "x": filling}), {"Content-Type": "application/json"})
            answer = conn.getresponse()
            answer.read()
            if answer.status != 204:
                raise RuntimeError(f"{answer.status} for event {n}")

    def land(self, zone, env=None):
        """(seconds, CPU seconds, peak MB)"""
        data = self.folder / "data"
        shutil.rmtree(data, ignore_errors=True)
        shutil.copytree(self.full, data)
        os.sync()
        with open(self.folder / "land.log", "wb") as log:
            begun = time.monotonic()
            process = subprocess.Popen([self.binary, "run", "--once", "-c", self.config(data, zone)], stdout=log, stderr=log, env={**os.environ, **(env or {})})
            _, status, used = os.wait4(process.pid, 0)
            took = time.monotonic() - begun
        if status != 0:
            raise RuntimeError(f"run --once ended with {status}: {self.folder}/land.log")
        return took, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def files_of(folder, records):
    """What landed there, counted without millrace."""
    files = sorted(pathlib.Path(folder).glob("source=*/stream=*/ingest_date=*/*.ndjson"))
    lines = sum(f.read_bytes().count(b"\n") for f in files)
    if lines != records:
        raise RuntimeError(f"{lines} records in {folder}, not {records}")
    return files


# -- a bare multipart upload: URLs signed here, bytes sent by curl ---------------------------------------------------------

def presigned(store, method, key, **query):
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html"""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    scope, host = f"{now[:8]}/us-east-1/s3/aws4_request", f"127.0.0.1:{store.port}"
    query = {**query, "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": f"{ACCESS}/{scope}", "X-Amz-Date": now, "X-Amz-Expires": "3600", "X-Amz-SignedHeaders": "host"}
    line = "&".join(f"{urllib.parse.quote(k, safe='')}={urllib.parse.quote(v, safe='')}" for k, v in sorted(query.items()))
    canonical = "\n".join([method, f"/{BUCKET}/{key}", line, f"host:{host}", "", "host", "UNSIGNED-PAYLOAD"])
    signing = f"AWS4{SECRET}".encode()
    for part in scope.split("/"):
        signing = hmac.digest(signing, part.encode(), "sha256")
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    return f"http://{host}/{BUCKET}/{key}?{line}&X-Amz-Signature={hmac.digest(signing, text.encode(), 'sha256').hex()}"


def curl(*args, body=None):
    return subprocess.run(["curl", "-sS", "--fail", *args], input=body, capture_output=True, check=True).stdout.decode()


def upload(store, parts, key, at_once):
    begun = time.monotonic()
    upload_id = re.search("<UploadId>([^<]+)<", curl("-X", "POST", presigned(store, "POST", key, uploads="")))[1]
    pairs = [a for n, part in enumerate(parts, 1) for a in ("-T", str(part), presigned(store, "PUT", key, partNumber=str(n), uploadId=upload_id))]
    told = curl("--parallel", "--parallel-max", str(at_once), "-w", "%{urlnum} %header{etag}\n", *pairs)
    etags = dict(line.split() for line in told.splitlines() if line)
    body = "".join(f"<Part><PartNumber>{n + 1}</PartNumber><ETag>{etags[str(n)]}</ETag></Part>" for n in range(len(parts)))
    curl("-X", "POST", "--data-binary", "@-", presigned(store, "POST", key, uploadId=upload_id), body=f"<CompleteMultipartUpload>{body}</CompleteMultipartUpload>".encode())
    return time.monotonic() - begun


def copied(parts, to):
    """dd, a part after the other into one file, synced at the end."""
    begun = time.monotonic()
    subprocess.run(f"cat {' '.join(map(str, parts))} | dd of={to} bs=1M iflag=fullblock conv=fsync status=none", shell=True, check=True)
    return time.monotonic() - begun


# -- the table -------------------------------------------------------------------------------------------------------------

ROWS = ("millrace, bucket", "curl, one part at a time", "curl, 4 parts at once", "millrace, directory", "dd, synced")


def measure(args, store, folder):
    one = Millrace(args.millrace, folder, 1, args.mib * 16, 64 << 10)
    seconds, cpu, peak = {row: [] for row in ROWS}, {}, {}
    env = {k: v for k, v in store.environment(BUCKET).items() if k.startswith("AWS_")}
    parts, size = [], 0
    for n in range(args.rounds + 1):              # the first one warms up, and gives curl and dd its bytes
        zone = f"file:{folder}/zone-{n}"
        took = {"millrace, directory": one.land(zone)}
        landed = files_of(zone.removeprefix("file:"), one.records)
        if not parts:
            size = sum(f.stat().st_size for f in landed)
            subprocess.run(f"cat {' '.join(map(str, landed))} | split -b {PART} - {folder}/part-", shell=True, check=True)
            parts = sorted(folder.glob("part-*"))
        shutil.rmtree(zone.removeprefix("file:"))
        took["millrace, bucket"] = one.land(f"s3://{BUCKET}/zone-{n}", env)
        files_of(os.path.join(store.root, BUCKET, f"zone-{n}"), one.records)
        took["curl, one part at a time"] = (upload(store, parts, f"curl-1-{n}", 1),)
        took["curl, 4 parts at once"] = (upload(store, parts, f"curl-4-{n}", 4),)
        took["dd, synced"] = (copied(parts, folder / "copy"),)
        for name in (f"zone-{n}", f"curl-1-{n}", f"curl-4-{n}"):
            path = os.path.join(store.root, BUCKET, name)
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        if n == 0:
            continue
        print(f"  round {n}: " + ", ".join(f"{row} {took[row][0]:.2f} s" for row in ROWS), file=sys.stderr, flush=True)
        for row in ROWS:
            seconds[row].append(took[row][0])
            if len(took[row]) > 1:
                cpu.setdefault(row, []).append(took[row][1])
                peak.setdefault(row, []).append(took[row][2])
    return seconds, cpu, peak, size


def requests(args, store, folder, log):
    """(files, {kind: how many}) of landing one small file for each of many sources."""
    many = Millrace(args.millrace, folder, args.files, 5, 1024)
    before = log.read_text().count("\n") if log.exists() else 0
    many.land(f"s3://{BUCKET}/small", {k: v for k, v in store.environment(BUCKET).items() if k.startswith("AWS_")})
    landed = files_of(os.path.join(store.root, BUCKET, "small"), many.records)
    lines = log.read_text().splitlines()[before:]
    return len(landed), len(lines), sum("source=" in line or "source%3D" in line for line in lines)


def main():
    args = options()
    under = pathlib.Path(args.dir) if args.dir else HERE.parent / "build"
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-zone.", dir=under))
    log = folder / "access.log"
    try:
        store = Store(str(folder / "store"), BUCKET, options=("--access-log", str(log)))
    except case.Skip as e:
        print(f"zone.py: {e}", file=sys.stderr)
        sys.exit(2)
    try:
        seconds, cpu, peak, size = measure(args, store, folder)
        files, asked, of_files = requests(args, store, folder, log)
    except (RuntimeError, subprocess.CalledProcessError) as e:
        print(f"zone.py: {e}; kept: {folder}", file=sys.stderr)
        sys.exit(1)
    finally:
        store.stop()
    print(f"\n{size >> 20} MiB in one file, {args.rounds} rounds, medians; {platform.machine()}, {os.cpu_count()} processors\n")
    print("| | s | MiB/s | of curl, one at a time | of dd | CPU s | peak MB |\n|---|---|---|---|---|---|---|")
    for row in ROWS:
        def ratio(to):
            return statistics.median(b / a for a, b in zip(seconds[row], seconds[to]))
        print(f"| {row} | {statistics.median(seconds[row]):.2f} | {(size >> 20) / statistics.median(seconds[row]):.0f} | {ratio('curl, one part at a time'):.2f} | {ratio('dd, synced'):.2f} "
              f"| {statistics.median(cpu[row]):.2f} | {statistics.median(peak[row]):.0f} |" if row in cpu else
              f"| {row} | {statistics.median(seconds[row]):.2f} | {(size >> 20) / statistics.median(seconds[row]):.0f} | {ratio('curl, one part at a time'):.2f} | {ratio('dd, synced'):.2f} | | |")
    print(f"\n{files} small files landed by {asked} requests, {of_files / files:.2f} a file and {asked - of_files} for all (whose zone it is, how far it had come)")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
