"""What the measurements of this folder share."""
import json, os, socket

RESULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "scale.json")


def memory(pid, name="VmRSS"):
    """Megabytes."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name)) // 1024


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def write(part, result):
    """One part of scale.json, the others as they were."""
    parts = {}
    if os.path.exists(RESULTS):
        with open(RESULTS) as file:
            parts = json.load(file)
    parts[part] = result
    with open(RESULTS, "w") as file:
        json.dump(parts, file, indent=2)
        file.write("\n")
    print(json.dumps(result, indent=2))
