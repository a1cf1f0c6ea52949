#!/usr/bin/env python3
"""The OCI images: the same twice, small, without a shell, and their programs run with nothing but what is in them.

Usage: images.py FOLDER-OF-RELEASE-PROGRAMS [PROGRAM…]. Run by buildah in a chroot of the image's own files.
"""
import json, os, shutil, subprocess, sys, tarfile, tempfile, unittest

PROGRAMS = os.path.abspath(sys.argv[1])
IMAGES = sys.argv[2:] or ["weft-agent", "weft-control", "weft-stub"]
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
            wanted = {image} | ({"weft-proxy", "weft.bpf.o"} if image == "weft-agent" else set())
            self.assertEqual(programs, wanted)
            others = {name for name in files - programs if ".so" not in name}
            self.assertEqual(others, {"etc/passwd", "etc/nsswitch.conf"})

    def test_the_programs_run_with_what_is_in_the_image(self):
        base = ["buildah", "--log-level", "error", "--storage-driver", "vfs", "--root", f"{self.folder}/storage",
            "--runroot", f"{self.folder}/run"]
        for image in IMAGES:
            name = subprocess.run([*base, "from", "--quiet", f"oci:{self.folder}/first/{image}.oci"],
                capture_output=True, text=True, check=True).stdout.strip().splitlines()[-1]
            result = subprocess.run([*base, "run", "--isolation", "chroot", name, "--", f"/{image}", "--help"],
                capture_output=True, text=True)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn(image, result.stdout + result.stderr)
            result = subprocess.run([*base, "run", "--isolation", "chroot", name, "--", "/bin/sh", "-c", "true"],
                capture_output=True, text=True)
            self.assertNotEqual(result.returncode, 0)
            subprocess.run([*base, "rm", name], capture_output=True, check=True)


if __name__ == "__main__":
    unittest.main(verbosity=2)
