#!/usr/bin/env python3
"""Ask the facts of this folder of our gateway, of ministack and of serverless-offline, and print what holds where.

    python3 tests/conformance/beside.py            compare with peers/expected.json
    python3 tests/conformance/beside.py --write    keep what was found there, and show it in docs/gateway.md

Needs Rust, Python 3.11 with pip, and Node.js 20 with npm; what else there is to it is installed into the target folder, in the
versions that peers/ names. Exit code 0: every fact that AWS documents, models or was seen to keep holds here, and elsewhere
just what is expected fails; 1: not so; 2: bad arguments.
"""

import argparse
import datetime
import json
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))

from programs import Programs, say  # noqa: E402
from running import NAMES, PEERS, ask  # noqa: E402
from table import Table, short  # noqa: E402

EXPECTED = Path(__file__).resolve().parent / "peers" / "expected.json"
# What must hold here.
GRADES = ("DOC", "CAP", "MODEL")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--write", action="store_true", help="keep what was found, and show it in docs/gateway.md")
    parser.add_argument("--only", metavar="FACTS", default="", help="ask only these, for example 4.,5.12")
    parser.add_argument("--peer", choices=[*PEERS], action="append", help="ask only this peer, beside ours; repeatable")
    parser.add_argument("--why", action="store_true", help="also say why what fails elsewhere does")
    given = parser.parse_args()
    if given.write and (given.only or given.peer):
        parser.error("--write needs all facts and all peers")
    return given


def found(programs, names, only, expected):
    """What became of each fact, by gateway. Ours is asked first, as its cases do not wait for each other; the others side by side."""
    results = {}

    def run(name):
        try:
            results[name] = ask(name, programs, only)
            if name in PEERS:
                results[name] = asked_again(name, programs, results[name], expected["peers"][name])
        except Exception as error:  # noqa: BLE001: it is told below, in the order of the gateways
            results[name] = error

    run("Tidings")
    if isinstance(results["Tidings"], Exception):
        sys.exit(f"error: Tidings: {results['Tidings']}")
    threads = [threading.Thread(target=run, args=(name,)) for name in names if name != "Tidings"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in names:
        if isinstance(results[name], Exception):
            sys.exit(f"error: {name}: {results[name]}")
    return {name: results[name] for name in names}


def asked_again(name, programs, facts, listed):
    """The facts, with what was not expected asked twice more: a machine that others use may have been too slow."""
    for _ in range(2):
        odd = [fact["id"] for fact in facts if is_odd(fact, listed)]
        if not odd:
            break
        say(f"{name}: asking again: {', '.join(odd)}")
        # What begins alike is asked with them, and does not count.
        anew = {fact["id"]: fact for fact in ask(name, programs, ",".join(odd))}
        facts = [anew[fact["id"]] if fact["id"] in odd else fact for fact in facts]
    return facts


def is_odd(fact, listed):
    if fact["id"] in listed["sometimes"]:
        return False
    return (fact["outcome"] == "fails") != (fact["id"] in listed["fails"])


def ids(results, outcome):
    return [fact["id"] for fact in results if fact["outcome"] == outcome]


def judge(results, expected):
    """What is not as it should be, a sentence each."""
    for fact in results["Tidings"]:
        if fact["outcome"] == "fails" and fact["grade"] in GRADES:
            yield f"Tidings: {fact['id']} [{fact['grade']}] does not hold: {short(fact)}"
        elif fact["outcome"] == "fails":
            yield f"Tidings: {fact['id']} does not hold, which docs/gateway.md says it does: {short(fact)}"
    for name, facts in results.items():
        if name == "Tidings":
            continue
        listed = expected["peers"][name]
        for fact in filter(lambda fact: is_odd(fact, listed), facts):
            what = {
                "fails": f"is not expected to fail: {short(fact)}",
                "holds": "holds, and is listed as failing",
                "unchecked": "is listed as failing, and is not checked",
            }
            yield f"{name} {listed['version']}: {fact['id']} {what[fact['outcome']]}"


def write(results, expected, programs):
    today = datetime.date.today()
    expected["measured"] = f"{today.day} {today:%B %Y}"
    for name in PEERS:
        cannot = set(ids(results[name], "unchecked")) - set(ids(results["Tidings"], "unchecked"))
        sometimes = expected["peers"][name]["sometimes"]
        expected["peers"][name] = {
            "version": programs.versions[name],
            "fails": [fact for fact in ids(results[name], "fails") if fact not in sometimes],
            "sometimes": sometimes,
            "unchecked": [fact["id"] for fact in results[name] if fact["id"] in cannot],
        }
    EXPECTED.write_text(json.dumps(expected, indent=2) + "\n", encoding="utf-8")
    programs.suite("conformance::beside", {"TIDINGS_REWRITE": "1"})
    say("written: tests/conformance/peers/expected.json and docs/gateway.md")


def main():
    given = arguments()
    expected = json.loads(EXPECTED.read_text(encoding="utf-8"))
    programs = Programs()
    names = [name for name in NAMES if name == "Tidings" or name in (given.peer or PEERS)]
    programs.prepare([name for name in names if name != "Tidings"])
    results = found(programs, names, given.only, expected)
    Table(results, programs.versions, sys.stdout).print(why=given.why)
    if given.write:
        write(results, expected, programs)
    wrong = list(judge(results, expected))
    for sentence in wrong:
        print(sentence)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
