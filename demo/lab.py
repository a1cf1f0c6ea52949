"""weft-lab and weft from Python: what the demo's checks say in one line each."""
import json, os, subprocess, tempfile, time

BIN = os.environ.get("BIN") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.build-release/release")


class Failed(Exception):
    """A check that doesn't hold, in one sentence."""


def run(arguments, timeout=30, check=True, **more):
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, **more)
    except subprocess.TimeoutExpired:
        raise Failed(f"no end within {timeout} s: {' '.join(arguments[:8])}")
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(arguments[-4:])}: status {done.returncode}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done


class Lab:
    def __init__(self, name):
        self.name = name
        self.folder = f"/run/weft-lab/{name}"

    def _lab(self, *words, **options):
        return run([f"{BIN}/weft-lab", words[0], "--name", self.name, *words[1:]], **options)

    def up(self, folder, *options):
        self._lab("up", folder, *options, timeout=90)

    def down(self):
        self._lab("down", check=False, timeout=120)

    def exec(self, pod, *command, namespace="shop", **options):
        return self._lab("exec", "-n", namespace, pod, "--", *command, **options)

    def popen(self, pod, *command, namespace="shop"):
        return subprocess.Popen(
            [f"{BIN}/weft-lab", "exec", "--name", self.name, "-n", namespace, pod, "--", *command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def apply(self, yaml):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(yaml)
            file.flush()
            self._lab("apply", file.name)

    def signal(self, verb, what, node=None):
        self._lab(verb, what, *(["--node", node] if node else []))

    def weft(self, node, what):
        """An answer of the node's agent."""
        socket = f"{self.folder}/nodes/{node}/run/agent.sock"
        # The exit status says whether all is well, which is not what is asked here.
        done = run([f"{BIN}/weft", "--socket", socket, "-o", "json", what], check=False)
        try:
            return json.loads(done.stdout)
        except ValueError:
            raise Failed(f"weft {what} on node {node}: {(done.stderr or done.stdout).strip()[-300:]}")

    def address(self, pod, namespace="shop"):
        """The pod's IPv4 address, as its interface has it."""
        lines = self.exec(pod, "ip", "-4", "-o", "addr", "show", "dev", "eth0", namespace=namespace).stdout.split()
        return lines[lines.index("inet") + 1].split("/")[0]

    def capture(self, traffic, seconds=8):
        """What crosses the link between the nodes while `traffic` runs, as bytes."""
        path = f"{self.folder}/link.pcap"
        tcpdump = subprocess.Popen(
            [f"{BIN}/weft-lab", "capture", "--name", self.name, "--between", "a", "b", "--seconds", str(seconds), "--write", path],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_for("tcpdump to listen", lambda: os.path.exists(path) and os.path.getsize(path) >= 24, 5)
        result = traffic()
        tcpdump.wait(timeout=seconds + 10)
        with open(path, "rb") as file:
            data = file.read()
        os.unlink(path)
        return result, data


def wait_for(what, condition, seconds):
    """The first true value of `condition`. A machine that stalls gets three times as long, and 30 seconds at least."""
    limit = max(30, 3 * seconds)
    end = time.monotonic() + limit
    while not (value := condition()):
        if time.monotonic() > end:
            raise Failed(f"waited {limit} s for {what}")
        time.sleep(0.05)
    return value


def expect(condition, otherwise):
    if not condition:
        raise Failed(otherwise)
