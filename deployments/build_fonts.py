"""Build ``allsky360/overlay/fonts/*.ttf``, the fonts of the overlay (run by hand, not at install).

Usage: ``python deployments/build_fonts.py TTF_FOLDER allsky360/overlay/fonts``

``TTF_FOLDER`` is ``package/ttf`` of the npm package dejavu-fonts-ttf 2.37.3. Only what names of
stars and sites need is kept: Latin, Greek, raised figures, units and signs.

Needs fonttools beside the project's own packages.
"""

from __future__ import annotations

import sys
from pathlib import Path

FONTS = ("DejaVuSansCondensed.ttf", "DejaVuSansCondensed-Bold.ttf")
RANGES = [(0x20, 0x7E), (0xA0, 0x17F), (0x218, 0x21B), (0x370, 0x3FF), (0x1E00, 0x1EFF)]
SIGNS = "‐–—‘’“”„…′″⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉€←↑→↓−∞≈≠≤≥★☆☉☽☾☿♀♁♂♃♄♅♆°µ\N{REPLACEMENT CHARACTER}"


def main(source: Path, target: Path) -> None:
    """Write one subset a font."""
    from fontTools import subset

    wanted = [c for first, last in RANGES for c in range(first, last + 1)] + [ord(s) for s in SIGNS]
    for name in FONTS:
        options = subset.Options(hinting=False, layout_features=["kern", "mark", "ccmp"])
        options.name_IDs = ["*"]  # keep copyright and licence in the file
        font = subset.load_font(str(source / name), options)
        subsetter = subset.Subsetter(options)
        subsetter.populate(unicodes=wanted)
        subsetter.subset(font)
        subset.save_font(font, str(target / name), options)
        print(f"{name}: {(target / name).stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
