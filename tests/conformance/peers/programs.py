"""What the comparison is made of: the suite and its function, built; the other gateways, installed."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]


def say(text):
    print(text, file=sys.stderr, flush=True)


class Programs:
    def __init__(self):
        self.target = (ROOT / os.environ.get("CARGO_TARGET_DIR", "target")).resolve()
        self.folder = self.target / "conformance"
        self.python = self.folder / "venv" / "bin" / "python"
        self.function = self.target / "debug" / "conformance"
        self.tidings = self.target / "debug" / "tidings"
        requirements = (HERE / "requirements.txt").read_text(encoding="utf-8").splitlines()
        packages = json.loads((HERE / "package.json").read_text(encoding="utf-8"))["dependencies"]
        self.versions = {
            "ministack": next(line.partition("==")[2] for line in requirements if line.startswith("ministack==")),
            "serverless-offline": packages["serverless-offline"],
        }

    def prepare(self, peers):
        """Build and install, at the same time, and what is there already not again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        say("building the suite, installing the others")
        steps = {"ministack": self.install_ministack, "serverless-offline": self.install_serverless_offline}
        with ThreadPoolExecutor() as pool:
            installing = [pool.submit(steps[name]) for name in peers]
            self.build()
            for step in installing:
                step.result()

    def build(self):
        cargo = os.environ.get("CARGO", "cargo")
        quiet = [] if sys.stderr.isatty() else ["--quiet"]
        programs = ["--bin", "conformance", "--bin", "tidings"]
        subprocess.run([cargo, "build", "--workspace", *quiet, *programs], cwd=ROOT, check=True)
        command = [cargo, "test", "--workspace", *quiet, "--test", "suite", "--no-run", "--message-format", "json"]
        built = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        messages = [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]
        self.tests = next(
            message["executable"]
            for message in messages
            # Other packages have a test of this name, too.
            if message.get("executable") and Path(message["manifest_path"]).parent == ROOT / "tests" and message["profile"]["test"]
        )

    def suite(self, name, environment, log=None):
        """Run one test of the suite, and say whether it passed."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TIDINGS_CONFORMANCE_")}
        command = [self.tests, name, "--nocapture"]
        # As Cargo starts it: some tests look beside themselves.
        kept["CARGO_MANIFEST_DIR"] = str(ROOT / "tests")
        ran = subprocess.run(
            command, cwd=ROOT / "tests", env={**kept, **environment}, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
        return ran.returncode == 0

    def install_ministack(self):
        wanted = HERE / "requirements.txt"
        mark = self.folder / "venv" / wanted.name
        if is_same(wanted, mark):
            return
        shutil.rmtree(self.folder / "venv", ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", self.folder / "venv"], check=True)
        pip = [self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", wanted]
        subprocess.run(pip, check=True)
        shutil.copy(wanted, mark)

    def install_serverless_offline(self):
        wanted, node = HERE / "package-lock.json", self.folder / "node"
        mark = node / "node_modules" / wanted.name
        node.mkdir(exist_ok=True)
        for name in ("package.json", wanted.name, "serverless.yml", "bridge.mjs"):
            shutil.copy(HERE / name, node)
        if not is_same(wanted, mark):
            npm = shutil.which("npm") or sys.exit("error: serverless-offline needs Node.js with npm")
            subprocess.run([npm, "ci", "--no-audit", "--no-fund", "--silent"], cwd=node, check=True)
            shutil.copy(wanted, mark)


def is_same(one, other):
    return other.is_file() and one.read_bytes() == other.read_bytes()
