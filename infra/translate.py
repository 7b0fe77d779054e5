"""Write what AWS makes of our template, without an AWS account or a network.

    python infra/translate.py [--template template.yaml] [--parameter NAME=VALUE]... [--region REGION] [--output FILE]

SAM's shorthands are written out, and conditions are decided by the parameters' values and the region: what is left are the
resources that CloudFormation creates, so that cfn-lint, `infra/check.py` and `infra/on_ministack.py` see the generated roles,
routes and permissions too. A parameter given here becomes the default of the result.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parent.parent

SAM = "AWS::Serverless-2016-10-31"
NO_VALUE = {"Ref": "AWS::NoValue"}


class ManagedPolicies:
    """Stands in for the loader that asks IAM for its managed policies; the template names none."""

    def load(self):
        return {}


class Conditions:
    """The conditions of a template, and what becomes of its values by them."""

    def __init__(self, template, values):
        self.expressions = template.pop("Conditions", {})
        self.values = values

    def holds(self, expression):
        (name, argument), = expression.items()
        match name:
            case "Condition":
                return self.holds(self.expressions[argument])
            case "Fn::Equals":
                left, right = (str(self.resolve(value)) for value in argument)
                return left == right
            case "Fn::Not":
                return not self.holds(argument[0])
            case "Fn::And":
                return all(self.holds(one) for one in argument)
            case "Fn::Or":
                return any(self.holds(one) for one in argument)
        sys.exit(f"{name} is no condition that this script knows")

    def resolve(self, value):
        """The value of a parameter, or anything else as it is."""
        return self.values[value["Ref"]] if isinstance(value, dict) else value

    def settle(self, value):
        """The value without `Fn::If` and `AWS::NoValue`."""
        if isinstance(value, list):
            return [one for one in map(self.settle, value) if one != NO_VALUE]
        if not isinstance(value, dict):
            return value
        if "Fn::If" in value:
            name, then, otherwise = value["Fn::If"]
            return self.settle(then if self.holds({"Condition": name}) else otherwise)
        settled = {key: self.settle(one) for key, one in value.items()}
        return {key: one for key, one in settled.items() if one != NO_VALUE}

    def settle_section(self, section):
        """A section without what its conditions leave out."""
        kept = {name: part for name, part in section.items() if self.is_there(part)}
        without = {name: {key: value for key, value in part.items() if key != "Condition"} for name, part in kept.items()}
        return {name: self.settle(part) for name, part in without.items()}

    def is_there(self, part):
        return "Condition" not in part or self.holds(self.expressions[part["Condition"]])


def read(path):
    """Return the template at `path`, which has SAM's transform and no other."""
    template = yaml_parse(path.read_text(encoding="utf-8"))
    if template.get("Transform") != SAM:
        sys.exit(f"{path}: only the transform {SAM} is expanded here, not {template.get('Transform')}")
    return template


def expand(template, parameters, region):
    """Return the template with SAM's shorthands written out, as for a region; its conditions stay."""
    # SAM asks for it to pick the partition of generated ARNs; no call is made with it.
    os.environ["AWS_DEFAULT_REGION"] = region
    return transform(template, parameters, ManagedPolicies())


def translate(path, chosen, region):
    """Return what AWS makes of the template at `path`, with the `chosen` values of its parameters, in a region."""
    template = read(path)
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
    translated = expand(template, parameters, region)
    conditions = Conditions(translated, {**parameters, "AWS::Region": region})
    for section in ("Resources", "Outputs"):
        translated[section] = conditions.settle_section(translated.get(section, {}))
    return translated


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--template", type=Path, default=ROOT / "template.yaml")
    parser.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE", help="instead of the default")
    parser.add_argument("--region", default="us-east-1", help="where it is deployed")
    parser.add_argument("--output", type=Path, help="file to write instead of standard output")
    arguments = parser.parse_args()
    chosen = dict(parameter.split("=", 1) for parameter in arguments.parameter)
    text = json.dumps(translate(arguments.template, chosen, arguments.region), indent=2, default=str) + "\n"
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
