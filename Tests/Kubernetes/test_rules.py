#!/usr/bin/env python3
"""The definitions of weft.dev: each field has a description, and the CEL rules, which Kubernetes evaluates from 1.25 on and the API server of the tests doesn't, can
be read, admit what is right, and each refuses something that is wrong.

Usage: test_rules.py PATH-TO-weft-control. Needs cel-python (packages.py).
"""
import glob, os, sys, unittest
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../EndToEndTests/Programs"))
import packages  # noqa: F401: says where cel-python is
import celpy, yaml
from policies import BAD, FULL, GOOD, STRICT, WORSE, changed

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")


def rules(schema, path=()):
    """(path to what it holds for, the rule) of every rule in a schema; "[]": each element of a list."""
    for rule in schema.get("x-kubernetes-validations", []):
        yield path, rule
    for name, part in schema.get("properties", {}).items():
        yield from rules(part, (*path, name))
    if isinstance(schema.get("items"), dict):
        yield from rules(schema["items"], (*path, "[]"))


def undescribed(schema, path=()):
    """The fields that say nothing of themselves; an object's metadata is Kubernetes'."""
    for name, part in schema.get("properties", {}).items():
        if not part.get("description") and (*path, name) != ("metadata",):
            yield ".".join((*path, name))
        yield from undescribed(part, (*path, name))
    if isinstance(schema.get("items"), dict):
        yield from undescribed(schema["items"], (*path, "[]"))


def found(value, path):
    """What of an object stands at a path."""
    if not path:
        return [value]
    if path[0] == "[]":
        return [part for element in value for part in found(element, path[1:])]
    return found(value[path[0]], path[1:]) if path[0] in value else []


class Rules(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        environment = celpy.Environment()
        cls.rules, cls.schemas = {}, []
        for name in glob.glob(f"{ROOT}/deploy/crds/*.yaml"):
            with open(name) as file:
                for crd in filter(None, yaml.safe_load_all(file)):
                    if crd["kind"] != "CustomResourceDefinition":
                        continue
                    for version in crd["spec"]["versions"]:
                        cls.schemas.append(version["schema"]["openAPIV3Schema"])
                        for path, rule in rules(version["schema"]["openAPIV3Schema"]):
                            program = environment.program(environment.compile(rule["rule"]))
                            cls.rules.setdefault(crd["spec"]["names"]["kind"], []).append((path, rule, program))

    @staticmethod
    def admits(program, value):
        """As the API server has it: a rule that fails to be evaluated isn't held."""
        try:
            return bool(program.evaluate({"self": celpy.json_to_cel(value)}))
        except celpy.CELEvalError:
            return False

    def broken(self, policy):
        """The rules that it breaks."""
        return [(policy["kind"], index) for index, (path, _, program) in enumerate(self.rules[policy["kind"]])
            if not all(self.admits(program, part) for part in found(policy, path))]

    def test_each_field_says_what_it_is(self):
        self.assertEqual(len(self.schemas), 2)
        self.assertEqual([name for schema in self.schemas for name in undescribed(schema)], [])

    def test_what_is_right_is_admitted(self):
        examples = []
        for name in glob.glob(f"{ROOT}/examples/**/*.yaml", recursive=True) + glob.glob(f"{ROOT}/demo/**/*.yaml", recursive=True):
            with open(name) as file:
                examples += [document for document in yaml.safe_load_all(file) if document and document.get("apiVersion") == "weft.dev/v1alpha1"]
        self.assertGreater(len(examples), 4)
        for policy in [FULL, STRICT, *examples, *(changed(FULL, path, value) for path, value in GOOD)]:
            self.assertEqual([self.rules[kind][index][1]["rule"] for kind, index in self.broken(policy)], [], policy["metadata"])

    def test_each_refuses_something_and_says_why(self):
        wrong = [changed(FULL, path, value) for path, value in BAD] + WORSE
        durations = [path[1:] for path, rule, _ in self.rules["TrafficPolicy"] if rule["rule"].startswith("duration(self)")]
        self.assertEqual(len(durations), 18)
        wrong += [changed(FULL, ".".join(path).replace("[]", "0"), "9000h") for path in durations]
        broken = {rule for policy in wrong for rule in self.broken(policy)}
        for kind, known in self.rules.items():
            for index, (_, rule, _) in enumerate(known):
                self.assertIn((kind, index), broken, f"nothing breaks {rule['rule']}")
                self.assertTrue(rule.get("message"), rule)


if __name__ == "__main__":
    sys.argv = sys.argv[:1]
    unittest.main(verbosity=2)
