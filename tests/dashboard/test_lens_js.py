"""What the browser computes itself, against the library: lens, panorama, the map's cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from allsky360.sky.lens import LensModel, fisheye
from allsky360.sky.sky_cells import sky_cells
from tests.dashboard.archive import CAMERA, DUSK, LENS, NIGHT, direction_picture
from tests.dashboard.conftest import Open
from tests.dashboard.visit import Visit

pytestmark = pytest.mark.slow


@pytest.fixture
def page(full: str, visit: Open) -> Visit:
    return visit(full).open("/docs")


def lenses() -> list[LensModel]:
    base: dict[str, Any] = {"width": 2000, "height": 1500, "cx": 990.0, "cy": 760.0}
    return [
        fisheye(1304, 976, rotation_deg=-143.0, tilt_north_deg=3.0, tilt_east_deg=-2.0),
        LensModel(**base, focal_px=480.0, projection="equisolid", k3=0.01, parity=1),
        LensModel(**base, focal_px=300.0, projection="stereographic", rotation_deg=77.0),
        LensModel(**base, focal_px=700.0, projection="orthographic", max_theta_deg=85.0),
    ]


@pytest.mark.parametrize("lens", lenses(), ids=lambda lens: lens.projection)
def test_the_lens_agrees_both_ways(page: Visit, lens: LensModel) -> None:
    rng = np.random.default_rng(5)
    x, y = rng.uniform(0, lens.width, 400), rng.uniform(0, lens.height, 400)
    altitude, azimuth = lens.unproject(x, y)
    there = page.run(
        """async ([model, xs, ys]) => {
            const { Lens } = await import('/static/lib/lens.js');
            const lens = new Lens(model);
            return xs.map((x, i) => {
                const at = lens.unproject(x, ys[i]);
                if (!at) return null;
                const { altitude_deg: alt, azimuth_deg: az } = at;
                return [alt, az, ...lens.project(alt, az)];
            });
        }""",
        [lens.as_dict(), x.tolist(), y.tolist()],
    )
    assert [t is None for t in there] == np.isnan(altitude).tolist()
    for i in np.flatnonzero(~np.isnan(altitude)):
        assert there[i][0] == pytest.approx(altitude[i], abs=1e-6)
        turn = (there[i][1] - azimuth[i] + 180) % 360 - 180
        assert turn * np.cos(np.radians(altitude[i])) == pytest.approx(0, abs=1e-6)
        assert there[i][2:] == pytest.approx([x[i], y[i]], abs=1e-5)


VIEWS = [
    {"kind": "window", "azimuth_deg": 200.0, "altitude_deg": 35.0, "field_deg": 80.0},
    {"kind": "planet", "azimuth_deg": 40.0, "altitude_deg": -90.0, "field_deg": 285.0},
    {"kind": "strip", "azimuth_deg": 10.0, "altitude_deg": 40.0, "field_deg": 200.0},
]


@pytest.mark.parametrize("how", ["webgl", "canvas"])
@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view["kind"])
def test_the_panorama_shows_what_lies_there(page: Visit, view: dict[str, Any], how: str) -> None:
    """The picture tells by its colour where it looks: so must every point of the panorama."""
    drawn = page.run(
        """async ([view, how, camera, night]) => {
            if (how === 'canvas') {
                const real = HTMLCanvasElement.prototype.getContext;
                HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
                    return kind === 'webgl2' ? null : real.call(this, kind, ...rest);
                };
            }
            const { Sphere } = await import('/static/lib/sphere.js');
            const { Lens } = await import('/static/lib/lens.js');
            const { direction } = await import('/static/lib/look.js');
            const found = await (await fetch(`/api/v1/frames/${night}/4/view`)).json();
            const image = new Image();
            image.src = `/api/v1/frames/${night}/4/picture`;
            await image.decode();
            const sphere = new Sphere('test');
            sphere.canvas.style.cssText = '';
            sphere.canvas.style.width = '300px';
            sphere.canvas.style.height = '200px';
            document.body.append(sphere.canvas);
            sphere.setPicture(image, new Lens(found.lens));
            sphere.draw(view);
            const flat = document.createElement('canvas');
            const { width, height } = sphere.canvas;
            Object.assign(flat, { width, height });
            const context = flat.getContext('2d');
            context.drawImage(sphere.canvas, 0, 0);
            const pixels = context.getImageData(0, 0, width, height).data, out = [];
            const step = width > 200 ? 9 : 5;
            for (let row = 3; row < height; row += step)
              for (let column = 3; column < width; column += step) {
                const x = ((column + 0.5) / width) * 2 - 1, y = (height - 1 - 2 * row) / width;
                const at = (row * width + column) * 4;
                out.push([...direction(view, x, y), pixels[at], pixels[at + 1], pixels[at + 2]]);
            }
            return { how: sphere.how, out };
        }""",
        [view, how, CAMERA, str(NIGHT)],
    )
    if how == "webgl" and drawn["how"] != "webgl":
        pytest.skip("this Chromium has no WebGL")
    assert drawn["how"] == how
    points = np.array(drawn["out"])
    up = points[:, 2]
    altitude = np.degrees(np.arcsin(up))
    inside = altitude > 3
    assert np.count_nonzero(inside) > 60
    azimuth = np.degrees(np.arctan2(points[:, 0], points[:, 1]))
    x, y, on = LENS.project(altitude, azimuth)
    inside &= on
    down = np.cos(np.radians(altitude))
    expected = np.stack(
        [
            40 + 200 * altitude / 90,
            128 + 100 * down * np.sin(np.radians(azimuth)),
            128 + 100 * down * np.cos(np.radians(azimuth)),
        ],
        axis=-1,
    )
    # 8-bit steps, JPEG, and a pixel of 0.6 degrees; a mirrored or turned sky is off by tens
    off = np.abs(points[inside, 3:] - expected[inside])
    assert off.max() < 10
    assert off.mean() < 1.5
    below = altitude < -8
    assert (points[below, 3:] < 20).all()
    assert direction_picture()[int(y[inside][0]), int(x[inside][0])].any()


def test_places_in_the_window_are_the_inverse_of_directions(page: Visit) -> None:
    worst = page.run(
        """async (views) => {
            const { direction, place } = await import('/static/lib/look.js');
            let worst = 0;
            for (const view of views)
              for (let x = -0.9; x < 1; x += 0.3) for (let y = -0.6; y < 0.7; y += 0.2) {
                const d = direction(view, x, y);
                if (view.kind === 'strip' && Math.abs(d[2]) > 0.999) continue;
                const at = place(view, d);
                const long = Math.abs(Math.hypot(...d) - 1);
                worst = Math.max(worst, Math.hypot(at[0] - x, at[1] - y), long);
            }
            return worst;
        }""",
        VIEWS,
    )
    assert worst < 1e-6  # acos near the axis


def test_cells_are_drawn_where_they_are(page: Visit) -> None:
    """The area of the drawn cells, weighted back onto the sphere, is that of the cells."""
    cells = sky_cells()
    shapes = page.run(
        """async (cells) => (await import('/static/lib/cells.js')).cellShapes(cells)""",
        {
            "altitude_deg": cells.altitude_deg.tolist(),
            "azimuth_deg": cells.azimuth_deg.tolist(),
        },
    )
    assert len(shapes) == len(cells)
    assert shapes[0]["low_deg"] == pytest.approx(cells.ring_edges_deg[0])
    for shape, alt, az in zip(shapes, cells.altitude_deg, cells.azimuth_deg, strict=True):
        points = np.array([p.split() for p in shape["path"][1:-1].split("L")], float)
        radius = 90 * (1 - np.hypot(*points.T))
        assert radius.min() == pytest.approx(shape["low_deg"], abs=0.02)
        assert shape["low_deg"] < alt < shape["high_deg"]
        if shape["high_deg"] < 89:
            middle = points.mean(axis=0)
            assert (np.degrees(np.arctan2(-middle[0], -middle[1])) - az + 180) % 360 == (
                pytest.approx(180, abs=0.2)
            )


def test_the_moon_is_lit_as_it_is(page: Visit) -> None:
    """Shoelace area of the lit part, from the path the browser draws."""
    for phase, side in ((45.0, 1), (135.0, 1), (225.0, -1), (315.0, -1)):
        lit, mean = page.run(
            """async (phase) => {
                const { moonPath } = await import('/static/lib/moon.js');
                const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
                path.setAttribute('d', moonPath(phase, 100));
                const n = 4000, length = path.getTotalLength();
                const at = (i) => path.getPointAtLength((i / n) * length);
                const p = Array.from({ length: n }, (_, i) => at(i));
                let area = 0, mean = 0;
                p.forEach((a, i) => {
                    const b = p[(i + 1) % n];
                    area += a.x * b.y - b.x * a.y;
                    mean += a.x / n;
                });
                return [Math.abs(area / 2) / (Math.PI * 100 * 100), mean];
            }""",
            phase,
        )
        assert lit == pytest.approx((1 - np.cos(np.radians(phase))) / 2, abs=0.01)
        assert np.sign(mean) == side


def test_dusk_is_what_the_archive_says(page: Visit) -> None:
    first = page.run(f"fetch('/api/v1/frames/{NIGHT}/0').then(r => r.json())")
    assert first["time"].startswith(DUSK.isoformat()[:16])
