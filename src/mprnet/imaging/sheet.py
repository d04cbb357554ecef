"""Contact sheets: pictures side by side, with captions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mprnet.errors import ImageError
from mprnet.files import PathLike
from mprnet.imaging.files import check_target, write_image
from mprnet.imaging.formats import FORMATS
from mprnet.imaging.thumbnails import first_frame, shrunk, thumbnail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CELL_PX = 480
_CAPTION_PX, _GAP_PX = 28, 8


def contact_sheet(
    rows: Sequence[Sequence[tuple[str, NDArray[np.uint8]]]], *, cell_px: int = CELL_PX
) -> NDArray[np.uint8]:
    """Lay pictures out in rows, each under its caption.

    Args:
        rows: the rows from the top; each is captions and pictures `(H, W, 3)`, uint8, from the left.
        cell_px: a picture is shrunk, never enlarged, until its longer side fits this.

    Returns:
        NDArray: the sheet, `(H, W, 3)`, uint8.

    Raises:
        ImageError: there is no picture.
    """
    if not any(rows):
        raise ImageError("got no pictures; expected at least one row with one picture")
    small = [[(caption, Image.fromarray(shrunk(pixels, cell_px))) for caption, pixels in row] for row in rows if row]
    heights = [max(picture.height for _, picture in row) + _CAPTION_PX for row in small]
    width = max(sum(picture.width + _GAP_PX for _, picture in row) for row in small) + _GAP_PX
    sheet = Image.new("RGB", (width, sum(heights) + _GAP_PX * (len(heights) + 1)), (24, 24, 24))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=16)
    top = _GAP_PX
    for row, height in zip(small, heights, strict=True):
        left = _GAP_PX
        for caption, picture in row:
            draw.text((left, top + 4), caption, fill=(230, 230, 230), font=font)
            sheet.paste(picture, (left, top + _CAPTION_PX))
            left += picture.width + _GAP_PX
        top += height + _GAP_PX
    return np.asarray(sheet)


def compare(
    groups: Sequence[Sequence[PathLike]], out: PathLike, *, cell_px: int = CELL_PX, overwrite: bool = False
) -> None:
    """Write a sheet of pictures before and after, a row each, matched by name; of animations the first frames.

    Args:
        groups: in each the folders that are the columns of its rows, such as before and after.
        out: the sheet, a PNG or JPEG; its folder is made where missing.
        cell_px: the longer side of a picture on the sheet, in pixels.
        overwrite: replace a file that is already there.

    Raises:
        ImageError: a folder does not exist, no name stands in all folders of a group, a picture cannot be read,
            or the sheet cannot be written.
    """
    out = Path(out)
    check_target(out, overwrite)
    rows = []
    for group in groups:
        first, *others = columns = [(Path(folder), _by_name(Path(folder))) for folder in group]
        names = [name for name in first[1] if all(name in paths for _, paths in others)]
        if not names:
            after = " and ".join(str(folder) for folder, _ in others)
            raise ImageError(f"no picture of {first[0]} has a partner of its name in {after}; expected at least one")
        rows += [
            [
                (f"{folder.name or folder}: {paths[name].name}", thumbnail(first_frame(paths[name]), cell_px).rgb())
                for folder, paths in columns
            ]
            for name in names
        ]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(f"{out} cannot be written: {error.strerror or error}") from error
    write_image(contact_sheet(rows, cell_px=cell_px), out, overwrite=overwrite)


def _by_name(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise ImageError(f"{folder} is not a folder; expected one with pictures")
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix.lower() in FORMATS}
