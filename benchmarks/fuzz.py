"""Wild bytes for every decoder, guided by the code they reach. Mark of issue 7.

``python -m benchmarks.fuzz [NAME …] [--minutes 10] [--out DIR]``: each decoder for ten minutes of
processor time in a process of its own, with a limit of memory and of time for each input; one that
dies or hangs is a finding, and its last input is kept. Ends with 1 where something was found.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.fuzz.hunt import Report, hunt, limit_memory
from tests.fuzz.targets import TARGETS, open_target

SILENT_S = 120.0
"""A process that works so long, processor time, without a new input hangs where no Python runs."""


def main() -> None:
    """Fuzz and print one line a decoder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "allsky360-fuzz")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.child:
        _work(a.names[0], a.minutes * 60, a.seed, a.out)
        return
    print(
        "| decoder | inputs | kept | edges | slowest s | MiB after a tenth, at the end | findings |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    found = 0
    for name in a.names or TARGETS:
        found += _watch(name, a.minutes * 60, a.seed, a.out / name)
    raise SystemExit(1 if found else 0)


def _work(name: str, seconds: float, seed: int, out: Path) -> None:
    now, told = out / "now", [0.0]
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - what libraries print of damaged files
    target = open_target(name, out / "work")
    limit_memory()

    def after(report: Report) -> None:
        if time.monotonic() - told[0] > 5:
            told[0] = time.monotonic()
            _tell(out, report)

    _tell(out, hunt(target, seconds, seed, before=now.write_bytes, after=after))
    (out / "done").touch()


def _tell(out: Path, report: Report) -> None:
    for k, (place, (words, data)) in enumerate(report.findings.items()):
        (out / f"finding-{k}.txt").write_text(f"{place}\n\n{words}")
        (out / f"finding-{k}.bin").write_bytes(data)
    content = {
        "runs": report.runs,
        "kept": report.kept,
        "edges": report.edges,
        "seconds": report.seconds,
        "slowest_s": report.slowest_s,
        "rss_mib": [b / 2**20 for b in report.rss_bytes],
        "findings": list(report.findings),
    }
    (out / "report.partial").write_text(json.dumps(content))
    os.replace(out / "report.partial", out / "report.json")


def _watch(name: str, seconds: float, seed: int, out: Path) -> int:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    left, runs, deaths = seconds, 0, []
    content: dict[str, object] = {}
    while left > 0 and not (out / "done").exists():
        (out / "report.json").unlink(missing_ok=True)
        command = [sys.executable, "-m", "benchmarks.fuzz", name, "--child"]
        command += ["--minutes", str(left / 60), "--seed", str(seed + len(deaths))]
        child = subprocess.Popen([*command, "--out", str(out)])
        died = _wait(child, out)
        if (out / "report.json").exists():
            content = json.loads((out / "report.json").read_text())
            runs += int(str(content["runs"]))
            left -= float(str(content["seconds"]))
        if died:
            kept = out / f"death-{len(deaths)}.bin"
            if (out / "now").exists():
                shutil.copy(out / "now", kept)
            deaths.append(f"{died}, input {kept}")
            if len(deaths) > 20:
                break
    findings = [*map(str, content.get("findings", ())), *deaths]  # type: ignore[call-overload]
    memory = ", ".join(f"{m:.0f}" for m in content.get("rss_mib", ()))  # type: ignore[attr-defined]
    slowest = float(str(content.get("slowest_s", 0)))
    kept_, edges = content.get("kept"), content.get("edges")
    words = "; ".join(findings) or "none"
    print(
        f"| {name} | {runs} | {kept_} | {edges} | {slowest:.2f} | {memory} | {words} |", flush=True
    )
    return len(findings)


def _wait(child: subprocess.Popen[bytes], out: Path) -> str:
    """Wait for the process; return how it died, empty where it ended well."""
    seen, since = -1.0, 0.0
    about = psutil.Process(child.pid)
    while child.poll() is None:
        time.sleep(0.5)
        now = out / "now"
        changed = now.stat().st_mtime if now.exists() else 0.0
        try:
            times = about.cpu_times()
        except psutil.Error:  # it has just ended
            continue
        worked = times.user + times.system
        if changed != seen:
            seen, since = changed, worked
        elif worked - since > SILENT_S:
            child.kill()
            child.wait()
            return f"no new input in {SILENT_S:.0f} s"
    if child.returncode == 0:
        return ""
    if child.returncode < 0:
        return f"died of {signal.Signals(-child.returncode).name}"
    return f"ended with {child.returncode}"


if __name__ == "__main__":
    main()
