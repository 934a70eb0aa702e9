"""Planning jobs imports nothing heavy: every job of a cluster reads the Snakefile once more."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
RULES = (ROOT / "workflow" / "Snakefile", *sorted((ROOT / "rules").glob("*.smk")))
HEAVY = ("torch", "pandas", "scipy", "gemmi", "matplotlib", "monai", "mrcfile")


def imports_of_rules() -> list[str]:
    """Import statements of the Snakefile and the rule files that name this package.

    Those within functions count as little as the functions: they run where there is need.
    """
    text = "\n".join(path.read_text(encoding="utf-8") for path in RULES)
    several_lines = r"\([^)]*\).*"
    pattern = rf"^(from civa[\w.]* import (?:{several_lines}|.+)|import civa.*)$"
    return re.findall(pattern, text, re.M)


def loaded(code: str) -> list[str]:
    """Those of `HEAVY` that an interpreter has loaded after this code."""
    told = f"{code}\nimport sys\nprint(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_the_imports_of_the_rules_are_light() -> None:
    imports = imports_of_rules()
    assert len(imports) >= 5
    assert loaded("\n".join(imports)) == []


def test_checking_a_configuration_of_simulated_volumes_is_light() -> None:
    code = "from pathlib import Path\nfrom civa.pipeline.config import load\n"
    assert loaded(f"{code}load(Path('config.yaml'))\nload(Path('examples/paper.yaml'))") == []


def test_heavy_modules_are_noticed() -> None:
    assert loaded("import scipy") == ["scipy"]
