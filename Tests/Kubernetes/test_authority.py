#!/usr/bin/env python3
"""The CA as a Secret of a real API server: made once, kept, put back, changed.

Usage: test_authority.py PATH-TO-weft-control; the API server is build.sh's.
"""
import base64, os, signal, subprocess, sys, unittest

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../Faults"))
import clock
from cluster import Cluster
from control import Control

CONTROL = os.path.abspath(sys.argv.pop(1)) if len(sys.argv) > 1 else "weft-control"
SYSTEM = "/api/v1/namespaces/weft-system"
SECRET, ROOTS = f"{SYSTEM}/secrets/weft-ca", f"{SYSTEM}/configmaps/weft-roots"


class Authority(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster().__enter__()
        cls.addClassCleanup(cls.cluster.__exit__)
        cls.cluster.allow_control()

    def setUp(self):
        for path in (SECRET, ROOTS):
            if self.cluster.exists(path):
                self.cluster.call("DELETE", path)

    def start(self, name="one", environment={}):
        control = Control(CONTROL, self.cluster, name, environment=environment)
        self.addCleanup(control.end)
        return control

    def secret(self):
        found = self.cluster.exists(SECRET)
        return found and {key: base64.b64decode(value).decode() for key, value in found["data"].items()}

    def roots(self):
        found = self.cluster.exists(ROOTS)
        return found and found["data"]["ca.pem"]

    def put(self, data, method="POST"):
        content = {"metadata": {"name": "weft-ca", "namespace": "weft-system"},
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}}
        self.cluster.call(method, f"{SYSTEM}/secrets" if method == "POST" else SECRET, content)

    def openssl(self, *arguments, text=None):
        return subprocess.run(["openssl", *arguments], check=True, capture_output=True, input=text and text.encode()).stdout.decode(errors="replace")

    def key(self):
        return self.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout")

    def certificate(self, name, key, *arguments, domain="cluster.local"):
        path = f"{self.cluster.folder}/{name}"
        with open(f"{path}.key", "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(key)
        certificate = self.openssl("req", "-x509", "-new", "-key", f"{path}.key", "-subj", f"/CN={name}", "-days", "30",
            "-addext", f"subjectAltName=URI:spiffe://{domain}", "-addext", "keyUsage=critical,keyCertSign,cRLSign", *arguments)
        with open(f"{path}.pem", "w") as file:
            file.write(certificate)
        return certificate

    def intermediate(self, name, root, key):
        """As a person's own PKI signs one: OpenSSL, an RSA root's way of naming keys left out."""
        path = f"{self.cluster.folder}/{name}"
        request = self.openssl("req", "-new", "-key", "/dev/stdin", "-subj", f"/CN={name}", text=key)
        with open(f"{path}.ext", "w") as file:
            file.write("basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n")
        return self.openssl("x509", "-req", "-CA", f"{self.cluster.folder}/{root}.pem", "-CAkey", f"{self.cluster.folder}/{root}.key",
            "-set_serial", "7", "-days", "20", "-extfile", f"{path}.ext", text=request)

    def served(self, control):
        """The certificates that the join port shows, PEM, leaf first."""
        shown = self.openssl("s_client", "-connect", f"127.0.0.1:{control.ports['join']}", "-showcerts", "-alpn", "h2", text="")
        return [f"-----BEGIN{part.split('-----END')[0]}-----END CERTIFICATE-----\n" for part in shown.split("-----BEGIN")[1:]]

    def assertChains(self, control, roots, *how):
        leaf, *rest = self.served(control)
        for name, content in (("leaf", leaf), ("rest", "".join(rest)), ("roots", roots)):
            with open(f"{self.cluster.folder}/{name}.pem", "w") as file:
                file.write(content)
        between = ["-untrusted", "rest.pem"] if rest else []
        subprocess.run(["openssl", "verify", "-CAfile", "roots.pem", *between, *how, "leaf.pem"], check=True, cwd=self.cluster.folder, capture_output=True)

    def test_two_that_start_together_make_one_ca(self):
        controls = [self.start(name) for name in ("one", "two", "three")]
        for control in controls:
            control.ready()
        roots = controls[0].wait("the roots", self.roots)
        self.assertEqual(self.secret()["ca.pem"], roots)
        for control in controls:
            self.assertChains(control, roots)
        self.assertEqual(sum("made the mesh's CA" in control.lines() for control in controls), 1)

    def test_the_key_is_on_no_disk_and_in_no_log(self):
        control = self.start().ready()
        lines = [line for line in self.secret()["ca.key"].splitlines() if "-----" not in line]
        for folder, _, files in os.walk(control.folder):
            for name in files:
                with open(f"{folder}/{name}", errors="replace") as file:
                    content = file.read()
                self.assertFalse([line for line in lines if line in content], name)
        self.assertFalse(os.path.exists(f"{control.folder}/state/ca.key"))

    def test_what_is_lost_is_put_back_and_never_made_anew(self):
        control = self.start().ready()
        control.wait("the roots", self.roots)
        before = (self.secret(), self.roots())
        for path in (SECRET, ROOTS):
            self.cluster.call("DELETE", path)
        control.wait("both", lambda: self.secret() and self.roots())
        self.assertEqual((self.secret(), self.roots()), before)
        # Also where etcd has lost everything.
        self.cluster.stop("api", signal.SIGKILL)
        self.cluster.stop("etcd", signal.SIGKILL)
        self.cluster.start_etcd("empty")
        self.cluster.start_api()
        self.cluster.allow_control()
        control.wait("both again", lambda: self.secret() and self.roots(), 60)
        self.assertEqual((self.secret(), self.roots()), before)
        self.assertChains(control, before[1])

    def test_an_intermediate_of_a_user_signs(self):
        self.signs(("ca.key", "ca.pem", "roots.pem"))

    def test_an_intermediate_of_cert_manager_signs(self):
        """By the names of a Secret of the type kubernetes.io/tls."""
        self.signs(("tls.key", "tls.crt", "ca.crt"))

    def signs(self, names):
        root, key = self.certificate("company", self.key()), self.key()
        self.put(dict(zip(names, (key, self.intermediate("mesh", "company", key), root))))
        control = self.start().ready()
        self.assertEqual(control.wait("the roots", self.roots), root)
        self.assertEqual(len(self.served(control)), 2)
        self.assertChains(control, root)
        # It lives 20 days: a person is told.
        uid = self.cluster.exists(SECRET)["metadata"]["uid"]
        events = control.wait("the event", lambda: [event for event in self.cluster.call("GET", f"{SYSTEM}/events")["items"]
            if event["reason"] == "AuthorityExpires" and event["involvedObject"]["uid"] == uid])
        self.assertEqual([(event["involvedObject"]["name"], event["type"]) for event in events], [("weft-ca", "Warning")])
        # Renewed in its place, as cert-manager does: it signs from then on.
        key = self.key()
        renewed = self.intermediate("mesh-renewed", "company", key)
        self.put(dict(zip(names, (key, renewed, root))), "PUT")
        control.wait("the renewed intermediate", lambda: "".join(self.served(control)[1].split()) == "".join(renewed.split()), 60)
        self.assertEqual(self.roots(), root)
        self.assertChains(control, root)

    def test_roots_that_overlap_let_the_ca_change(self):
        first_key = self.key()
        first = self.certificate("first", first_key)
        self.put({"ca.key": first_key, "ca.pem": first})
        control = self.start().ready()
        self.assertEqual(control.wait("the roots", self.roots), first)
        second_key = self.key()
        second = self.certificate("second", second_key)
        # Peers have to trust the new root before it signs.
        self.put({"ca.key": second_key, "ca.pem": second}, "PUT")
        control.wait("the complaint", lambda: "peers don't trust yet" in control.lines())
        self.assertEqual(self.roots(), first)
        self.put({"ca.key": first_key, "ca.pem": first, "roots.pem": second}, "PUT")
        control.wait("both roots", lambda: self.roots() == first + second)
        self.put({"ca.key": second_key, "ca.pem": second, "roots.pem": first}, "PUT")
        control.wait("the new root", lambda: self.roots() == second + first)
        self.assertChains(control, second)

    def test_a_ca_that_has_expired_is_made_anew_once_its_secret_is_deleted(self):
        key = self.key()
        certificate = self.certificate("monthly", key)
        self.put({"ca.key": key, "ca.pem": certificate, "roots.pem": certificate})
        time_of_all = f"{self.cluster.folder}/shift"
        environment = clock.environment(clock.library(self.cluster.folder), time_of_all)
        clock.shift(time_of_all, 0)
        controls = [self.start(name, environment).ready() for name in ("one", "two")]
        controls[0].wait("the roots", self.roots)
        # Not by waiting: it is later for weft-control alone.
        clock.shift(time_of_all, 31 * 86400)
        controls[0].wait("what is to be done", lambda: all("delete secret weft-ca" in control.lines() for control in controls))
        late = self.start("late", environment)
        late.wait("its complaint", lambda: "delete secret weft-ca" in late.lines())
        self.cluster.call("DELETE", SECRET)
        controls[0].wait("other roots", lambda: self.roots() not in (None, certificate))
        late.ready()
        roots = self.roots()
        for control in (*controls, late):
            control.wait("a certificate of the new CA", lambda: self.chains(control, roots))

    def chains(self, control, roots):
        try:
            self.assertChains(control, roots, "-no_check_time")
            return True
        except subprocess.CalledProcessError:
            return False

    def test_a_secret_that_cannot_be_a_ca_is_named_and_left_alone(self):
        key, other = self.key(), self.key()
        root = self.certificate("company", key)
        foreign = self.certificate("foreign", key, domain="elsewhere")
        self.put({"ca.key": other, "ca.pem": root})
        control = self.start()
        for data, complaint in [
            ({"ca.key": other, "ca.pem": root}, "ca.key is not the key of ca.pem"), ({"ca.pem": root}, "has no ca.key"),
            ({"ca.key": "x", "ca.pem": root}, "ca.key is not a P-256 private key"),
            ({"ca.key": key, "ca.pem": foreign}, "trust domain elsewhere"),
            ({"ca.key": other, "ca.pem": self.intermediate("mesh", "company", other)}, "1 to 16 roots"),
        ]:
            self.put(data, "PUT")
            control.wait(complaint, lambda: complaint in control.lines(), 20)
            self.assertEqual(self.secret(), data)
        self.assertEqual((control.probe("live"), control.probe("ready")), (200, 503))
        self.put({"ca.key": key, "ca.pem": root}, "PUT")
        control.ready()
        # Spoilt later, a person is told; what was good stays in force.
        self.put({"ca.key": other, "ca.pem": root}, "PUT")
        control.wait("the event", lambda: any(event["reason"] == "AuthorityUnusable" and "not the key" in event["message"]
            for event in self.cluster.call("GET", f"{SYSTEM}/events")["items"]), 30)
        self.assertEqual(control.probe("ready"), 200)


if __name__ == "__main__":
    unittest.main(verbosity=2)
