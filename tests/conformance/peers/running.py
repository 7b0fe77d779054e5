"""Runs a gateway with the conformance stack, and asks it the facts."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager

from programs import HERE, ROOT, say

TEST = "conformance::run::every_fact_about_api_gateway_holds"
# How long a gateway may take to start. Seven of Node.js on two processors are the slowest part.
PATIENCE = 90.0
STAGES = ("main", "limited", "guarded", "bare", "closed", "hurried")
# Limits of connections in seconds, as the suite has them for ours.
IDLE, LIFETIME = "1.5", "4"


def ask(name, programs, only):
    """What became of each fact there."""
    results, log = programs.folder / f"{name}.json", programs.folder / f"{name}.log"
    results.unlink(missing_ok=True)
    begin = time.monotonic()
    with ExitStack() as stack:
        environment = GATEWAYS[name](stack, programs)
        if environment:
            environment |= {
                "TIDINGS_CONFORMANCE_PEER": name,
                "AWS_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "local",
                "AWS_SECRET_ACCESS_KEY": "local",
            }
        environment |= {"TIDINGS_CONFORMANCE_RESULTS": str(results), "TIDINGS_CONFORMANCE_ONLY": only}
        say(f"{name}: asking")
        with open(log, "w", encoding="utf-8") as output:
            programs.suite(TEST, environment, output)
    if not results.exists():
        raise RuntimeError(f"the suite did not come to its end: see {log}")
    say(f"{name}: asked in {time.monotonic() - begin:.0f} s")
    return json.loads(results.read_text(encoding="utf-8"))


def ours(_stack, _programs):
    """The suite runs it itself."""
    return {}


def ministack(stack, programs):
    """The translated template on ministack, with the function of ours as it is."""
    translated = programs.folder / "translated.json"
    architecture = "arm64" if os.uname().machine in ("aarch64", "arm64") else "x86_64"
    translate = [programs.python, ROOT / "infra/translate.py", "--template", HERE.parent / "template.yaml"]
    translate += ["--parameter", "Where=local", "--parameter", f"Architecture={architecture}", "--output", translated]
    subprocess.run(translate, check=True)
    command = [programs.python, HERE / "on_ministack.py", translated, programs.function]
    process = stack.enter_context(program(command, programs.folder / "ministack.out"))
    apis = json.loads(line_of(process, "{"))
    return {variable(name): url for name, url in apis.items()}


def serverless_offline(stack, programs):
    """A serverless-offline for each API, for it serves one; its functions are bridges to ours."""
    command = [programs.tidings, "dev", "--json", "--no-build", "--template", HERE.parent / "template.yaml", "--port", "0"]
    host = stack.enter_context(program(command, programs.folder / "functions.out"))
    bridged = json.loads(line_of(host, "ready ").removeprefix("ready "))["lambda"]
    short = ["--webSocketIdleTimeout", IDLE, "--webSocketHardTimeout", LIFETIME]
    started = {stage: offline(stack, programs, bridged, stage, stage, []) for stage in STAGES}
    started["hasty"] = offline(stack, programs, bridged, "hasty", "main", short)
    for name, (process, port) in started.items():
        wait_for(f"serverless-offline ({name})", lambda: is_open(port), process)
    # Any path is a stage there.
    addresses = {variable(name): f"ws://localhost:{port}/{name}" for name, (_, port) in started.items()}
    return addresses | {"TIDINGS_CONFORMANCE_MANAGEMENT_URL": f"http://localhost:{started['main'][1]}"}


def offline(stack, programs, bridged, name, stage, options):
    http, port, functions = free_ports(3)
    # Where it ends by itself it is started again, for the facts that are left.
    command = ["sh", "-c", AGAIN, "sh", programs.folder / "node/node_modules/.bin/serverless", "offline", "start"]
    command += ["--stage", stage, "--noSponsor", "--httpPort", str(http), "--websocketPort", str(port), "--lambdaPort", str(functions), *options]
    environment = {
        "CONFORMANCE_LAMBDA": bridged,
        "SLS_TELEMETRY_DISABLED": "1",
        "SLS_NOTIFICATIONS_MODE": "off",
        "CI": "1",
    }
    log = programs.folder / f"serverless-offline-{name}.out"
    return stack.enter_context(program(command, log, programs.folder / "node", environment)), port


ENDED = "the gateway has ended by itself"
AGAIN = f'while "$@"; echo "{ENDED}: $?"; do sleep 0.1; done'

NAMES = ("Tidings", "ministack", "serverless-offline")
GATEWAYS = dict(zip(NAMES, (ours, ministack, serverless_offline)))
PEERS = NAMES[1:]


def variable(name):
    """The suite's variable for an API."""
    middle = "" if name.lower() == "main" else f"{name.upper()}_"
    return f"TIDINGS_CONFORMANCE_{middle}URL"


@contextmanager
def program(command, log, folder=ROOT, environment=None):
    """Run it with all that it starts, and give its process; what it says on standard error goes to a file."""
    with open(log, "w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if environment is None else output,
            stderr=output,
            text=True,
            start_new_session=True,
        )
        process.log = log
        try:
            yield process
        finally:
            # A chance to end what it runs in sessions of their own.
            process.stdin.close()
            try:
                process.wait(5 if environment is None else 0)
            except subprocess.TimeoutExpired:
                pass
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()


def line_of(process, start):
    """The first line of its output that starts so."""
    for line in process.stdout:
        if line.startswith(start):
            return line
    raise RuntimeError(f"{process.args[0]} does not start: see {process.log}")


def wait_for(what, condition, process):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{what} does not start: see {process.log}")
        time.sleep(0.1)


def is_open(port):
    try:
        urllib.request.urlopen(f"http://localhost:{port}/", timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
