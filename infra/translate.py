"""Write the CloudFormation template that SAM makes of ours, without an AWS account or a network.

    python infra/translate.py [--template template.yaml] [--output FILE]

The result is what CloudFormation would see, so that cfn-lint and `infra/check.py` can look at the generated roles,
routes and permissions too.
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


def translate(path):
    """Return the translated template of the SAM template at `path`."""
    template = yaml_parse(path.read_text(encoding="utf-8"))
    parameters = {name: spec["Default"] for name, spec in template.get("Parameters", {}).items() if "Default" in spec}
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
    parser.add_argument("--output", type=Path, help="file to write instead of standard output")
    arguments = parser.parse_args()
    text = json.dumps(translate(arguments.template), indent=2, default=str) + "\n"
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
