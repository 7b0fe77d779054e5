"""Write the CloudFormation template that SAM makes of ours, without an AWS account or a network.

    python infra/translate.py [--template template.yaml] [--parameter NAME=VALUE]... [--output FILE]

The result is what CloudFormation would see, so that cfn-lint and `infra/check.py` can look at the generated roles,
routes and permissions too. A parameter given here becomes the default of the result, so that they see it with its
optional parts.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parent.parent

# Region only picks the partition of generated ARNs, and no call is made with it.
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")


class ManagedPolicies:
    """Stands in for the loader that asks IAM for its managed policies; the template names none."""

    def load(self):
        return {}


def translate(path, chosen):
    """Return the translated template of the SAM template at `path`, with the `chosen` values of its parameters."""
    template = yaml_parse(path.read_text(encoding="utf-8"))
    specs = template.get("Parameters", {})
    for name, value in chosen.items():
        if name not in specs:
            sys.exit(f"{path} has no parameter {name}")
        specs[name]["Default"] = value
    parameters = {name: spec["Default"] for name, spec in specs.items() if "Default" in spec}
    for resource in template["Resources"].values():
        # SAM wants code and nested templates that are in S3 already. `sam package` puts them there; where does not
        # matter here.
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://bucket/key"
        if resource["Type"] == "AWS::CloudFormation::Stack":
            resource["Properties"]["TemplateURL"] = "https://bucket.s3.amazonaws.com/key"
    return transform(template, parameters, ManagedPolicies())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--template", type=Path, default=ROOT / "template.yaml")
    parser.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE", help="instead of the default")
    parser.add_argument("--output", type=Path, help="file to write instead of standard output")
    arguments = parser.parse_args()
    chosen = dict(parameter.split("=", 1) for parameter in arguments.parameter)
    text = json.dumps(translate(arguments.template, chosen), indent=2, default=str) + "\n"
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
