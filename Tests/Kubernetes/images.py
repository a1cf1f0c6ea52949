#!/usr/bin/env python3
"""The OCI images: the same twice, small, without a shell, and their programs run with nothing but what is in them.

Usage: images.py FOLDER-OF-RELEASE-PROGRAMS [PROGRAM…]. Run by crun with the rights that the manifests give, and by the lab's
kubelets as a whole cluster.
"""
import json, os, shutil, subprocess, sys, tarfile, tempfile, time, unittest

PROGRAMS = os.path.abspath(sys.argv[1])
IMAGES = sys.argv[2:] or ["weft-agent", "weft-control", "weft-stub", "weft", "weft-lab"]
del sys.argv[1:]
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")


class Images(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="weft-images-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.said = cls.make("first")

    @classmethod
    def make(cls, name):
        result = subprocess.run([f"{ROOT}/deploy/images.sh", PROGRAMS, f"{cls.folder}/{name}", *IMAGES],
            capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def blob(self, image, digest):
        return f"{self.folder}/first/{image}.oci/blobs/{digest.replace(':', '/')}"

    def document(self, image, digest):
        with open(self.blob(image, digest)) as file:
            return json.load(file)

    def manifest(self, image):
        with open(f"{self.folder}/first/{image}.oci/index.json") as file:
            return self.document(image, json.load(file)["manifests"][0]["digest"])

    def test_the_same_programs_give_the_same_digests(self):
        self.assertEqual(self.make("second"), self.said)

    def test_nothing_is_in_it_but_the_programs_and_their_libraries(self):
        for image in IMAGES:
            manifest = self.manifest(image)
            self.assertEqual(self.document(image, manifest["config"]["digest"])["config"]["Entrypoint"], [f"/{image}"])
            self.assertLessEqual(sum(layer["size"] for layer in manifest["layers"]), 50_000_000)
            self.assertEqual(len(manifest["layers"]), 1)
            with tarfile.open(self.blob(image, manifest["layers"][0]["digest"])) as layer:
                files = {entry.name.lstrip("./") for entry in layer if entry.isfile()}
            programs = {name for name in files if "/" not in name}
            wanted = {image} | {"weft-agent": {"weft-proxy", "weft.bpf.o"}, "weft-stub": {"xtables-legacy-multi"}}.get(image, set())
            self.assertEqual(programs, wanted)
            self.assertFalse([name for name in files if "libswift" in name], "Swift's library is in the programs")
            others = {name for name in files - programs if ".so" not in name}
            self.assertEqual(others, {"etc/passwd", "etc/nsswitch.conf"})

    @unittest.skipIf(len(IMAGES) < 5, "a cluster needs all images")
    def test_a_cluster_runs_from_them(self):
        """README's lines, with images that have no file of this machine."""
        whole = f"{self.folder}/whole"
        manifests = []
        for image in IMAGES:
            shutil.copytree(f"{self.folder}/first/{image}.oci", whole, dirs_exist_ok=True)
            with open(f"{whole}/index.json") as file:
                entry = json.load(file)["manifests"][0]
            manifests.append({**entry, "annotations": {"org.opencontainers.image.ref.name": f"ghcr.io/weft-mesh/{image}:0.1.0"}})
        with open(f"{whole}/index.json", "w") as file:
            json.dump({"schemaVersion": 2, "manifests": manifests}, file)
        result = subprocess.run([sys.executable, f"{ROOT}/demo/kubernetes.py", whole], capture_output=True, text=True,
            timeout=600, env={**os.environ, "BIN": PROGRAMS})
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def bundle(self, program, arguments, user, mounts=(), of=None):
        """What crun runs: the image's files read-only, no capabilities, no way to gain any."""
        folder = tempfile.mkdtemp(prefix="bundle-", dir=self.folder)
        image = of or program
        with tarfile.open(self.blob(image, self.manifest(image)["layers"][0]["digest"])) as layer:
            layer.extractall(f"{folder}/rootfs")
        subprocess.run(["crun", "spec"], cwd=folder, check=True)
        with open(f"{folder}/config.json") as file:
            spec = json.load(file)
        spec["process"].update(terminal=False, args=[f"/{program}", *arguments], user={"uid": user, "gid": user}, noNewPrivileges=True)
        spec["process"]["env"] = self.document(image, self.manifest(image)["config"]["digest"])["config"]["Env"]
        spec["process"]["capabilities"] = {kind: [] for kind in spec["process"]["capabilities"]}
        spec["root"]["readonly"] = True
        for source, target, option in mounts:
            # Where runtimes make the mount point, they do before the root is read-only.
            os.makedirs(f"{folder}/rootfs{target}", exist_ok=True)
            spec["mounts"].append({"destination": target, "type": "bind", "source": source, "options": ["bind", option]})
        with open(f"{folder}/config.json", "w") as file:
            json.dump(spec, file)
        return folder

    def crun(self, *words):
        # crun knows either version of cgroups and not both at once: this one is shown the second alone.
        return ["unshare", "--mount", "sh", "-c", 'mount -t cgroup2 none /sys/fs/cgroup && exec "$@"', "sh",
            "crun", "--root", f"{self.folder}/crun", "--cgroup-manager=disabled", *words]

    def test_crun_runs_them_without_any_rights(self):
        for image in IMAGES:
            folder = self.bundle(image, ["--help"], 65532)
            result = subprocess.run(self.crun("run", "-b", folder, image), capture_output=True, text=True, timeout=60)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn(image, result.stdout + result.stderr)
            folder = self.bundle("bin/sh", ["-c", "true"], 65532, of=image)
            result = subprocess.run(self.crun("run", "-b", folder, image), capture_output=True, text=True, timeout=60)
            self.assertIn("executable file", result.stderr)

    @unittest.skipUnless("weft-stub" in IMAGES, "no image of weft-stub")
    def test_the_stubs_image_has_iptables_for_kernels_without_nf_tables(self):
        folder = self.bundle("weft-stub", ["init", "--backend", "iptables"], 0)
        with open(f"{folder}/config.json") as file:
            spec = json.load(file)
        spec["process"]["capabilities"] = {kind: ["CAP_NET_ADMIN", "CAP_NET_RAW"] for kind in spec["process"]["capabilities"]}
        with open(f"{folder}/config.json", "w") as file:
            json.dump(spec, file)
        result = subprocess.run(self.crun("run", "-b", folder, "init"), capture_output=True, text=True, timeout=60)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    @unittest.skipUnless("weft-control" in IMAGES, "no image of weft-control")
    def test_the_control_plane_serves_as_nobody_on_a_root_that_is_read_only(self):
        state, tokens = f"{self.folder}/state", f"{self.folder}/tokens"
        os.mkdir(state, 0o700)
        os.mkdir(tokens, 0o700)
        with open(f"{tokens}/tokens", "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write("a 0123456789abcdef\n")
        for path in (state, tokens, f"{tokens}/tokens"):
            os.chown(path, 65532, 65532)
        folder = self.bundle("weft-control", ["--config", "/mesh", "--state-dir", "/state", "--join-tokens", "/tokens/tokens"], 65532,
            [(os.path.abspath(f"{ROOT}/demo/mesh"), "/mesh", "ro"), (state, "/state", "rw"), (tokens, "/tokens", "ro")])
        log = open(f"{folder}/log", "w+")
        self.addCleanup(log.close)
        program = subprocess.Popen(self.crun("run", "-b", folder, "serving"), stdout=log, stderr=subprocess.STDOUT)
        self.addCleanup(program.wait)
        self.addCleanup(lambda: subprocess.run(self.crun("kill", "serving", "KILL"), capture_output=True))
        status, end = f"{state}/status.json", time.monotonic() + 30
        while not os.path.exists(status) and program.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
        log.seek(0)
        self.assertTrue(os.path.exists(status), log.read())
        # It ends by the signal that a kubelet sends.
        subprocess.run(self.crun("kill", "serving", "TERM"), check=True)
        self.assertEqual(program.wait(20), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
