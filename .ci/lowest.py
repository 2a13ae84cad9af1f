"""The lower bounds of pyproject.toml as constraints, for what users install: `.ci/stacks lowest-3.11`."""

import re
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = ("corpus",)

for requirement in [
    *PROJECT["dependencies"],
    *(r for extra in EXTRAS for r in PROJECT["optional-dependencies"][extra]),
]:
    name, least = re.match(r"([\w.-]+)>=([\w.]+)", requirement).groups()
    print(f"{name}=={least}.*" if least.count(".") < 2 else f"{name}=={least}")
