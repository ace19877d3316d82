"""Build ``allsky360/sky/data/stars.npz`` from the Hipparcos-2 table (run by hand, not at install).

Usage: ``python deployments/build_catalogue.py hip2.dat allsky360/sky/data/stars.npz``

``hip2.dat`` is CDS I/311 (van Leeuwen 2007, public domain). It gives Hp, B-V and V-I but no V:

* V - Hp for B-V up to 1.03: Bessell (2000), PASP 112, 961, table 2 (with its own B-V scale);
* redder: knots in V-I through the Johnson V of 17 bright red giants (alpha Tau, beta And,
  gamma Cru, alpha Ori, alpha Sco ...), scatter 0.01 mag. M stars need V-I: their B-V saturates.

Hp of Sirius is spoilt by saturation in the new reduction; its published V is used.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

MAX_V = 8.0

BESSELL_BT_VT = np.arange(-0.25, 1.2001, 0.05)
# Table 2 of Bessell (2000), in mmag at each BT-VT: (B-V) - (BT-VT), then V - Hp.
_DBV = "31 21 11 5 2 -5 -10 -17 -20 -21 -23 -25 -25 -26 -30 -35 -45 -51 -60 -68 -76 -85 -94 -104"
_DBV += " -113 -122 -131 -142 -154 -166"
_V_HP = "66 51 36 21 6 -11 -25 -38 -48 -58 -69 -79 -87 -94 -101 -108 -114 -120 -127 -131 -134"
_V_HP += " -137 -142 -147 -151 -155 -158 -157 -160 -162"
BESSELL_DBV = np.array(_DBV.split(), dtype=float) / 1000
BESSELL_V_HP = np.array(_V_HP.split(), dtype=float) / 1000

RED_V_I = np.array([1.00, 1.22, 1.42, 1.54, 1.70, 1.85, 1.97, 2.30, 2.90, 5.71])
RED_V_HP = np.array([-0.160, -0.161, -0.150, -0.126, -0.112, -0.097, -0.081, -0.046, 0.084, 1.0])

PUBLISHED_V = {32349: -1.46}


def v_minus_hp(bv: np.ndarray, vi: np.ndarray) -> np.ndarray:
    """Return V - Hp from both colours."""
    blue = np.interp(bv, BESSELL_BT_VT + BESSELL_DBV, BESSELL_V_HP)
    red = np.interp(vi, RED_V_I, RED_V_HP)
    weight = np.clip((vi - 1.0) / 0.2, 0.0, 1.0)
    return (1 - weight) * blue + weight * red


def main(source: Path, target: Path) -> None:
    """Read ``hip2.dat``, write the packed arrays."""
    # 0 HIP, 4 RA, 5 Dec (rad), 6 parallax, 7 pmRA*, 8 pmDec (mas), 19 Hp, 23 B-V, 25 V-I
    table = np.genfromtxt(source, usecols=(0, 4, 5, 6, 7, 8, 19, 23, 25))
    hip, ra, dec, plx, pm_ra, pm_dec, hp, bv, vi = table.T
    v = hp + v_minus_hp(bv, vi)
    for number, published in PUBLISHED_V.items():
        v[hip == number] = published
    keep = np.flatnonzero(v <= MAX_V)
    keep = keep[np.argsort(v[keep], kind="stable")]
    np.savez_compressed(
        target,
        hip=hip[keep].astype(np.int32),
        ra_1e7deg=np.round(np.degrees(ra[keep]) * 1e7).astype(np.uint32),
        dec_1e7deg=np.round(np.degrees(dec[keep]) * 1e7).astype(np.int32),
        pm_ra_100uas=np.round(pm_ra[keep] * 10).astype(np.int32),
        pm_dec_100uas=np.round(pm_dec[keep] * 10).astype(np.int32),
        parallax_100uas=np.round(plx[keep] * 10).astype(np.int16),
        v_mmag=np.round(v[keep] * 1000).astype(np.int16),
        bv_mmag=np.round(bv[keep] * 1000).astype(np.int16),
    )
    print(f"{keep.size} stars to V = {MAX_V}: {target}, {target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
