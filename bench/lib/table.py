# SPDX-License-Identifier: Apache-2.0
"""From the cells of a run to its tables. A cell is what one peer did under one load in one round."""
import statistics

OPEN = "open"


class Results:
    """Cells by (round, load, peer); load is a number of connections or "open". Figures are medians over rounds; ratios
    are taken within a round first, since the machine and its disk drift from round to round."""

    def __init__(self):
        self.cells = {}
        self.disk = []    # one probe a round
        self.syncs = {}   # peer -> syncs per event
        self.idle = {}    # millrace's memory without load
        self.lost = {}    # acknowledged, missing, doubled, wrong lines of millrace's zone

    def each(self, load, function, *peers):
        """function(cell of each peer) for every round that has them all."""
        out = []
        for number in sorted({r for r, _, _ in self.cells}):
            found = [self.cells.get((number, load, peer)) for peer in peers]
            if all(found):
                out.append(function(*found))
        return out

    def median(self, load, function, *peers):
        values = self.each(load, function, *peers)
        return statistics.median(values) if values else None

    def share(self, load, peer, of="nginx"):
        return self.median(load, lambda a, b: a["rate"] / b["rate"], peer, of)

    def as_json(self):
        cells = [{"round": n, "load": load, "peer": peer, **cell} for (n, load, peer), cell in self.cells.items()]
        return {"cells": cells, "disk": self.disk, "syncs": self.syncs, "idle": self.idle, "zone": self.lost}

    def disk_us(self, way, quantile):
        return statistics.median(probe[way][quantile] for probe in self.disk)


def number(value, form="{:,.0f}"):
    return "-" if value is None else form.format(value)


def pair(results, load, peer):
    p50 = results.median(load, lambda c: c["p50_ms"], peer)
    p99 = results.median(load, lambda c: c["p99_ms"], peer)
    return "-" if p50 is None else f"{p50:.2f}, {p99:.2f}"


def markdown(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def open_cell(results, peer):
    text = pair(results, OPEN, peer)
    behind = results.median(OPEN, lambda c: c["unsent"], peer)
    return f"fell behind by {behind:,.0f}" if behind and behind > 64 else text


def peak(results, loads, peer):
    return results.median(max(loads), lambda c: c["peak_mb"], peer) if loads else None


def main_table(results, peers, loads):
    top = [load for load in (64, 256) if load in loads] or loads[-1:]
    busy = 64 if 64 in loads else (loads[-1] if loads else OPEN)
    timed = sorted({*loads[:1], busy}) if loads else []
    head = (["peer", "ack means", "checks HMAC", "syncs per event"] + [f"c={load} /s" for load in loads] +
            [f"of nginx at {load}" for load in top] + [f"p50, p99 ms at {load}" for load in timed] +
            ["open p50, p99 ms", f"CPU us/event at {busy}", f"RSS MB at {max(loads)}" if loads else "RSS MB"])
    rows = []
    for p in peers:
        rows.append([p.label, p.acks, p.verifies, number(results.syncs.get(p.name), "{:.2f}")] +
                    [number(results.median(load, lambda c: c["rate"], p.name)) for load in loads] +
                    [number(results.share(load, p.name), "{:.2f}") for load in top] +
                    [pair(results, load, p.name) for load in timed] +
                    [open_cell(results, p.name), number(results.median(busy, lambda c: c["cpu_us"], p.name), "{:.1f}"),
                     number(peak(results, loads, p.name))])
    return markdown(head, rows)


class Target:
    """One goal: its figure in each round, how they make one figure, and what is wanted."""

    def __init__(self, goal, values, must, stretch=None, higher=False, pick=statistics.median):
        self.goal, self.must, self.stretch, self.higher = goal, must, stretch, higher
        self.values = [v for v in values if v is not None]
        self.measured = pick(self.values) if self.values else None

    def verdict(self, wanted):
        if self.measured is None or wanted is None:
            return "-" if wanted is None else f"{wanted:.2f}"
        met = self.measured >= wanted if self.higher else self.measured <= wanted
        return f"{wanted:.2f} {'met' if met else 'MISSED'}"

    def row(self):
        spread = f" ({min(self.values):.2f} to {max(self.values):.2f})" if len(self.values) > 1 else ""
        figure = number(self.measured, "{:.2f}") + spread
        return [self.goal, figure, self.verdict(self.must), self.verdict(self.stretch)]


def shares(results, load, peer, others):
    """peer's rate against the best of the others of the same round."""
    return results.each(load, lambda mine, *rest: mine["rate"] / max(c["rate"] for c in rest), peer, *others)


def throughput_targets(r, durable):
    out = [Target(f"events/s at {load}, share of nginx", shares(r, load, "millrace", ["nginx"]), must, stretch, True)
           for load, must, stretch in ((64, 0.55, 0.75), (256, 0.80, 1.0))]
    if durable:
        out += [Target(f"events/s at {load}, against the best durable peer", shares(r, load, "millrace", durable),
                       1.6, 2.2, True) for load in (64, 256)]
    return out


def latency_targets(r, durable):
    p50_us, p99_us = r.disk_us("fdatasync", "p50_us"), r.disk_us("fdatasync", "p99_us")
    out = [Target("c=1: p50 less the HMAC bound's, in fdatasync p50",
                  r.each(1, lambda a, b: (a["p50_ms"] - b["p50_ms"]) * 1e3 / p50_us, "millrace", "hmac"), 2.0, 1.3),
           Target("c=1: p99, in fdatasync p99", r.each(1, lambda a: a["p99_ms"] * 1e3 / p99_us, "millrace"), 2.0, 1.5),
           Target("c=1: p99 against Go's", r.each(1, lambda a, b: a["p99_ms"] / b["p99_ms"], "millrace", "go"), 1.0),
           Target(f"{OPEN} loop: p99 ms, best round", r.each(OPEN, lambda a: a["p99_ms"], "millrace"),
                  0.8, 2 * p99_us / 1e3, pick=min)]
    for peer in durable:
        mine, theirs = (r.each(OPEN, lambda c: c["p99_ms"], name) for name in ("millrace", peer))
        ratio = [min(mine) / min(theirs)] if mine and theirs else []
        out.append(Target(f"{OPEN} loop: best p99 against {peer}'s best", ratio, 1.0))
    return out


def cost_targets(r):
    return [Target("CPU us per event at 64", r.each(64, lambda c: c["cpu_us"], "millrace"), 14, 10),
            Target("RSS MB at 256", r.each(256, lambda c: c["peak_mb"], "millrace"), 32, 20),
            Target("RSS MB, idle", [r.idle.get("idle_mb")], 15),
            Target("RSS MB, 10,000 keep-alive connections", [r.idle.get("crowded_mb")], 100),
            Target("syncs per event, one at a time", [r.syncs.get("millrace")], 1, higher=True),
            Target("loop's worst gap ms, any cell",
                   [c["loop_gap_ms"] for (_, _, p), c in r.cells.items() if p == "millrace"], 20, pick=max),
            Target(f"acknowledged ids missing, doubled or bad in the zone, of {r.lost.get('acked', 0):,}",
                   [sum(r.lost[key] for key in ("missing", "doubled", "wrong"))] if r.lost else [], 0)]


def target_table(results, durable):
    targets = throughput_targets(results, durable) + latency_targets(results, durable) + cost_targets(results)
    return markdown(["target for millrace", "measured (over rounds)", "must", "stretch"], [t.row() for t in targets])
