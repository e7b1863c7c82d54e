"""Views of a raster, computed while it is read: nodata as told, a palette's colours, resampled."""

import contextlib
import math
import pathlib
import uuid
from xml.etree import ElementTree

import numpy as np

from rrsis_jax.geospatial import georeference  # names the extra where rasterio is missing

# isort: split

import rasterio
import rasterio.dtypes
import rasterio.enums
import rasterio.shutil
import rasterio.vrt

_COMPONENTS = ("Red", "Green", "Blue", "Alpha")  # of a palette, in GDAL's order


def open_as_told(path: pathlib.Path | str, nodata: float | None, stack: contextlib.ExitStack):
    """Opens a raster, with the nodata value that is told and the colours of its palette.

    Args:
      path: see `georeference.open_raster`.
      nodata: value of pixels without data; None for what the file says.
      stack: closes it.

    Raises:
      ValueError: if it cannot be read, or its pixels cannot have the value.
    """
    dataset = stack.enter_context(georeference.open_raster(path))
    if nodata is not None:
        dataset = _with_nodata(dataset, nodata, stack)
    if dataset.colorinterp[0] == rasterio.enums.ColorInterp.palette:
        dataset = _with_colours(dataset, stack)
    return dataset


def has_alpha(dataset) -> bool:
    """Whether a raster has a band of transparency."""
    return rasterio.enums.ColorInterp.alpha in dataset.colorinterp


def resampled(dataset, factors: np.ndarray):
    """Returns a view with `factors` times the rows and columns."""
    height, width = (max(1, math.ceil(x)) for x in factors * (dataset.height, dataset.width))
    old = dataset.transform
    by_x, by_y = dataset.width / width, dataset.height / height
    return rasterio.vrt.WarpedVRT(
        dataset,
        crs=dataset.crs,
        transform=rasterio.Affine(
            old.a * by_x, old.b * by_y, old.c, old.d * by_x, old.e * by_y, old.f
        ),
        height=height,
        width=width,
        resampling=rasterio.enums.Resampling.bilinear,
        add_alpha=dataset.nodata is None and not has_alpha(dataset),
    )


def _with_nodata(dataset, nodata: float, stack: contextlib.ExitStack):
    """Returns a view whose pixels of a value have no data.

    Raises:
      ValueError: if pixels of that type cannot have the value.
    """
    if not all(rasterio.dtypes.can_cast_dtype((nodata,), kind) for kind in dataset.dtypes):
        raise ValueError(
            f"nodata is {nodata:g}, which pixels of {dataset.dtypes[0]} cannot be. Give the value "
            "that pixels without data have."
        )
    path = f"/vsimem/{uuid.uuid4()}.vrt"
    rasterio.shutil.copy(dataset, path, driver="VRT")
    stack.callback(rasterio.shutil.delete, path)
    with rasterio.open(path, "r+") as view:
        view.nodata = nodata
    return stack.enter_context(rasterio.open(path))


def _with_colours(dataset, stack: contextlib.ExitStack):
    """Returns a view of a raster with a palette as red, green, blue and alpha."""
    root = ElementTree.Element(
        "VRTDataset", rasterXSize=str(dataset.width), rasterYSize=str(dataset.height)
    )
    if dataset.crs is not None:
        ElementTree.SubElement(root, "SRS").text = dataset.crs.to_wkt()
    if not dataset.transform.is_identity:
        numbers = ", ".join(repr(x) for x in dataset.transform.to_gdal())
        ElementTree.SubElement(root, "GeoTransform").text = numbers
    for number, name in enumerate(_COMPONENTS, start=1):
        band = ElementTree.SubElement(root, "VRTRasterBand", dataType="Byte", band=str(number))
        ElementTree.SubElement(band, "ColorInterp").text = name
        source = _add_source(band, "ComplexSource", dataset.name, "1")
        ElementTree.SubElement(source, "ColorTableComponent").text = str(number)
    mask = ElementTree.SubElement(ElementTree.SubElement(root, "MaskBand"), "VRTRasterBand")
    mask.set("dataType", "Byte")
    _add_source(mask, "SimpleSource", dataset.name, "mask,1")
    document = ElementTree.tostring(root, encoding="unicode")
    return stack.enter_context(rasterio.open(document))


def _add_source(band: ElementTree.Element, kind: str, name: str, number: str):
    source = ElementTree.SubElement(band, kind)
    ElementTree.SubElement(source, "SourceFilename", relativeToVRT="0").text = name
    ElementTree.SubElement(source, "SourceBand").text = number
    return source
