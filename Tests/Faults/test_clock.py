#!/usr/bin/env python3
"""A node whose clock is wrong: by an hour it works and says so; by more it says why it doesn't, and joins by itself once its
clock is set. The agent's clock is shifted by a preloaded library, everything else is real.

Usage: test_clock.py; the programs are those of $BIN (default: .build/debug). As root.
"""
import os, sys, tempfile, time, unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
os.environ.setdefault("BIN", os.path.join(ROOT, ".build/debug"))
sys.path[:0] = [os.path.join(ROOT, "benchmarks/scale"), os.path.join(ROOT, "benchmarks")]
import clock, enrolment

class ShiftedNode(enrolment.Node):
    def __init__(self, library, shift):
        super().__init__(1)
        self.file = f"{self.folder}/shift"
        self.agent.environment |= clock.environment(library, self.file)
        self.set(shift)

    def set(self, shift):
        clock.shift(self.file, shift)

    def check(self, name):
        return next((check for check in self.agent.ask("/v1/check")["checks"] if check["name"] == name), None)


class Clock(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.library = clock.library(cls.folder.name)

    def node(self, shift):
        node = ShiftedNode(self.library, shift)
        self.addCleanup(node.end)
        node.start()
        node.wait("weft-agent", lambda: os.path.exists(f"{node.folder}/run/agent.sock"))
        return node

    def until(self, node, condition):
        node.wait("what is awaited", condition, 30)

    def works_and_says(self, shift, words):
        node = self.node(shift)
        self.until(node, lambda: node.check("control plane")["ok"] and node.check("clock"))
        clock = node.check("clock")
        self.assertFalse(clock["ok"])
        self.assertRegex(clock["detail"], words)
        self.assertIn("timedatectl", clock["repair"])
        # Pods of the node get certificates that hold.
        self.until(node, lambda: "1 valid" in node.check("certificates")["detail"])
        return node

    def test_an_hour_behind_works_and_is_said(self):
        node = self.works_and_says(-3600, r"this node's clock is 3(59\d|60\d) s behind the control plane's")
        identity = node.agent.ask("/v1/identities")["identities"][0]
        self.assertEqual(identity["state"], "valid")

    def test_an_hour_ahead_works_and_is_said(self):
        self.works_and_says(3600, r"this node's clock is 3(59\d|60\d) s ahead of the control plane's")

    def test_much_more_is_told_and_over_once_the_clock_is_set(self):
        node = self.node(-3 * 3600)
        self.until(node, lambda: "the clock here says" in node.check("control plane")["detail"])
        self.assertRegex(node.check("control plane")["detail"], r"not valid before .*Z; the clock here says .*Z")
        node.set(0)
        self.until(node, lambda: node.check("control plane")["ok"])
        self.until(node, lambda: (node.check("clock") or {}).get("ok"))


if __name__ == "__main__":
    enrolment.alone()
    unittest.main(verbosity=2)
