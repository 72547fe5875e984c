"""Write the README of the packages: that of the project without what leads nowhere elsewhere.

On a package index pictures and pages have no address: pictures and the sections about a checkout
go, and links become words. ``--check`` only tells whether the file is as it would be written.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACE = ROOT / "release" / "README.md"
OF_A_CHECKOUT = ("Two commands", "Where to read on")
INSTALL = """## Install

```sh
pip install polars-edfi
```

`polars-edfi[delta]` brings what Delta tables need, `[pickle]` what pickled plans need, `[spark]`
what Spark needs. The guides are in the folder `docs` of the source distribution.

"""


def packaged(text: str) -> str:
    """Give what a package index can show."""
    text = re.sub(r"<p align.*?</p>\n\n", "", text, flags=re.DOTALL)
    link = r"\[([^\]]*)\]\((?![a-z]+://)[^)]*\)"
    text = re.sub(rf"\s+\({link}\)", "", text)
    text = re.sub(link, r"\1", text)
    head, *sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    end = sections[-1].splitlines()[-1]
    kept = [one for one in sections if not one.startswith(tuple(f"## {t}" for t in OF_A_CHECKOUT))]
    return f"{head}{INSTALL}{''.join(kept)}{end}\n"


def main() -> None:
    """Write it, or compare."""
    text = packaged((ROOT / "README.md").read_text("utf-8"))
    if "--check" not in sys.argv:
        PLACE.write_text(text, "utf-8")
    elif PLACE.read_text("utf-8") != text:
        sys.exit("release/README.md is not that of README.md: python release/readme.py")


if __name__ == "__main__":
    main()
