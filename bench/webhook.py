#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The webhook door's bench: request to durable to 2xx, beside its peers and its bounds, in one table from one run.

Rounds are interleaved: under each load every peer has its turn before the next load, so that a slow minute of machine
or disk meets all of them. bench/README.md tells what the rows mean and what must be installed.
Exit status: 0 fine; 1 an acknowledged event is missing or doubled, or a run failed; 2 usage, or a named peer missing."""
import argparse
import json
import os
import pathlib
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from lib import ids, peers as peerlib, proc, syncs, table, tools, zone  # noqa: E402 (the path above)

DURABLE_PEERS = ("go", "webdis")
OPEN_RATE, OPEN_CONNECTIONS = 2000, 64
ONE_AT_A_TIME = 200
SETTLE_SECONDS = 300
IDLE_CONNECTIONS = 10000


def options():
    p = argparse.ArgumentParser(description="Bench of the webhook door: millrace, peers and bounds in one table.")
    p.add_argument("--millrace", default=str(HERE.parent / "build/release/millrace"), help="the built binary")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=4, help="measured time of a cell (4)")
    p.add_argument("--warmup", type=float, default=0.5, help="unmeasured time before it (0.5)")
    p.add_argument("--concurrency", default="1,16,64,256", help="closed loops (1,16,64,256); empty for none")
    p.add_argument("--no-open", action="store_true", help=f"leave out the open loop of {OPEN_RATE}/s")
    p.add_argument("--only", help="some of: millrace,nginx,hmac,inline,thread,go,webdis")
    p.add_argument("--quick", action="store_true", help="one round of 1 s at 1 and 64: does it all run?")
    p.add_argument("--size", type=int, default=1024, help="bytes of a body, 256 to 65536 (1024)")
    p.add_argument("--ids", type=int, default=0, help="event ids that millrace has in its store already, over seven days (0)")
    p.add_argument("--settle", action="store_true", help="a cell begins when its server does nothing any more: the filter of event ids is read")
    p.add_argument("--tls", action="store_true", help="over TLS 1.2, ECDSA P-256; for millrace and nginx")
    p.add_argument("--roll-age", default="2s", help="millrace's zone.roll.age (2s)")
    p.add_argument("--dir", help="folder on the disk to be measured (a temporary one under build/)")
    p.add_argument("--keep", action="store_true", help="leave the folder with logs, zone and lists behind")
    p.add_argument("--tools", help="folder with mr_bench_* and go-group (else they are built in build/bench)")
    p.add_argument("--json", help="write all cells to this file")
    args = p.parse_args()
    if args.quick:
        args.rounds, args.seconds, args.concurrency = 1, 1, "1,64"
    try:
        args.loads = sorted({int(n) for n in args.concurrency.split(",") if n})
    except ValueError:
        p.error("--concurrency: a list of numbers, like 1,64")
    if not 256 <= args.size <= 65536:
        p.error("--size: 256 to 65536")
    return p, args


def build_tools(args):
    """The folder with sender, bounds, probe and Go peer, built if need be."""
    if args.tools:
        return pathlib.Path(args.tools).absolute()
    bin = tools.build()
    if shutil.which("go"):
        subprocess.run(["go", "build", "-o", str(bin / "go-group"), "."], cwd=HERE / "peers/go-group", check=True,
                       env={**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod"})
    return bin


def chosen_peers(parser, args, tools):
    everyone = peerlib.all_peers(tools, args.millrace, args.roll_age)
    names = args.only.split(",") if args.only else ["millrace", "nginx"] if args.tls else [p.name for p in everyone]
    if args.tls and not set(names) <= {"millrace", "nginx"}:
        parser.error("--tls: only millrace and nginx speak it")
    unknown = set(names) - {p.name for p in everyone}
    if unknown:
        parser.error(f"--only: no such peer: {', '.join(sorted(unknown))}")
    chosen = []
    for peer in (p for p in everyone if p.name in names):
        missing = peer.missing()
        if missing and peer.name == "webdis" and not args.only:
            print(f"webdis is left out: not here: {missing} (bench/lib/install-debian.sh)")
        elif missing:
            print(f"webhook.py: {peer.name}: not here: {missing}; see bench/README.md", file=sys.stderr)
            sys.exit(2)
        else:
            chosen.append(peer)
    return chosen


def make_certificate(folder):
    cert, key = folder / "bench.crt", folder / "bench.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return cert, key


class Bench:
    def __init__(self, args, tools, chosen, folder):
        self.args, self.tools, self.peers, self.folder = args, tools, chosen, folder
        self.results = table.Results()
        self.runs = 0
        self.zone = zone.Zone(folder / "millrace/zone")

    def send(self, peer, *extra):
        """One run of the sender; returns its report and the list of acknowledged ids."""
        self.runs += 1
        run, acked = f"{self.runs:08d}", self.folder / f"acked.{self.runs}"
        command = [self.tools / "mr_bench_sender", "--url", peer.url, "--method", peer.method, "--scheme", peer.scheme,
                   "--run", run, "--acked", acked, "--size", self.args.size, *extra]
        out = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False,
                             env={**os.environ, "BENCH_SECRET": peerlib.SECRET})
        if out.returncode != 0:
            raise RuntimeError(f"sender to {peer.name}: {out.stderr.strip()}")
        report = json.loads(out.stdout)
        problems = {k: v for k, v in report["errors"].items() if v}
        if problems:
            print(f"  note: {peer.name}: answers that were no 2xx: {problems}", flush=True)
        return report, acked

    def check_zone(self, report, acked):
        """After millrace has stopped: every acknowledged event is in the zone once."""
        self.zone.read_new_files()
        listed, missing, doubled, unlisted = self.zone.check(report["run"], acked)
        lost = self.results.lost or {"acked": 0, "missing": 0, "doubled": 0, "unlisted": 0, "wrong": 0}
        for key, more in (("acked", listed), ("missing", missing), ("doubled", doubled), ("unlisted", unlisted)):
            lost[key] += more
        lost["wrong"] = len(self.zone.wrong)
        self.results.lost = lost
        if missing or doubled or self.zone.wrong:
            print(f"  WRONG: run {report['run']}: {missing} missing, {doubled} doubled of {listed} acknowledged; "
                  f"{len(self.zone.wrong)} bad lines: {self.zone.wrong[:3]}", flush=True)

    def with_server(self, peer, work):
        # millrace keeps its folder: a queue in service has segments to recycle. The others begin empty.
        os.sync()
        try:
            peer.start(self.folder / (peer.name if peer.name == "millrace" else f"{peer.name}.{self.runs}"))
            result = work()
        except BaseException:
            for process in peer.processes:
                process.kill()
                process.wait()
            raise
        peer.stop()
        return result

    @staticmethod
    def usage(peer):
        """CPU seconds until now of the server, of the senders, and of the whole machine."""
        return proc.cpu_seconds(peer.pids()), proc.ended_children_seconds(), proc.busy_seconds()

    @staticmethod
    def settle(peer):
        """Until the server has used next to no CPU for two seconds."""
        quiet, used = 0, proc.cpu_seconds(peer.pids())
        for _ in range(SETTLE_SECONDS):
            time.sleep(1)
            now = proc.cpu_seconds(peer.pids())
            quiet = quiet + 1 if now - used < 0.03 else 0
            used = now
            if quiet == 2:
                return
        raise RuntimeError(f"{peer.name} is still busy after {SETTLE_SECONDS} s")

    def cell(self, number, load, peer):
        extra = ["--connections", load]
        if load == table.OPEN:
            extra = ["--connections", OPEN_CONNECTIONS, "--rate", OPEN_RATE]
        extra += ["--seconds", self.args.seconds, "--warmup", self.args.warmup]

        def measure():
            if self.args.settle:
                self.settle(peer)
            before, begin = self.usage(peer), time.monotonic()
            report, acked = self.send(peer, *extra)
            server, sender, machine = (now - then for now, then in zip(self.usage(peer), before))
            report["cpu_us"] = server * 1e6 / max(1, report["acked"])
            report["others_cpus"] = max(0.0, machine - server - sender) / (time.monotonic() - begin)
            report["peak_mb"] = proc.memory_mb(peer.pids(), proc.PEAK)
            report["loop_gap_ms"] = peer.loop_gap_ms()
            return report, acked

        report, acked = self.with_server(peer, measure)
        if report["measured"] == 0:
            raise RuntimeError(f"{peer.name} acknowledged nothing: {report['errors']}")
        if peer.name == "millrace":
            self.check_zone(report, acked)
        acked.unlink()
        self.results.cells[number, load, peer.name] = report
        gap = "" if report["loop_gap_ms"] is None else f", loop gap {report['loop_gap_ms']:.1f} ms"
        print(f"  round {number} load {load} {peer.name}: {report['rate']:,.0f}/s p50 {report['p50_ms']:.3f} "
              f"p99 {report['p99_ms']:.3f} ms, {report['cpu_us']:.1f} us/event, {report['peak_mb']:.0f} MB, sender "
              f"{report['sender_cpu_us_per_event']:.1f} us/event, others {report['others_cpus']:.2f} CPUs{gap}",
              file=sys.stderr, flush=True)

    def fill_ids(self):
        """millrace with a past: its store holds so many ids before the first round."""
        peer = next((p for p in self.peers if p.name == "millrace"), None)
        if not peer or not self.args.ids:
            return
        report, acked = self.with_server(peer, lambda: self.send(peer, "--connections", 1, "--count", ONE_AT_A_TIME))
        self.check_zone(report, acked)
        size = ids.fill(self.folder / "millrace/data/state.db", self.args.ids)
        print(f"ids: {self.args.ids:,} in the store, {size / 1e6:,.0f} MB", flush=True)

    def probe_disk(self):
        place = self.folder / "disk"
        place.mkdir(exist_ok=True)
        out = subprocess.run([str(self.tools / "mr_bench_disk"), str(place), "1"], capture_output=True, text=True,
                             check=True)
        self.results.disk.append(json.loads(out.stdout))

    def rounds(self):
        loads = self.args.loads + ([] if self.args.no_open else [table.OPEN])
        for number in range(1, self.args.rounds + 1):
            self.probe_disk()
            for index, load in enumerate(loads):
                turn = (number + index) % len(self.peers)  # nobody is always first
                for peer in self.peers[turn:] + self.peers[:turn]:
                    self.cell(number, load, peer)

    def count_syncs(self):
        """A short pass of its own: strace slows everything, so nothing else of it is used."""
        for peer in self.peers:
            if peer.acks != "on disk":
                self.results.syncs[peer.name] = 0.0
                continue
            sent = []

            def trace():
                def send():
                    sent.append(self.send(peer, "--connections", 1, "--count", ONE_AT_A_TIME))
                    return sent[0][0]["acked"]
                return syncs.count(peer.pids(), self.folder / f"strace.{peer.name}", send)

            self.results.syncs[peer.name] = self.with_server(peer, trace)
            if peer.name == "millrace" and sent:
                self.check_zone(*sent[0])


    def measure_idle(self):
        """millrace's memory with nothing to do, and with many connections of which each has sent an event."""
        peer = next((p for p in self.peers if p.name == "millrace"), None)
        if not peer or self.args.quick:
            return

        def measure():
            idle = proc.memory_mb(peer.pids(), proc.NOW)
            report, acked = self.send(peer, "--connections", IDLE_CONNECTIONS, "--rate", OPEN_RATE, "--seconds",
                                      1.2 * IDLE_CONNECTIONS / OPEN_RATE)
            return report, acked, idle, proc.memory_mb(peer.pids(), proc.PEAK)

        report, acked, idle, crowded = self.with_server(peer, measure)
        self.check_zone(report, acked)
        self.results.idle = {"idle_mb": idle, "crowded_mb": crowded}


def print_results(args, bench):
    r = bench.results
    print(table.main_table(r, bench.peers, args.loads))
    print()
    print("disk, one KiB, us (median of rounds): " + "; ".join(
        f"{name} p50 {r.disk_us(way, 'p50_us'):.0f} p99 {r.disk_us(way, 'p99_us'):.0f}" for way, name in
        (("dsync", "pwritev2 RWF_DSYNC on written blocks"), ("fdatasync", "write + fdatasync on written blocks"),
         ("growing", "write + fdatasync on a growing file"))))
    rates = [c["sender_cpu_us_per_event"] for (_, load, _), c in r.cells.items() if load == max(args.loads, default=0)]
    if rates:
        print(f"sender: {min(rates):.1f} to {max(rates):.1f} us of CPU per event at {max(args.loads)} connections")
    others = [c["others_cpus"] for c in r.cells.values()]
    print(f"others (kernel threads included) used {statistics.median(others):.2f} CPUs in the median cell, "
          f"{max(others):.2f} in the most disturbed one")
    if r.lost:
        print("zone: {acked:,} acknowledged ids looked up: {missing} missing, {doubled} doubled, {wrong} bad lines; "
              "{unlisted} events landed whose 2xx was not seen".format(**r.lost))
    print(f"load average after {' '.join(f'{n:.2f}' for n in os.getloadavg())}")
    if any(p.name == "millrace" for p in bench.peers):
        durable = [p.name for p in bench.peers if p.name in DURABLE_PEERS]
        print("\n" + table.target_table(r, durable))


def main():
    parser, args = options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that `finally` ends the servers
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # for the servers and the sender
    programs = build_tools(args)
    chosen = chosen_peers(parser, args, programs)
    build = HERE.parent / "build"
    build.mkdir(exist_ok=True)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-webhook.", dir=args.dir or build)).resolve()
    if args.tls:
        pair = make_certificate(folder)
        for peer in chosen:
            peer.tls = pair
    tools.print_header(peerlib.versions(args.millrace))
    bench = Bench(args, programs, chosen, folder)
    failed = False
    try:
        bench.fill_ids()
        bench.rounds()
        bench.count_syncs()
        bench.measure_idle()
    except (RuntimeError, subprocess.SubprocessError, OSError) as error:
        failed = True
        print(f"webhook.py: {error}", file=sys.stderr)
    if bench.results.cells and bench.results.disk:
        print_results(args, bench)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(bench.results.as_json(), indent=1) + "\n")
    lost = bench.results.lost
    failed = failed or any(lost.get(key) for key in ("missing", "doubled", "wrong"))
    return tools.end(folder, args.keep, failed)


if __name__ == "__main__":
    sys.exit(main())
