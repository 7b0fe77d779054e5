"""Synthesise the CDK application of docs/deploy.md, and look at what comes out.

    python tests/cdk/check.py TIDINGS PROGRAMS FOLDER

TIDINGS is the command line, PROGRAMS what `cargo lambda build` left (`PROGRAMS/connect/bootstrap`), and FOLDER has aws-cdk-lib in
its `node_modules`. What is synthesised is in `FOLDER/cdk.out`. Exits 1 with the reason when something is not as it should be.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs" / "deploy.md"
FUNCTIONS = ("Api", "Authorizer", "Connect", "Default", "Disconnect", "Notifier")
# What an application cannot do without, and how many of them there are.
PARTS = {
    "AWS::ApiGatewayV2::Api": 2,
    "AWS::ApiGatewayV2::Stage": 2,
    "AWS::CloudFormation::Stack": 2,
    "AWS::DynamoDB::Table": 2,
    "AWS::Lambda::EventSourceMapping": 3,
    "AWS::Lambda::Function": 6,
    "AWS::SQS::Queue": 3,
    "AWS::SecretsManager::Secret": 3,
}


def expect(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: {found!r}, and not {expected!r}")
    print(f"ok    {what}")


def application(program, programs, folder):
    """Make what the guide says has to be there before its program runs."""
    for old in ("cdk.out", "target", "tidings"):
        shutil.rmtree(folder / old, ignore_errors=True)
    text, = re.findall(r"```js\n(// app\.mjs\n.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    (folder / "app.mjs").write_text(text, encoding="utf-8")
    subprocess.run([program, "template", "--plain", "--retain", "--output", folder], check=True)
    for name in map(str.lower, FUNCTIONS):
        archive = folder / "target" / "lambda" / name / "bootstrap.zip"
        archive.parent.mkdir(parents=True)
        with zipfile.ZipFile(archive, "w") as package:
            package.write(programs / name / "bootstrap", "bootstrap")


def main():
    program, programs, folder = (Path(argument).resolve() for argument in sys.argv[1:])
    application(program, programs, folder)
    # Its warnings fill pages and are told in the guide.
    environment = {**os.environ, "CDK_OUTDIR": str(folder / "cdk.out")}
    synthesis = subprocess.run(["node", "app.mjs"], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if synthesis.returncode != 0:
        sys.exit(synthesis.stdout + synthesis.stderr)
    template = json.loads((folder / "cdk.out" / "Shop.template.json").read_text(encoding="utf-8"))
    resources = template["Resources"]
    types = [resource["Type"] for resource in resources.values()]
    expect("every part is there", {part: types.count(part) for part in PARTS}, PARTS)
    expect("no transform is left", "Transform" in template, False)
    policies = {resource["DeletionPolicy"] for resource in resources.values() if resource["Type"] == "AWS::DynamoDB::Table"}
    expect("no table goes with the stack", policies, {"Retain"})
    keys = {resources[f"{name}Function"]["Properties"]["Code"]["S3Key"] for name in FUNCTIONS}
    assets = {path.name.removeprefix("asset.") for path in (folder / "cdk.out").glob("asset.*.zip")}
    expect("each function has a program of its own among the assets", (len(keys), keys <= assets), (6, True))


if __name__ == "__main__":
    main()
