#!/usr/bin/env python3
"""API servers that are slow, that restart and that come back from an older backup, as an agent sees them on the wire: nothing
changes until there is something to say, and never is there a moment without endpoints.

Usage: test_outage.py PATH-TO-weft-control; the API server is build.sh's. Needs grpcio.
"""
import os, shutil, signal, sys, time, unittest
from meshed import WORKLOAD, Meshed

CONTROL = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else "weft-control"
PODS = 20


class Outage(Meshed):
    control = CONTROL

    def setUp(self):
        self.replica = self.start("one").ready()
        self.agent = self.connect(self.join(self.replica), self.replica)
        self.assertEqual(self.pods(self.agent), PODS)
        # From here on each change counts.
        self.agent.fewest = {}
        self.agent.received = 0

    def sees(self, pod):
        return f"shop/{pod}" in self.agent.state[WORKLOAD]

    def come_and_go(self, name):
        """A pod's coming and its end reach the agent."""
        self.pod(name, "10.1.0.90", "two")
        self.agent.wait(lambda _: self.sees(name), "the new pod", 60)
        self.cluster.call("DELETE", f"/api/v1/namespaces/shop/pods/{name}?gracePeriodSeconds=0")
        self.agent.wait(lambda _: not self.sees(name), "its end", 60)

    def never_fewer(self):
        self.assertGreaterEqual(self.agent.fewest.get(WORKLOAD, PODS), PODS, "pods were taken from the agent")

    def test_a_slow_server_is_waited_for(self):
        self.faults.rules = [("GET", "^/api", "slow")]
        try:
            self.faults.drop()
            self.come_and_go("late")
            # One that starts meanwhile serves nobody before it knows everything.
            slow = self.start("slow")
            slow.wait("its life", lambda: slow.probe("live") == 200)
            self.assertEqual(slow.probe("ready"), 503)
            slow.wait("readiness", lambda: slow.probe("ready") == 200, 60)
            self.never_fewer()
            self.agent.close()
            self.agent.fewest = {}
            self.connect(self.agent, slow)
            self.assertEqual(self.agent.received, 0)
        finally:
            self.faults.rules = []
        self.never_fewer()

    def test_a_restarted_server_takes_nothing_from_an_agent(self):
        self.cluster.stop("api")
        time.sleep(2)
        self.assertEqual((self.pods(self.agent), self.agent.received), (PODS, 0))
        self.cluster.start_api()
        self.come_and_go("after")
        self.never_fewer()

    def test_an_older_backup_brings_the_difference(self):
        self.cluster.stop("api")
        self.cluster.stop("etcd")
        shutil.copytree(f"{self.cluster.folder}/etcd", f"{self.cluster.folder}/backup")
        self.cluster.start_etcd()
        self.cluster.start_api()
        # What the backup knows nothing of: a new pod, one that is gone, another address, and many versions.
        self.pod("newer", "10.1.0.91", "one")
        self.cluster.call("DELETE", "/api/v1/namespaces/shop/pods/web-7?gracePeriodSeconds=0")
        self.agent.wait(lambda _: self.sees("newer") and not self.sees("web-7"), "what is new")
        self.cluster.call("POST", "/api/v1/namespaces/shop/configmaps", {"metadata": {"name": "turns"}})
        for turn in range(300):
            self.cluster.call("PATCH", "/api/v1/namespaces/shop/configmaps/turns", {"data": {"turn": str(turn)}}, "application/merge-patch+json")
        self.agent.fewest = {}
        self.cluster.stop("api", signal.SIGKILL)
        self.cluster.stop("etcd", signal.SIGKILL)
        self.cluster.start_etcd("backup")
        self.cluster.start_api()
        self.agent.wait(lambda _: self.sees("web-7") and not self.sees("newer"), "what the backup says", 90)
        self.assertEqual(self.pods(self.agent), PODS)
        self.assertGreaterEqual(self.agent.fewest[WORKLOAD], PODS - 1, "what didn't change was taken away")
        self.agent.fewest = {}
        self.come_and_go("after")
        self.never_fewer()


if __name__ == "__main__":
    unittest.main(verbosity=2)
