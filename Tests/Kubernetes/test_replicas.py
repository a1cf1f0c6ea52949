#!/usr/bin/env python3
"""Replicas: agents of one serve themselves from another, and nothing is sent twice.

Usage: test_replicas.py PATH-TO-weft-control; the API server is build.sh's. Needs grpcio.
"""
import os, signal, socket, sys, time, unittest
from meshed import WORKLOAD, Meshed

CONTROL = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else "weft-control"


class Replicas(Meshed):
    control = CONTROL

    def test_an_agent_that_moves_is_sent_nothing_that_it_has(self):
        one, two = (self.start(name).ready() for name in ("one", "two"))
        agent = self.connect(self.join(one), one)
        self.assertEqual(self.pods(agent), 20)
        first = agent.received
        self.assertGreater(first, 0)
        agent.close()
        # With the certificate of one replica to another, with the versions of one to the other.
        self.connect(agent, two)
        self.assertEqual(agent.received, 0)
        self.assertEqual(self.pods(agent), 20)
        # What changes meanwhile is sent, and no more.
        agent.close()
        self.pod("late", "10.1.0.99", "two")
        one.wait("the pod", lambda: '"late"' in one.status())
        self.connect(agent, one)
        agent.wait(lambda agent: "shop/late" in agent.state[WORKLOAD], "the new pod")
        self.assertLess(agent.received, first / 5)
        self.cluster.call("DELETE", "/api/v1/namespaces/shop/pods/late?gracePeriodSeconds=0")
        agent.wait(lambda agent: "shop/late" not in agent.state[WORKLOAD], "its end")

    def test_a_replica_that_starts_from_nothing_has_the_same_versions(self):
        one = self.start("one").ready()
        agent = self.connect(self.join(one, "two"), one)
        before = {url: dict(names) for url, names in agent.state.items()}
        one.end(signal.SIGKILL)
        three = self.start("three").ready()
        self.connect(agent, three)
        self.assertEqual((agent.received, agent.state), (0, before))

    def test_a_refused_edit_keeps_its_last_good_version_also_where_a_replica_starts_later(self):
        service = "/api/v1/namespaces/shop/services"
        kept = lambda: (self.cluster.exists("/api/v1/namespaces/weft-system/configmaps/weft-last-good") or {}).get("data") or {}
        self.cluster.call("POST", service, {"metadata": {"name": "edited"}, "spec": {"ports": [{"port": 80}]}})
        self.addCleanup(self.cluster.call, "DELETE", f"{service}/edited")
        one = self.start("one").ready()
        agent = self.connect(self.join(one, "two"), one)
        self.assertIn("shop/edited", [name for names in agent.state.values() for name in names])
        before = {url: dict(names) for url, names in agent.state.items()}
        self.cluster.call("PATCH", f"{service}/edited", {"metadata": {"annotations": {"weft.dev/protocol": "htp"}}}, "application/merge-patch+json")
        one.wait("its refusal", lambda: "stays in force" in one.lines())
        one.wait("what is kept", lambda: len(kept()) == 1)
        agent.close()
        # All are gone; the next has never seen it good.
        one.end(signal.SIGKILL)
        two = self.start("two").ready()
        self.assertIn("stays in force", two.lines())
        self.connect(agent, two)
        self.assertEqual((agent.received, agent.state), (0, before))
        agent.close()
        self.cluster.call("PATCH", f"{service}/edited", {"metadata": {"annotations": {"weft.dev/protocol": "http"}}}, "application/merge-patch+json")
        two.wait("nothing more to keep", lambda: not kept())

    def test_a_replica_that_ends_lets_its_agents_go_first(self):
        one, two = (self.start(name).ready() for name in ("one", "two"))
        agent = self.connect(self.join(one), one)
        began = time.monotonic()
        one.process.send_signal(signal.SIGTERM)
        agent.thread.join(20)
        self.assertFalse(agent.thread.is_alive())
        # Not asked for any more, while it is still there.
        self.assertIn(one.probe("ready"), (503, None))
        one.end()
        self.assertLess(time.monotonic() - began, 18)
        agent.close()
        self.connect(agent, two)
        self.assertEqual(agent.received, 0)

    def test_a_replica_that_does_not_know_everything_serves_nobody(self):
        self.faults.rules = [("GET", "^/api/v1/pods", 500)]
        try:
            control = self.start("one")
            control.wait("its life", lambda: control.probe("live") == 200)
            time.sleep(3)
            self.assertEqual(control.probe("ready"), 503)
            for port in ("discovery", "join"):
                with socket.socket() as probe:
                    self.assertNotEqual(probe.connect_ex(("127.0.0.1", control.ports[port])), 0)
        finally:
            self.faults.rules = []
        control.ready()
        self.assertEqual(self.pods(self.connect(self.join(control), control)), 20)


if __name__ == "__main__":
    unittest.main(verbosity=2)
