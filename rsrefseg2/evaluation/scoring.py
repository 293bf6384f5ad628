"""Scoring what any model has predicted: dumps, and folders of mask files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import UserError
from ..rle import decode
from .bootstrap import ImageSums
from .dump_records import Annotated, masks_of, read_dump
from .protocols import Protocol
from .score_report import Report

MASK_SUFFIXES = ('.png', '.tif', '.tiff', '.bmp', '.gif')


class Sample(NamedTuple):
    """One sample to be scored."""

    record: dict[str, Any]  # id, and what is known of it: file, sentence, category ...; of a dump
    # also `where`, its file and line
    prediction: np.ndarray  # (H, W) bool
    ground_truth: np.ndarray  # (H, W) bool


def dumped_samples(path: str | Path) -> Iterator[Sample]:
    """The samples of a dump."""
    yield from map(sample_of, read_dump(path))


def sample_of(record: Mapping[str, Any]) -> Sample:
    """The sample of a record of `read_dump`, its masks decoded."""
    return Sample(
        {key: value for key, value in record.items() if key not in ('prediction', 'ground_truth')},
        *masks_of(record),
    )


def annotated_samples(source: str | Path | Sequence) -> Iterator[Sample]:
    """The annotated side alone, of a dump (whose lines may lack a prediction) or of a data set (its
    items are `{'data_samples': RefSegDataSample}`); the predictions are empty."""
    if isinstance(source, (str, Path)):
        for record in read_dump(source, Annotated):
            gt = decode(record['ground_truth'], location=f'{record["location"]} ground_truth')
            keys = ('id', 'file', 'sentence', 'category', 'level', 'rule', 'location')
            yield Sample({key: record.get(key) for key in keys}, np.zeros_like(gt), gt)
        return
    for index in range(len(source)):
        item: Any = source[index]
        sample = item['data_samples']
        gt = sample.gt_mask.numpy()
        yield Sample(
            dict(
                id=sample.sample_id,
                file=sample.img_path,
                sentence=sample.text,
                category=sample.category,
            ),
            np.zeros_like(gt),
            gt,
        )


def with_masks(
    samples: Iterable[Sample], folder: str | Path, read_mask: Callable[[str], np.ndarray]
) -> Iterator[Sample]:
    """The samples with the predictions of a folder, one file per sample: <id>.png, or .tif ...

    Raises:
        UserError: the folder is missing, has no file for a sample, has two, or has a file that
            belongs to none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f'{folder} is no folder: give the folder of the predicted masks')
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in MASK_SUFFIXES:
            if path.stem in files:
                raise UserError(
                    f'{path} and {files[path.stem].name} are both the mask of sample '
                    f'{path.stem}: keep one'
                )
            files[path.stem] = path
    for sample in samples:
        name = sample.record['id']
        if name not in files:
            raise UserError(f'{folder} has no mask for sample {name}: expected {name}.png')
        yield sample._replace(prediction=read_mask(str(files.pop(name))))
    if files:
        shown = ', '.join(path.name for path in list(files.values())[:3])
        raise UserError(
            f'{folder}: {len(files)} masks belong to no sample ({shown}): they are of '
            'another split, or their names are not the ids'
        )


def score_record(sample: Sample, protocol: Protocol) -> dict[str, Any]:
    """The sample's record with area, intersection, union and iou under the protocol."""
    intersection, union = protocol.overlap(
        sample.prediction, sample.ground_truth, location=name_of(sample.record)
    )
    return {
        **sample.record,
        'area': int(np.count_nonzero(sample.ground_truth)),
        'intersection': intersection,
        'union': union,
        'iou': protocol.iou(intersection, union),
    }


def score(samples: Iterable[Sample], protocol: Protocol) -> tuple[Report, ImageSums]:
    """Adds up the samples: the scores by group, and the sums of each image for a bootstrap."""
    report, images = Report(protocol), ImageSums(protocol)
    for sample in samples:
        record = score_record(sample, protocol)
        report.add(record)
        images.add(record)
    return report, images


class Comparison(NamedTuple):
    """Two models on the same samples."""

    reports: tuple[Report, Report]
    images: tuple[ImageSums, ImageSums]
    changes: list[dict[str, Any]]  # id, sentence, iou (first, second), falling by their difference


def compare(first: Iterable[Sample], second: Iterable[Sample], protocol: Protocol) -> Comparison:
    """Joins two models' samples by their ids.

    Raises:
        UserError: they are not the same samples, or their annotated masks differ.
    """
    reports = Report(protocol), Report(protocol)
    images = ImageSums(protocol), ImageSums(protocol)
    records: dict[str, dict[str, Any]] = {}
    for sample in first:
        record = score_record(sample, protocol)
        reports[0].add(record)
        images[0].add(record)
        records[record['id']] = dict(record=slim(record), gt=fingerprint(sample.ground_truth))
    changes = []
    for sample in second:
        record = score_record(sample, protocol)
        other = records.pop(record['id'], None)
        if other is None:
            raise UserError(
                f'sample {record["id"]} is in the second dump only: compare dumps of one split'
            )
        size, ours = other['gt'][0], fingerprint(sample.ground_truth)
        if size != ours[0]:
            raise UserError(
                f'sample {record["id"]}: its annotated mask is {size[0]} x {size[1]} '
                f'(height x width) in the first dump, {ours[0][0]} x {ours[0][1]} in '
                'the second: write both at the size of the image'
            )
        if other['gt'] != ours:
            raise UserError(
                f'sample {record["id"]} has another annotated mask in the second '
                'dump: they come from different versions of the data'
            )
        known = other['record']
        reports[1].add(record)
        images[1].add({**record, 'file': known['file']})  # the paths may differ, the image not
        changes.append({**known, 'iou': (known['iou'], record['iou'])})
    if records:
        raise UserError(
            f'{len(records)} samples are in the first dump only '
            f'({", ".join(list(records)[:3])}): compare dumps of one split'
        )
    changes.sort(key=lambda change: change['iou'][0] - change['iou'][1])
    return Comparison(reports, images, changes)


def fingerprint(mask: np.ndarray) -> tuple[tuple[int, ...], int]:
    """Shape and hash of a mask: a transposed one may have the same bytes."""
    return mask.shape, hash(mask.tobytes())


def name_of(record: Mapping[str, Any]) -> str:
    """A sample for a message: where its record stands, if that is known, and its id."""
    return (
        f'{record["location"]}: sample {record["id"]}'
        if 'location' in record
        else (f'sample {record["id"]}')
    )


def slim(record: dict[str, Any]) -> dict[str, Any]:
    """What a comparison keeps of a sample."""
    return {key: record.get(key) for key in ('id', 'file', 'sentence', 'category', 'iou')}
