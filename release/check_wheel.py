"""Check wheels, given by their paths, as a user meets them.

Their tags and symbols (auditwheel, abi3audit), what they carry, and the demo in an environment that
has nothing else; tells how long it took from `pip install` to the first frame.
"""

import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
LARGEST = 16_000_000
"""Bytes that a wheel has at most."""
FIRST_FRAME = """
import polars_edfi as edfi
with edfi.Sandbox(["255901"], records=50) as ods:
    url, key, secret = ods.districts().row(0)[1:]
    client = edfi.StudentAssessment(base_url=url, client_id=key, client_secret=secret)
    frame = client.get_all(key="255901")["data"]
assert frame.height == 50, frame
"""


def run(*command: object, **options: object) -> str:
    """Run a command; end where it fails, with what it said."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def carries(wheel: Path) -> None:
    """Look at what is in it."""
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        licences = {name.rpartition("/")[2]: name for name in names if "/licenses/" in name}
        third = file.read(licences["THIRD_PARTY_LICENSES"]).decode()
    native = [name for name in names if name.endswith((".so", ".pyd", ".dylib"))]
    assert "LICENSE" in licences, names
    for package in ("polars-core ", "ring ", "libsqlite3-sys ", "tokio "):
        assert f"\n{package}" in third, f"no licence of {package}"
    assert len(native) == 1, native
    assert {"polars_edfi/py.typed", "polars_edfi/_native.pyi"} <= set(names), names
    assert all(name.startswith(("polars_edfi/", "polars_edfi-")) for name in names), names
    size = wheel.stat().st_size
    assert size <= LARGEST, f"{size:,} bytes"
    told = f"{size / 1e6:.1f} MB, {len(names)} files, {len(third) / 1e3:.0f} kB of licences"
    print(f"{wheel.name}: {told}")


def tags(wheel: Path) -> None:
    """Hold its tags against its symbols."""
    print(run(sys.executable, "-m", "abi3audit", "--strict", "--summary", wheel).strip())
    if "linux" in wheel.name:
        env = os.environ | {"COLUMNS": "1000"}
        told = " ".join(run(sys.executable, "-m", "auditwheel", "show", wheel, env=env).split())
        allowed = wheel.stem.rpartition("-")[2].split(".")
        assert any(f'platform tag: "{tag}"' in told for tag in allowed), told
        print(f"auditwheel: {', '.join(allowed)}")


def demo(wheel: Path) -> None:
    """Install it where nothing else is, and run the demo."""
    with TemporaryDirectory() as folder:
        run(sys.executable, "-m", "venv", "--clear", Path(folder) / "bare")
        scripts = Path(folder) / "bare" / ("Scripts" if os.name == "nt" else "bin")
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        env |= {"TMPDIR": folder, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        began = time.monotonic()
        run(scripts / "python", "-m", "pip", "install", "--quiet", wheel, env=env, cwd=folder)
        installed = time.monotonic()
        run(scripts / "python", "-I", "-c", FIRST_FRAME, env=env, cwd=folder)
        done = time.monotonic()
        print(
            f"pip install {installed - began:.1f} s, the first frame {done - installed:.1f} s, "
            f"together {done - began:.1f} s"
        )
        run(scripts / "python", ROOT / "examples" / "quickstart.py", env=env, cwd=folder)
        print("the demo runs")


def main(*wheels: str) -> None:
    """Check each of them; the demo where it can be installed."""
    for name in wheels:
        wheel = Path(name).resolve()
        carries(wheel)
        tags(wheel)
        demo(wheel)


if __name__ == "__main__":
    assert sys.argv[1:], __doc__
    main(*sys.argv[1:])
