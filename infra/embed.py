"""Put infra/dashboard.json into infra/operations.yaml, where CloudFormation wants it.

    python infra/embed.py

The file stands alone because it can be read and edited as JSON there. `${...}` in it are references of the template.
A test says when the two differ.
"""

import json
import re
from pathlib import Path

INFRA = Path(__file__).resolve().parent

# From the line that begins the body to the next that is not indented further.
BODY = re.compile(r"(?m)^( *)DashboardBody: !Sub \|\n(?:\1 .*\n|\n)+")


def main():
    text = (INFRA / "dashboard.json").read_text(encoding="utf-8")
    json.loads(text)
    template = INFRA / "operations.yaml"

    def body(match):
        indent = match.group(1)
        lines = "".join(f"{indent}  {line}\n" for line in text.splitlines())
        return f"{indent}DashboardBody: !Sub |\n{lines}\n"

    embedded, count = BODY.subn(body, template.read_text(encoding="utf-8"))
    if count != 1:
        raise SystemExit(f"{template} has {count} bodies of a dashboard, not one")
    template.write_text(embedded, encoding="utf-8")


if __name__ == "__main__":
    main()
