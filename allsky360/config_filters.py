"""Settings of the picture filters: one small table each, named and documented like its keywords.

A field here has the name and the default of a keyword of the filter of the same name in
``allsky360/imaging/filters/``; a test holds the two together.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from allsky360.config_section import DisplayFilter, LinearFilter, Section


class AcdnrSettings(LinearFilter):
    """Adaptive contrast-driven noise reduction, luminance and colour apart."""

    amount_luminance: float = Field(
        0.8, ge=0, le=1, description="Share of the noise in brightness taken away."
    )
    amount_chrominance: float = Field(
        0.9, ge=0, le=1, description="Share of the noise in colour taken away."
    )
    scales_luminance: int = Field(
        4, ge=2, le=7, description="Scales of brightness: 1, 2, 4, 8 pixels and so on."
    )
    scales_chrominance: int = Field(
        4,
        ge=1,
        le=6,
        description="Scales of colour beyond the pixel: 2, 4, 8, 16 pixels and so on.",
    )
    threshold_luminance: float = Field(
        2.5, ge=0.1, le=20, description="Sigmas up to which a detail of brightness is noise."
    )
    threshold_chrominance: float = Field(
        3.0, ge=0.1, le=20, description="Sigmas up to which a detail of colour is noise."
    )
    protect: float = Field(
        4.5, ge=0.1, le=100, description="Sigmas from which a fine detail is a star or an edge."
    )
    protect_px: int = Field(
        4, ge=0, le=16, description="Reach of protection around stars and edges, pixels."
    )


class ClaritySettings(DisplayFilter):
    """Local contrast of the midtones."""

    amount: float = Field(0.5, ge=0, le=5, description="Share of the local detail added once more.")
    radius_px: float = Field(32.0, ge=4, le=200, description="Reach of local, pixels.")
    threshold: float = Field(
        2.0, ge=0, le=10, description="Noise sigmas under which a detail is left alone."
    )


class CropSettings(DisplayFilter):
    """Rectangle that is kept of the picture."""

    left: int = Field(0, ge=0, description="First column.")
    top: int = Field(0, ge=0, description="First row.")
    width: int = Field(0, ge=0, description="Columns; 0: to the right edge.")
    height: int = Field(0, ge=0, description="Rows; 0: to the bottom edge.")


class DehazeSettings(LinearFilter):
    """Removal of haze and light pollution that grow toward the horizon."""

    amount: float = Field(0.7, ge=0, le=1, description="Share of the veil taken away.")
    opacity: float = Field(
        0.3, ge=0, le=1, description="Share of the light behind the thickest veil that it hides."
    )


class FlipSettings(DisplayFilter):
    """Mirroring of the picture."""

    horizontal: bool = Field(False, description="Swap left and right.")
    vertical: bool = Field(False, description="Swap top and bottom.")


class FuseSettings(LinearFilter):
    """Exposure fusion, in the place of the stretch."""

    background: float = Field(
        0.20, ge=0.02, le=0.8, description="Display level of the sky in the exposure at 0 EV."
    )
    brightest_ev: float = Field(
        1.0, ge=-2, le=6, description="Stops by which the brightest exposure is brighter than that."
    )
    step_ev: float = Field(2.0, ge=0.5, le=4, description="Stops between exposures.")
    exposures: int = Field(4, ge=1, le=8, description="Number of exposures.")
    contrast: float = Field(
        0.0, ge=0, le=2, description="Power by which contrast weighs; at night it is mostly noise."
    )
    chroma_floor: float = Field(
        0.1, ge=0, le=2, description="Light, as a share of the sky's, below which colour fades."
    )


class GradientSettings(LinearFilter):
    """Subtraction of a smooth background."""

    amount: float = Field(1.0, ge=0, le=1, description="Share of the gradient taken away.")
    degree: int = Field(2, ge=1, le=6, description="Degree of the polynomial in the position.")


class LocalHistogramSettings(DisplayFilter):
    """Local histogram normalisation."""

    amount: float = Field(0.5, ge=0, le=1, description="Share of the way to the normalised.")
    radius_px: int = Field(96, ge=16, le=1000, description="Reach of the neighbourhood, pixels.")
    limit: float = Field(1.8, ge=1, le=10, description="Largest factor on contrast, about.")


class NeutraliseSettings(LinearFilter):
    """Grey background of the darkest sky."""

    amount: float = Field(1.0, ge=0, le=1, description="Share of its colour taken away.")
    share: float = Field(0.3, ge=0.05, le=1, description="Darkest share of the sky made grey.")


class MaskSettings(DisplayFilter):
    """Cover over what is not sky."""

    shape: Literal["auto", "circle", "file"] = Field(
        "auto", description="Circle that is found, circle given here, or a picture."
    )
    center_x_px: float | None = Field(None, description="Its column; left out: the middle.")
    center_y_px: float | None = Field(None, description="Its row; left out: the middle.")
    radius_px: float | None = Field(
        None, gt=0, description="Its radius; left out: half of the short side."
    )
    file: str = Field("", description="Picture of the frame's size, white where sky is.")
    soft_px: float = Field(8.0, ge=0, le=500, description="Width of the soft edge, pixels.")
    outside: tuple[float, float, float] = Field(
        (0.0, 0.0, 0.0), description="Red, green, blue (0 to 1) of what is covered."
    )


class MedianSettings(LinearFilter):
    """Removal of single defects that were left on the mosaic."""

    amount: float = Field(1.0, ge=0, le=1, description="Share of the correction applied.")
    size: Literal[3, 5] = Field(
        3, description="Window; 5 also removes what debayering made of a hot pixel."
    )
    sigmas: float = Field(
        6.0, ge=0, le=100, description="How far a defect stands out of the noise; 0: plain median."
    )
    channels: Literal["each", "luminance"] = Field(
        "each", description="Each colour by itself, or brightness alone."
    )
    keep_stars: bool = Field(
        True, description="Replace nothing that is spread and coloured like a star."
    )


class MultiscaleMedianSettings(LinearFilter):
    """Removal of hot pixels and blotches, scale by scale."""

    amounts: tuple[float, ...] = Field(
        (0.7, 0.7, 0.7, 0.5),
        min_length=1,
        max_length=6,
        description="Share of the noise taken away at 1, 2, 4, 8 pixels, each 0 to 1.",
    )
    threshold: float = Field(
        2.5, ge=0.1, le=20, description="Sigmas up to which a detail is noise."
    )
    hot_sigmas: float = Field(
        6.0, ge=0, le=100, description="Sigmas by which a hot pixel stands out; 0: leave them."
    )
    protect: float = Field(
        4.5, ge=0.1, le=100, description="Sigmas from which a fine detail is a star or an edge."
    )
    protect_px: int = Field(
        4, ge=0, le=16, description="Reach of protection around stars and edges, pixels."
    )


class RotateSettings(DisplayFilter):
    """Turning of the picture."""

    angle_deg: float = Field(
        0.0, ge=-360, le=360, description="Counterclockwise; multiples of 90 are exact."
    )
    interpolation: Literal["bilinear", "lanczos"] = Field(
        "bilinear", description="Between pixels, for other angles."
    )


class GammaSettings(DisplayFilter):
    """A last bend of the tones."""

    value: float = Field(1.1, ge=0.2, le=5, description="Above 1 brighter, below 1 darker.")


class SaturationSettings(DisplayFilter):
    """Colourfulness, hue and lightness kept."""

    amount: float = Field(1.5, ge=0, le=4, description="Factor on chroma; 1 keeps it.")


class ScnrSettings(LinearFilter):
    """Removal of excess green."""

    amount: float = Field(0.8, ge=0, le=1, description="Share of the excess green taken away.")
    protection: Literal["average", "maximum"] = Field(
        "average", description="Green may be as large as the mean, or the larger, of red and blue."
    )
    keep_luminance: bool = Field(True, description="Keep brightness where green was taken away.")


class SharpenSettings(DisplayFilter):
    """Sharpening by wavelets."""

    gains: tuple[
        Annotated[float, Field(ge=0, le=10)],
        Annotated[float, Field(ge=0, le=10)],
        Annotated[float, Field(ge=0, le=10)],
        Annotated[float, Field(ge=0, le=10)],
    ] = Field(
        (0.4, 0.3, 0.0, 0.0),
        description="Share of details of 1, 2, 4 and 8 pixels added (0 to 10).",
    )
    threshold: float = Field(
        3.0, ge=0, le=20, description="Noise sigmas under which a detail is left alone."
    )
    overshoot: float = Field(
        0.01, ge=0, le=0.02, description="Share of the local range by which a pixel may leave it."
    )


class StretchSettings(LinearFilter):
    """The curve from linear light to the picture."""

    method: Literal["asinh", "mtf", "ghs", "reinhard", "linear"] = Field(
        "asinh", description="Curve."
    )
    background: float = Field(
        0.20, gt=0, lt=0.9, description="Display level (0 to 1) the sky is put at."
    )
    intensity: float = Field(
        2.0, ge=-1, le=15, description="Shape of ghs: how local its contrast is."
    )
    linked: bool = Field(True, description="One curve for luminance; false: one for each colour.")
    chroma_floor: float = Field(
        0.2, ge=0, le=2, description="Height above black, of the sky's, under which colour fades."
    )


class ToneMapSettings(LinearFilter):
    """Local tone mapping: large brightnesses drawn together, details kept."""

    highlights: float = Field(
        0.3, ge=0, le=0.9, description="Share of log brightness above the sky's taken away."
    )
    shadows: float = Field(0.4, ge=0, le=0.9, description="The same below the sky's brightness.")
    radius_px: float = Field(160.0, ge=16, le=1000, description="Reach of large-scale, pixels.")


class FilterSettings(Section):
    """Settings of each picture filter, for every profile."""

    acdnr: AcdnrSettings = Field(default_factory=AcdnrSettings)
    clarity: ClaritySettings = Field(default_factory=ClaritySettings)
    crop: CropSettings = Field(default_factory=CropSettings)
    dehaze: DehazeSettings = Field(default_factory=DehazeSettings)
    flip: FlipSettings = Field(default_factory=FlipSettings)
    fuse: FuseSettings = Field(default_factory=FuseSettings)
    gradient: GradientSettings = Field(default_factory=GradientSettings)
    local_histogram: LocalHistogramSettings = Field(default_factory=LocalHistogramSettings)
    mask: MaskSettings = Field(default_factory=MaskSettings)
    median: MedianSettings = Field(default_factory=MedianSettings)
    multiscale_median: MultiscaleMedianSettings = Field(default_factory=MultiscaleMedianSettings)
    neutralise: NeutraliseSettings = Field(default_factory=NeutraliseSettings)
    rotate: RotateSettings = Field(default_factory=RotateSettings)
    gamma: GammaSettings = Field(default_factory=GammaSettings)
    saturation: SaturationSettings = Field(default_factory=SaturationSettings)
    scnr: ScnrSettings = Field(default_factory=ScnrSettings)
    sharpen: SharpenSettings = Field(default_factory=SharpenSettings)
    stretch: StretchSettings = Field(default_factory=StretchSettings)
    tone_map: ToneMapSettings = Field(default_factory=ToneMapSettings)


class ProfilesSettings(Section):
    """Steps of each profile, in order; keywords may follow in brackets: clarity(amount=0.3)."""

    clear: tuple[str, ...] = Field(
        (
            "acdnr(amount_luminance=0.75)",
            "stretch(method='ghs', intensity=1, background=0.22)",
            "clarity",
            "sharpen",
            "saturation",
        ),
        description="A clear, moonless night.",
    )
    moonlit: tuple[str, ...] = Field(
        (
            "acdnr(amount_luminance=0.75)",
            "tone_map",
            "stretch(method='ghs', intensity=1, background=0.22)",
            "clarity",
            "sharpen",
            "saturation",
        ),
        description="A night with the Moon up.",
    )
    cloudy: tuple[str, ...] = Field(
        (
            "acdnr(amount_luminance=0.75)",
            "tone_map",
            "stretch(method='ghs', intensity=1, background=0.24)",
            "clarity(amount=0.6)",
            "saturation",
        ),
        description="A covered night.",
    )
    day: tuple[str, ...] = Field(
        ("stretch(background=0.42)", "local_histogram", "clarity", "saturation"),
        description="Day, and the bright part of twilight.",
    )
