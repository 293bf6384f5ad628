"""Opening picture files: what Pillow would read wrongly is an error, and so is what it cannot read.

Only a damaged file is said to be damaged. A sound one that is not read here (a deep or many-banded
raster, a scene larger than the memory) is named by what it is, with a command that converts it.
"""

from __future__ import annotations

import contextlib
import os
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from PIL import ExifTags, Image, ImageOps, TiffImagePlugin

from ..errors import UserError
from ..files import open_regular
from ..rle import MOST_PIXELS

AGAIN = 'fetch the file again'
_BYTES_PER_PIXEL = 10  # Pillow holds 4, the array and the tensor 3 each
_MUCH = 2**26  # pixels from which on the free memory is asked for
# Pillow takes a scene of 179 megapixels for an attack. The limit here is `_require_room`'s; Pillow
# warns above its own, and refuses twice as much.
if Image.MAX_IMAGE_PIXELS is not None:
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, MOST_PIXELS)
# An error that says more follows these, or nothing that we use is wrong.
warnings.filterwarnings('ignore', category=Image.DecompressionBombWarning)
warnings.filterwarnings('ignore', module=r'PIL\.TiffImagePlugin')
# Rasters that Pillow has no reader for, by how they begin.
_OTHERS = {
    b'\x89HDF': 'HDF5',
    b'CDF': 'NetCDF',
    b'NITF': 'NITF',
    b'8BPS': 'Photoshop',
    b'v/1\x01': 'OpenEXR',
    b'\xff\x0a': 'JPEG XL',
    b'%PDF': 'PDF',
    b'EHFA': 'Erdas Imagine',
}
_COMPRESSIONS = {
    1: 'none',
    2: 'CCITT',
    3: 'CCITT',
    4: 'CCITT',
    5: 'LZW',
    6: 'JPEG',
    7: 'JPEG',
    8: 'deflate',
    32773: 'packbits',
    32946: 'deflate',
    34887: 'LERC',
    34925: 'LZMA',
    50000: 'ZSTD',
    50001: 'WebP',
    50002: 'JPEG XL',
}
_COMMON = ('none', 'CCITT', 'LZW', 'JPEG', 'deflate', 'packbits')


def open_picture(
    path: str | os.PathLike, *, what: str = 'the image', upright: bool = False
) -> Image.Image:
    """The picture in the file, decoded to its end.

    EXIF orientation: cameras store a picture as the sensor lies and a number from 1 to 8 that says
    how to turn it. `upright` turns it, as viewers show it. Otherwise the picture must not need it,
    as nobody can say whether the masks beside it were drawn on the pixels as they are stored or as
    they are shown.

    Args:
        what: What the file should hold, for messages.

    Raises:
        UserError: there is no such file, it is damaged, of a kind that is not read, too large, has
            more than 8 bits in one of several channels, or is turned (see above).
    """
    location = f'{os.fsdecode(path)!r}: {what}'
    with open_regular(path, what=what) as file:
        try:
            with Image.open(file) as opened:
                image: Any = opened  # `tile`, `tag_v2`: of some formats alone
                _require_room(image.width, image.height, location)
                _require_readable(image, file, location)
                # Pillow turns a TIFF itself as it loads it; a PNG may tell at its end.
                turned = _orientation(image) if image.format == 'TIFF' else 1
                image.load()
                if image.format != 'TIFF':
                    turned = _orientation(image)
                    if turned != 1 and upright:
                        image = ImageOps.exif_transpose(image)
        except UserError:
            raise
        except (MemoryError, Image.DecompressionBombError):
            raise too_large(location) from None
        except Exception as error:  # Pillow's decoders raise many types for a damaged file
            raise UserError(f'{location} {_fault(file, error)}') from error
    if turned != 1 and not upright:
        raise UserError(
            f'{location} has the EXIF orientation {turned}: its stored pixels are not as viewers show '
            'them. Where masks were drawn on what is shown, turn the pixels (magick IN '
            '-auto-orient OUT); where they fit the stored pixels, remove the tag (exiftool '
            '-Orientation= IN)'
        )
    return image


def is_turned(path: str | os.PathLike, *, what: str = 'the image') -> bool:
    """Whether viewers turn the picture, as `open_picture` does with `upright`.

    Raises:
        UserError: it cannot be opened.
    """
    with open_regular(path, what=what) as file:
        try:
            with Image.open(file) as image:
                return _orientation(image) != 1
        except Exception as error:  # as above
            raise UserError(f'{os.fsdecode(path)!r}: {what} {_fault(file, error)}') from error


def _require_readable(image: Image.Image, file: BinaryIO, location: str) -> None:
    if image.format == 'EPS':  # Pillow has Ghostscript run it, and it is a program
        raise UserError(f'{location} is an EPS, which is not read: convert it to PNG')
    if image.format == 'PNG':
        _require_whole_png(file)
    bits = _bits(image, file)
    if bits > 8 and image.mode[0] not in 'IF':  # Pillow would drop the low bits without a word
        raise too_deep(location, f'{bits} bits')


def _require_whole_png(file: BinaryIO) -> None:
    """Its end is there and every checksum is right, which decoding does not look at: a flipped bit
    may give other pixels without a word."""
    place = file.tell()
    file.seek(0)
    with Image.open(file) as image:
        image.verify()  # up to the checksum of the last chunk
    if len(file.read(4)) < 4:
        raise SyntaxError('truncated PNG file')
    file.seek(place)


def too_deep(location: str, bits: str) -> UserError:
    """What is said of a picture with more than 8 bits a channel."""
    return UserError(
        f'{location} has more than 8 bits a channel ({bits}), and the range to show is '
        'unknown: convert it to 8-bit RGB or grey, e.g. gdal_translate -ot Byte '
        '-scale IN OUT.png'
    )


def _bits(image: Any, file: BinaryIO) -> int:
    """Bits of a channel as the file has them, not as Pillow hands them over."""
    if image.format == 'TIFF':
        return max(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    if image.format in ('JPEG2000', 'ICNS'):
        return (_jpeg2000(file) or Layout('JPEG 2000', 3, 8)).bits
    if image.format == 'AVIF':
        file.seek(0)
        at = (head := file.read(4096)).find(b'av1C')
        return 10 if 0 <= at < len(head) - 6 and head[at + 6] & 0x40 else 8
    decoders = str([(tile[0], tile[3]) for tile in image.tile])
    deep = (
        ';16' in decoders
        or 'SGI16' in decoders
        or (
            image.format == 'PPM'
            and image.tile
            and isinstance(image.tile[0][3], tuple)
            and isinstance(image.tile[0][3][-1], int)
            and image.tile[0][3][-1] > 255
        )
    )
    return 16 if deep else 8


def _orientation(image: Image.Image) -> int:
    """How the picture must be turned, 1 to 8; 1 where the file does not say."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (SyntaxError, ValueError, KeyError, IndexError, TypeError, OSError, struct.error):
        return 1  # what viewers make of damaged EXIF, too
    return found if found in range(2, 9) else 1


# ---------------------------------------------------------------- size


def _require_room(width: int, height: int, location: str) -> None:
    pixels = width * height
    if pixels > MOST_PIXELS or (pixels > _MUCH and pixels * _BYTES_PER_PIXEL > _free_memory()):
        raise too_large(f'{location} of {width} x {height} pixels')


def too_large(location: str) -> UserError:
    """What is said of a picture that the memory does not hold."""
    return UserError(
        f'{location} is larger than the memory allows: cut it into parts, e.g. '
        'gdal_translate -srcwin 0 0 2048 2048 IN OUT.png'
    )


@contextlib.contextmanager
def memory_errors_reported(location: str) -> Iterator[None]:
    """Within the block, a lack of memory is a UserError."""
    try:
        yield
    except MemoryError:
        raise too_large(location) from None


def _free_memory() -> float:
    """Bytes that this process may still take, as the system and its container tell."""
    found = [float('inf')]
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = Path('/proc/meminfo').read_text().splitlines()
        found.extend(1024 * int(line.split()[1]) for line in lines if 'MemAvailable' in line)
    for folder, most, used in (
        ('', 'memory.max', 'memory.current'),
        ('memory', 'memory.limit_in_bytes', 'memory.usage_in_bytes'),
    ):
        with contextlib.suppress(OSError, ValueError):  # 'max' is no number: no limit
            limits = [
                int((Path('/sys/fs/cgroup') / folder / name).read_text()) for name in (most, used)
            ]
            found.append(limits[0] - limits[1])
    return min(found)


# ---------------------------------------------------------------- files that Pillow does not read


class Layout(NamedTuple):
    """What a raster file says of itself."""

    kind: str
    bands: int
    bits: int
    compression: str = ''
    whole: bool = True  # all of the bytes that it names are there


def _fault(file: BinaryIO, error: Exception) -> str:
    """What is wrong with a file that Pillow does not read, and a way out."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(32)
    if not head:
        return f'cannot be read (the file is empty): {AGAIN}'
    kind = next((kind for begin, kind in _OTHERS.items() if head.startswith(begin)), None)
    if head[4:12] in (b'ftypheic', b'ftypheix', b'ftypmif1', b'ftypheif'):
        kind = 'HEIF'
    if kind is not None:
        return f'is {kind}, which is not read: convert it to PNG'
    found = _tiff(file, size) or _jpeg2000(file)
    if found is not None and found.whole:
        sound = (
            found.bits == 8
            and found.bands in (1, 3)
            and found.compression in _COMMON
            and found.kind == 'TIFF'
        )
        if not sound:
            options = '-ot Byte -scale ' * (found.bits > 8) + '-b 1 -b 2 -b 3 ' * (found.bands > 3)
            compressed = f', compression {found.compression}' if found.compression else ''
            return (
                f'is a {found.kind} of {found.bands} band{"s" * (found.bands > 1)} of '
                f'{found.bits} bits{compressed}, a kind that is not read: convert it to 8-bit '
                f'RGB or grey, e.g. gdal_translate {options}IN OUT.png'
            )
    return f'cannot be read ({reason(error)}): {AGAIN}'


def _tiff(file: BinaryIO, size: int) -> Layout | None:
    try:
        file.seek(0)
        head = file.read(8)
        if head[2:4] in (b'+\0', b'\0+'):
            head += file.read(8)
        tags = TiffImagePlugin.ImageFileDirectory_v2(head)
        file.seek(tags.next)
        tags.load(file)
        bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))
        compression = tags.get(TiffImagePlugin.COMPRESSION, 1)
        ends = [0]
        for begins, counts in (
            (TiffImagePlugin.STRIPOFFSETS, TiffImagePlugin.STRIPBYTECOUNTS),
            (TiffImagePlugin.TILEOFFSETS, TiffImagePlugin.TILEBYTECOUNTS),
        ):
            if begins in tags and counts in tags:
                ends.extend(map(sum, zip(tags[begins], tags[counts], strict=False)))
        whole = TiffImagePlugin.IMAGEWIDTH in tags and 0 < max(ends) <= size
        return Layout(
            'TIFF',
            int(tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)),
            max(bits),
            _COMPRESSIONS.get(compression, str(compression)),
            whole,
        )
    except (SyntaxError, ValueError, KeyError, IndexError, TypeError, OSError, struct.error):
        return None


def _jpeg2000(file: BinaryIO) -> Layout | None:
    """Of the codestream's SIZ segment; whole where the codestream has its end mark."""
    place = file.tell()
    file.seek(0)
    content = file.read()
    file.seek(place)
    at = content.find(b'\xff\x4f\xff\x51')
    if at < 0 or len(content) < at + 43:
        return None
    (bands,) = struct.unpack_from('>H', content, at + 40)
    depths = content[at + 42 : at + 42 + 3 * bands : 3]
    if not depths:
        return None
    return Layout(
        'JPEG 2000',
        bands,
        max((depth & 0x7F) + 1 for depth in depths),
        whole=content.rfind(b'\xff\xd9') > at,
    )


def reason(error: Exception) -> str:
    """The error's text in one line."""
    text = ' '.join(str(error).split())
    if isinstance(error, Image.UnidentifiedImageError):
        return 'not an image file'
    return text or type(error).__name__
