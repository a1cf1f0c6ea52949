"""TLS through the mesh by openssl: tls.py HOST PORT NAME…. Whose certificate each server name led to, and an echo."""
import json, re, subprocess, sys

host, port, *names = sys.argv[1:]
found = {}
for name in names:
    sni = ["-servername", name] if name != "-" else ["-noservername"]
    try:
        done = subprocess.run(["openssl", "s_client", "-connect", f"{host}:{port}", *sni], input="hello\n" , text=True,
                              capture_output=True, timeout=15)
        subject = re.search(r"subject=CN = (\S+)", done.stdout)
        found[name] = subject.group(1) if subject else "none"
    except subprocess.TimeoutExpired:
        found[name] = "timeout"
print(json.dumps(found))
