"""From rounds to rows: medians, ratios, the file and the table."""
import json
import os
import statistics

import systems

FIELDS = ["requests_per_second", "p50_ms", "p99_ms", "cpu_us_per_request", "gigabytes_per_second", "resident_mb"]
SPREAD = 0.2
"""Of the median: rounds that lie further apart are called unsteady."""


def median(rounds, field):
    values = [values[field] for values in rounds if values.get(field) is not None]
    return statistics.median(values) if values else None


def rows(measured):
    """`measured`: workload -> system -> a list of rounds. Rows with exactly the fields of results.json."""
    made = []
    for workload, by_system in measured.items():
        pair = by_system.get(systems.PAIR, [])
        for system, rounds in by_system.items():
            row = {"workload": workload, "system": system}
            row.update({field: rounded(median(rounds, field)) for field in FIELDS})
            row["cpu_ratio_to_envoy_pair"] = rounded(first_ratio(
                rounds, pair, ["cpu_us_per_request", "cpu_seconds_per_gigabyte"]))
            row["throughput_ratio_to_envoy_pair"] = rounded(first_ratio(
                rounds, pair, ["requests_per_second", "gigabytes_per_second"]))
            made.append(row)
    return made


def first_ratio(rounds, pair, fields):
    """The ratio of the medians of the first field that both have."""
    for field in fields:
        mine, theirs = median(rounds, field), median(pair, field)
        if mine is not None and theirs:
            return mine / theirs
    return None


def rounded(value):
    """Four significant digits; more would be noise."""
    return None if value is None else float(f"{value:.4g}")


def write(path, value):
    """Whole or not at all."""
    with open(path + ".new", "w") as file:
        json.dump(value, file, indent=1)
        file.write("\n")
    os.replace(path + ".new", path)


def cell(value, digits):
    return "-" if value is None else f"{value:,.{digits}f}"


def table(measured):
    lines = []
    made = {(row["workload"], row["system"]): row for row in rows(measured)}
    for workload, by_system in measured.items():
        columns = COLUMNS.get(workload) or COLUMNS.get(workload.split("-")[0], COLUMNS["http1"])
        body = [["system"] + [title for title, _, _ in columns]]
        for system, rounds in by_system.items():
            peers = [median(by_system.get(peer, []), field) for peer, field in PEER_FIELDS]
            row = dict(made[workload, system], **{field: median(rounds, field) for field in EXTRA_FIELDS})
            row["p99_to_pair"] = quotient(row["p99_ms"], peers[0])
            row["cpu_to_hbone"] = quotient(row["cpu_us_per_request"], peers[1])
            row["cpu_to_haproxy"] = quotient(row["cpu_us_per_request"], peers[2])
            body.append([system] + [cell(row[field], digits) for _, field, digits in columns])
        widths = [max(len(line[column]) for line in body) for column in range(len(body[0]))]
        lines += ["", workload]
        lines += ["  " + line[0].ljust(widths[0]) + "".join(
            "  " + text.rjust(width) for text, width in zip(line[1:], widths[1:])) for line in body]
    return "\n".join(lines)


def unsteady(measured):
    """A sentence for each throughput whose rounds differ much: something else was using the cores."""
    found = []
    for workload, by_system in measured.items():
        for system, rounds in by_system.items():
            for field in ("requests_per_second", "gigabytes_per_second"):
                values = [values[field] for values in rounds if field in values]
                if values and max(values) - min(values) > SPREAD * statistics.median(values):
                    found.append(f"{workload}, {system}: {field} from {min(values):.4g} to {max(values):.4g}")
    return found


def checks(rows):
    """The rows of extra.json, for a person."""
    width = max(len(row["name"]) for row in rows)
    return "\n".join(["", "bounds"] + [
        f"  {verdict(row)}  {row['name'].ljust(width)}  {value(row)} {row['unit']}"
        f" (at most {row['limit']}); {row['detail']}" for row in rows])


def verdict(row):
    return "missing" if row["value"] is None else "holds  " if row["holds"] else "SHORT  "


def value(row):
    return "-" if row["value"] is None else f"{row['value']:g}"


def quotient(value, peer):
    return value / peer if value is not None and peer else None


EXTRA_FIELDS = ["cpu_seconds_per_gigabyte", "kb_per_connection", "idle_cpu_percent", "proxy_core_percent"]
PEER_FIELDS = [
    (systems.PAIR, "p99_ms"), (systems.HBONE, "cpu_us_per_request"), ("haproxy", "cpu_us_per_request")]
# By a workload's name or first word, HTTP/2 and gRPC as HTTP/1.1: title, field, digits after the point.
COLUMNS = {
    "http1": [
        ("requests/s", "requests_per_second", 0), ("x pair", "throughput_ratio_to_envoy_pair", 2),
        ("p50 ms", "p50_ms", 2), ("p99 ms", "p99_ms", 2), ("x pair", "p99_to_pair", 2),
        ("CPU us/request", "cpu_us_per_request", 1), ("x pair", "cpu_ratio_to_envoy_pair", 2),
        ("x HBONE pair", "cpu_to_hbone", 2), ("resident MB", "resident_mb", 0),
        ("proxy core %", "proxy_core_percent", 0)],
    "http1-one-hop-routed": [
        ("requests/s", "requests_per_second", 0), ("p50 ms", "p50_ms", 2), ("p99 ms", "p99_ms", 2),
        ("CPU us/request", "cpu_us_per_request", 1), ("x HAProxy", "cpu_to_haproxy", 2),
        ("resident MB", "resident_mb", 0), ("proxy core %", "proxy_core_percent", 0)],
    "bulk": [
        ("GB/s", "gigabytes_per_second", 2), ("x pair", "throughput_ratio_to_envoy_pair", 2),
        ("CPU s/GB", "cpu_seconds_per_gigabyte", 2), ("x pair", "cpu_ratio_to_envoy_pair", 2),
        ("resident MB", "resident_mb", 0)],
    "idle": [
        ("resident MB", "resident_mb", 0), ("KB/connection", "kb_per_connection", 1),
        ("CPU % while idle", "idle_cpu_percent", 1)],
}
