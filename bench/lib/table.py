# SPDX-License-Identifier: Apache-2.0
"""From the cells of a run to its tables. A cell is what one peer did under one load in one round."""
import statistics

OPEN = "open"


class Results:
    """Cells by (round, load, peer); load is a number of connections or "open". Figures are medians over rounds, ratios are
    taken within a round first, since the machine and its disk drift from round to round."""

    def __init__(self):
        self.cells = {}
        self.disk = []    # one probe a round
        self.syncs = {}   # peer -> syncs per event
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

    def disk_us(self, way, quantile):
        return statistics.median(probe[way][quantile] for probe in self.disk)

    def worst_gap_ms(self, peer):
        gaps = [cell["loop_gap_ms"] for (_, _, p), cell in self.cells.items() if p == peer and cell["loop_gap_ms"] is not None]
        return max(gaps) if gaps else None


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
    head = (["peer", "ack means", "checks HMAC", "syncs per event"] + [f"c={load} /s" for load in loads] +
            [f"of nginx at {load}" for load in top] + [f"p50, p99 ms at {load}" for load in sorted({*loads[:1], busy})] +
            ["open p50, p99 ms", f"CPU us/event at {busy}", f"RSS MB at {max(loads)}" if loads else "RSS MB"])
    rows = []
    for p in peers:
        rows.append([p.label, p.acks, p.verifies, number(results.syncs.get(p.name), "{:.2f}")] +
                    [number(results.median(load, lambda c: c["rate"], p.name)) for load in loads] +
                    [number(results.share(load, p.name), "{:.2f}") for load in top] +
                    [pair(results, load, p.name) for load in sorted({*loads[:1], busy})] +
                    [open_cell(results, p.name), number(results.median(busy, lambda c: c["cpu_us"], p.name), "{:.1f}"),
                     number(peak(results, loads, p.name))])
    return markdown(head, rows)


def best_of_rounds(results, load, key, peer):
    values = results.each(load, lambda c: c[key], peer)
    return min(values) if values else None


def over_best_durable(results, load, durable):
    """millrace's rate against the best of the durable peers of the same round."""
    ratios = results.each(load, lambda mine, *others: mine["rate"] / max(o["rate"] for o in others), "millrace", *durable)
    return statistics.median(ratios) if ratios else None


def targets(results, durable):
    """(goal, measured, must, stretch, higher is better) for what this run measured."""
    r, fdatasync_p50, fdatasync_p99 = results, results.disk_us("fdatasync", "p50_us"), results.disk_us("fdatasync", "p99_us")
    rows = [(f"events/s at {load}, share of nginx", r.share(load, "millrace"), must, stretch, True)
            for load, must, stretch in ((64, 0.55, 0.75), (256, 0.80, 1.0))]
    rows += [(f"events/s at {load}, against the best durable peer", over_best_durable(r, load, durable), 1.6, 2.2, True)
             for load in (64, 256)] if durable else []
    over = r.median(1, lambda mine, hmac: (mine["p50_ms"] - hmac["p50_ms"]) * 1e3 / fdatasync_p50, "millrace", "hmac")
    rows.append(("c=1: p50 less the HMAC bound's, in fdatasync p50", over, 2.0, 1.3, False))
    tail = r.median(1, lambda mine: mine["p99_ms"] * 1e3 / fdatasync_p99, "millrace")
    rows.append(("c=1: p99, in fdatasync p99", tail, 2.0, 1.5, False))
    go = r.median(1, lambda mine, other: mine["p99_ms"] / other["p99_ms"], "millrace", "go")
    rows.append(("c=1: p99 against Go's", go, 1.0, None, False))
    best = best_of_rounds(r, OPEN, "p99_ms", "millrace")
    rows.append(("2,000/s open loop: p99 ms, best round", best, 0.8, 2 * fdatasync_p99 / 1e3, False))
    for peer in durable:
        other = best_of_rounds(r, OPEN, "p99_ms", peer)
        rows.append((f"the same against {peer}'s best round", best / other if best and other else None, 1.0, None, False))
    rows += [("CPU us per event at 64", r.median(64, lambda c: c["cpu_us"], "millrace"), 14, 10, False),
             ("RSS MB at 256", r.median(256, lambda c: c["peak_mb"], "millrace"), 32, 20, False),
             ("syncs per event, one at a time", r.syncs.get("millrace"), 1, None, True),
             ("loop's worst gap ms, all loads", r.worst_gap_ms("millrace"), 20, None, False)]
    return rows


def verdict(measured, wanted, higher):
    if measured is None or wanted is None:
        return "-"
    met = measured >= wanted if higher else measured <= wanted
    return f"{wanted:.2f} {'met' if met else 'MISSED'}"


def target_table(results, durable):
    rows = [[goal, number(measured, "{:.2f}"), verdict(measured, must, higher), verdict(measured, stretch, higher)]
            for goal, measured, must, stretch, higher in targets(results, durable)]
    if results.lost:
        wrong = results.lost["missing"] + results.lost["doubled"] + results.lost["wrong"]
        rows.append([f"acknowledged ids missing or doubled in the zone, of {results.lost['acked']:,}", str(wrong),
                     "0 " + ("met" if wrong == 0 else "MISSED"), "-"])
    return markdown(["target", "measured", "must", "stretch"], rows)
