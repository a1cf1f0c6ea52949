#!/usr/bin/env python3
"""A mesh that is cut over to another CA: an agent whose roots file has followed goes over by itself, with its proxy and every
certificate, and nothing changes before a control plane of that CA answers. All programs are the real ones.

Usage: test_cutover.py; the programs are those of $BIN (default: .build/debug). As root.
"""
import os, shutil, subprocess, sys, time, unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
os.environ.setdefault("BIN", os.path.join(ROOT, ".build/debug"))
sys.path[:0] = [os.path.join(ROOT, "benchmarks/scale"), os.path.join(ROOT, "benchmarks")]
import enrolment


class CutOver(unittest.TestCase):
    def test_an_agent_follows_its_roots_file_to_another_ca(self):
        node = enrolment.Node(1)
        self.addCleanup(node.end)
        node.start()
        node.wait("weft-agent", lambda: os.path.exists(f"{node.folder}/run/agent.sock"))
        identities = lambda: (node.agent.ask("/v1/identities") or {"identities": []})["identities"]
        serials = lambda: {entry["spiffe_id"]: entry["serial"] for entry in identities() if entry["state"] == "valid"}
        node.wait("two certificates", lambda: len(serials()) == 2)
        before = serials()
        control = node.programs[0]
        arguments = control.args
        control.terminate()
        control.wait(20)
        node.programs.remove(control)
        os.unlink(f"{node.folder}/control/ca.key")
        os.unlink(f"{node.folder}/control/ca.pem")
        # Nobody of it answers yet: what is held stays, and another file alone makes nobody leave it.
        other = f"{node.folder}/other"
        subprocess.run(["cp", "-r", f"{node.folder}/control", other], check=True)
        elsewhere = [arguments[0]]
        for name, value in zip(arguments[1::2], arguments[2::2]):
            elsewhere += [name, {"--state-dir": other, "--discovery-port": str(enrolment.free_port()), "--join-port": str(enrolment.free_port())}.get(name, value)]
        maker = subprocess.Popen(elsewhere, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        node.wait("another CA", lambda: os.path.exists(f"{other}/ca.key") and os.path.exists(f"{other}/ca.pem"))
        maker.terminate()
        maker.wait(20)
        shutil.copy(f"{other}/ca.pem", f"{node.folder}/control/ca.pem")
        time.sleep(8)
        self.assertEqual(serials(), before)
        shutil.copy(f"{other}/ca.key", f"{node.folder}/control/ca.key")
        node.run("weft-control", *arguments[1:])
        node.wait("every certificate, by the new CA", lambda: set(serials()) == set(before) and not set(serials().values()) & set(before.values()))
        node.wait("the control plane", lambda: node.agent.ask("/v1/status")["control"]["connected"])
        self.assertIn("cut over to another CA", node.log("weft-agent"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
