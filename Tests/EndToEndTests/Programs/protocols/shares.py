"""Which servers answered so many connections: shares.py HOST PORT COUNT."""
import collections, json, socket, sys

host, port, count = sys.argv[1:]
seen = collections.Counter()
for _ in range(int(count)):
    with socket.create_connection((host, int(port)), 5) as s:
        seen[s.makefile().readline().strip()] += 1
print(json.dumps(seen))
