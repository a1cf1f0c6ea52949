"""What the measurements of this folder share."""
import datetime, json, os, platform, socket

RESULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "scale.json")


def memory(pid, name="VmRSS", kilobytes=False):
    """Megabytes, or kilobytes."""
    with open(f"/proc/{pid}/status") as status:
        found = next(int(line.split()[1]) for line in status if line.startswith(name))
    return found if kilobytes else found // 1024


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        values = stat.read().rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def machine():
    with open("/proc/cpuinfo") as info:
        model = next((line.partition(":")[2].strip() for line in info if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} cores of {model}, Linux {platform.release()}"


def judge(result, where=""):
    """Says of each goal whether it is reached: goals hold for what they stand beside and for the parts of it."""
    parts = [(f"{where}{key} ", value) for key, value in result.items() if isinstance(value, dict) and key != "goals"]
    for name, goal in result.get("goals", {}).items():
        at_least = name == "requests"
        for place, values in [(where, result)] + parts:
            if name in values:
                holds = values[name] >= goal if at_least else values[name] <= goal
                print(f"{'holds' if holds else 'short'}: {place}{name} {values[name]}, goal {'>=' if at_least else '<='} {goal}")
    for place, values in parts:
        judge(values, place)


def write(part, result):
    """One part of scale.json, with when and where it was measured, the others as they were."""
    result = {"date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"), "machine": machine(), **result}
    parts = {}
    if os.path.exists(RESULTS):
        with open(RESULTS) as file:
            parts = json.load(file)
    parts[part] = result
    with open(RESULTS, "w") as file:
        json.dump(parts, file, indent=2)
        file.write("\n")
    print(json.dumps(result, indent=2))
    judge(result)
