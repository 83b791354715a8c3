#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Kafka door's bench: a whole topic into files, beside its peers and its bounds, in one table from one run.

The records are produced once a size; in every round each reader has its turn over the same topic, from the broker's page cache, and what it has is counted.
bench/README.md tells what the rows mean and what must be installed.
Exit status: 0 fine; 1 a run failed or a record is missing; 2 usage, or a peer that is not there."""
import argparse
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests/lib"))  # before this folder: this file has the name of the library's
import case  # noqa: E402
import kafka  # noqa: E402
from lib import orders, readers, table, tools  # noqa: E402

PARTITIONS = 4
COUNTS = {256: 2_000_000, 1024: 1_000_000, 10240: 150_000}
QUICK = 20                                        # times fewer
AS_IN_SERVICE = ["-Xms1g", "-Xmx1g"]              # the heap that Kafka's own start script gives a broker


def options():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--millrace", default=str(HERE.parent / "build/release/millrace"), help="the built binary")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--size", default=",".join(map(str, COUNTS)), help="bytes of a record, one table each (256,1024,10240)")
    p.add_argument("--records", type=int, help="how many, of every size (about half a GB to 1.5 GB)")
    p.add_argument("--only", help="some of: millrace,null,lines,zstd,kcat,connect,python")
    p.add_argument("--quick", action="store_true", help=f"one round of {QUICK} times fewer records: does it all run?")
    p.add_argument("--memory", help="millrace's limits.memory (its default)")
    p.add_argument("--dir", help="folder on the disk to be measured (a temporary one under build/)")
    p.add_argument("--keep", action="store_true", help="leave the folder with configs and logs behind")
    p.add_argument("--json", help="write all cells to this file")
    args = p.parse_args()
    try:
        args.sizes = sorted({int(n) for n in args.size.split(",")})
    except ValueError:
        p.error("--size: a list of numbers, like 256,1024")
    if args.sizes[0] < orders.SMALLEST or args.sizes[-1] > 1_000_000:
        p.error(f"--size: {orders.SMALLEST} to 1000000")
    if args.rounds < 1 or (args.records is not None and args.records < 1):
        p.error("--rounds, --records: at least 1")
    if args.quick:
        args.rounds = 1
    return p, args


def chosen_readers(parser, args, programs):
    everyone = readers.all_readers(programs, args.millrace, args.memory)
    names = args.only.split(",") if args.only else [r.name for r in everyone]
    unknown = set(names) - {r.name for r in everyone}
    if unknown:
        parser.error(f"--only: no such reader: {', '.join(sorted(unknown))}")
    chosen = [r for r in everyone if r.name in names]
    for reader in chosen:
        if reader.missing():
            print(f"kafka.py: {reader.name}: not here: {reader.missing()}; see bench/README.md", file=sys.stderr)
            sys.exit(2)
    return chosen


def count_of(args, size):
    count = args.records or COUNTS.get(size) or max(1, 1_000_000_000 // size)
    return max(1, count // QUICK) if args.quick else count


def produce(broker, size, count):
    """The topic, filled: lz4, batches as full as a busy producer's."""
    name = f"orders-{size}"
    broker.create(name, PARTITIONS)
    faults = []
    producer = kafka.client.Producer({**broker.settings(compression_type="lz4", linger_ms=50, message_max_bytes=2_000_000, delivery_report_only_error=True),
                                      "on_delivery": lambda error, _: faults.append(str(error))})
    begun = time.monotonic()
    for n, record in enumerate(orders.records(size, count)):
        while True:
            try:
                producer.produce(name, record, partition=n % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.1)
        if n % 1000 == 0:
            producer.poll(0)
    producer.flush(120)
    there = sum(broker.end_offsets(name).values())
    if there != count:
        raise RuntimeError(f"{there:,} records of {count:,} are in {name}: {faults[:3]}")
    print(f"{name}: {count:,} records produced in {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return readers.Topic(broker, name, count, size)


class Bench:
    def __init__(self, args, warm, chosen, folder, broker):
        self.args, self.warm, self.readers, self.folder, self.broker = args, warm, chosen, folder, broker
        self.results, self.counts = table.Results(), {}

    def cell(self, number, reader, topic):
        folder = self.folder / f"{reader.name}-{topic.size}-{number}"
        cell = reader.run(topic, folder)
        if not self.args.keep:
            shutil.rmtree(folder)
        return cell

    def rounds(self, size):
        topic = produce(self.broker, size, count_of(self.args, size))
        self.counts[size] = topic.count
        for number in range(1, self.args.rounds + 1):
            self.cell(f"{number}-warm", self.warm, topic)  # all of it in the page cache, the broker's code compiled
            turn = number % len(self.readers)     # nobody is always first
            for reader in self.readers[turn:] + self.readers[:turn]:
                cell = self.results.cells[number, size, reader.name] = self.cell(number, reader, topic)
                print(f"  round {number} {size} B {reader.name}: {cell['rate']:,.0f}/s in {cell['seconds']:.2f} s, {cell['cpu_us']:.2f} us/record, {cell['peak_mb']:.0f} MB, "
                      f"broker {cell['server_us']:.2f} us/record, others {cell['others_cpus']:.2f} CPUs", file=sys.stderr, flush=True)


# -- the tables ------------------------------------------------------------------------------------------------------------

def rows(r, size, chosen):
    def figure(reader, key, form):
        return table.number(r.median(size, lambda c: c[key], reader.name), form)
    return [[reader.label, figure(reader, "rate", "{:,.0f}"), figure(reader, "mb_s", "{:,.0f}"), table.number(r.share(size, reader.name, "zstd"), "{:.2f}"),
             figure(reader, "cpu_us", "{:.2f}"), figure(reader, "peak_mb", "{:,.0f}"), figure(reader, "file_mb", "{:,.0f}"), reader.kept] for reader in chosen]


HEAD = ("reader", "records/s", "MB/s", "of the zstd bound", "CPU us/record", "peak RSS MB", "file MB", "on what when done")


def after_start(cell):
    """Connect's pace once it writes."""
    return cell["rate"] * cell["seconds"] / (cell["seconds"] - cell["start_s"])


def targets(r, size):
    goals = []
    if size == min(COUNTS):
        goals += [table.Target("records/s, of the zstd bound", r.each(size, lambda a, b: a["rate"] / b["rate"], "millrace", "zstd"), 0.6, 0.8, True),
                  table.Target("records/s, against Kafka Connect", r.each(size, lambda a, b: a["rate"] / b["rate"], "millrace", "connect"), 1.5, None, True),
                  table.Target("records/s, against Kafka Connect without its start", r.each(size, lambda a, b: a["rate"] / after_start(b), "millrace", "connect"), 1.5, None, True),
                  table.Target("CPU us a record", r.each(size, lambda a: a["cpu_us"], "millrace"), 2)]
    if size == 1024:
        goals.append(table.Target("MB/s", r.each(size, lambda a: a["mb_s"], "millrace"), 150, None, True))
    return [goal.row() for goal in goals + [table.Target("peak RSS MB", r.each(size, lambda a: a["peak_mb"], "millrace"), 256)]]


def print_results(args, bench):
    r = bench.results
    for size in sorted({size for _, size, _ in r.cells}):
        print(f"{bench.counts[size]:,} records of {size:,} B in {PARTITIONS} partitions, lz4; median of rounds: {args.rounds}\n")
        print(table.markdown(HEAD, rows(r, size, bench.readers)))
        start = r.median(size, lambda c: c["start_s"], "connect")
        if start:
            print(f"\nKafka Connect's first line came after {start:.1f} s; from then on it wrote {r.median(size, after_start, 'connect'):,.0f} records/s")
        if any(reader.name == "millrace" for reader in bench.readers):
            print("\n" + table.markdown(("target for millrace", "measured (over rounds)", "must", "stretch"), targets(r, size)))
        print()
    others = [c["others_cpus"] for c in r.cells.values()]
    print(f"others (neither reader nor broker; kernel threads included) used {statistics.median(others):.2f} CPUs in the median cell, {max(others):.2f} in the most disturbed one")
    print(f"load average after {' '.join(f'{n:.2f}' for n in os.getloadavg())}")


def main():
    parser, args = options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that `finally` ends the broker
    programs = tools.build("mr_bench_kafka_bound")
    chosen = chosen_readers(parser, args, programs)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-kafka.", dir=args.dir or tools.BUILD)).resolve()
    os.environ["MILLRACE_TEST_TMP"] = str(folder)  # the broker's
    kafka.JVM = AS_IN_SERVICE
    failed = False
    try:
        with kafka.Broker() as broker:
            tools.print_header(readers.versions(args.millrace, broker.version, kafka.client))
            bench = Bench(args, readers.all_readers(programs, "", None)[1], chosen, folder, broker)
            try:
                for size in args.sizes:
                    bench.rounds(size)
            except (RuntimeError, AssertionError, subprocess.SubprocessError, OSError, kafka.client.KafkaException) as error:
                failed = True
                print(f"kafka.py: {error}", file=sys.stderr)
            if bench.results.cells:
                print_results(args, bench)
            if args.json:
                pathlib.Path(args.json).write_text(json.dumps(bench.results.as_json()["cells"], indent=1) + "\n")
    except case.Skip as error:
        print(f"kafka.py: {error}", file=sys.stderr)
        shutil.rmtree(folder)
        return 2
    return tools.end(folder, args.keep, failed)


if __name__ == "__main__":
    try:
        kafka.ensure()                            # the system's Python has no client: goes on under the one that has
    except SystemExit:
        sys.exit(2)
    sys.exit(main())
