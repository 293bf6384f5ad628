"""Every fault of a download ends in one line that says what, where and what to do."""

import pytest

from rsrefseg2.datasets import RRSISD, RefSegRS, RISBench
from rsrefseg2.datasets.readers import FURTHER
from rsrefseg2.errors import UserError
from tests.fabricate import FAULTS, fabricate

READERS = {'refsegrs': RefSegRS, 'rrsisd': RRSISD, 'risbench': RISBench, **FURTHER}
PIPELINE = [dict(type='LoadImage'), dict(type='LoadMask'), dict(type='PackRefSegInputs')]

TREE = 'data/README.md shows the expected tree'
AGAIN = 'fetch the file again'
INCOMPLETE = 'complete the download, or correct the names'
EMPTY = 'the sentence is empty: write one or remove the record'
VERSION = 'one of the two files is another version'
CUT_OFF = 'the run lengths of the mask are cut off or damaged: fetch or make the record again'
TXT = '{root}/output_phrase_train.txt'
JPGS = '{root}/images/rrsisd/JPEGImages'
REFS = "'{root}/rrsisd/refs(unc).p'"
REF0 = REFS + ', record 0 (ref_id 500)'
REF2 = REFS + ', record 2 (ref_id 502)'
JSON = "'{root}/rrsisd/instances.json'"
NWPU_REFS = "'{root}/new_refs(unc).p'"
NWPU = "'{root}/new_instances.json'"
NWPU_REF0 = NWPU_REFS + ', record 0 (ref_id 500)'
NOT_KNOWN = '(how NWPU-Refer stores a sentence without target is not known)'
APART = 'fetch both files again, they do not belong together'
FARM = '{root}/train/QAs/farm_1.json'
LAD = '{root}/ann/train.json'
REMOTE = "'{root}/instances.json'"
LASERS = '{root}/train/annotations/train_ann.json'
LASERS0 = LASERS + ', record 0 (id 70)'
DAMAGED = 'the file is damaged, or of another kind'
NO_RLE = 'no run-length mask but text: expected {"size": [H, W], "counts": "..."}'
SIZES = 'its masks are 24 x 32 and 48 x 64 (height x width): correct the record'

# Messages while the data set opens: before any long work.
AT_START = {
    'refsegrs': {
        'missing text': f"RefSegRS: file '{TXT}' is missing: {TREE}",
        'missing image': f"'{{root}}/images': 1 of 4 images are missing (3.tif): {INCOMPLETE}",
        'missing masks': f"'{{root}}/masks': 2 of 4 masks are missing (3.tif, 20.tif): {INCOMPLETE}",
        'no id': f'{TXT}:2: expected "<integer id> <sentence>", got \'vehicle on the road\'',
        'empty sentence': f'{TXT}:2: {EMPTY}',
        'not utf-8': f'{TXT}:2: byte 6 of the line is not UTF-8: save the file as UTF-8',
        'negative id': f'{TXT}:2: expected "<integer id> <sentence>", got \'-3 a car\'',
        'no images folder': f"RefSegRS: folder '{{root}}/images' is missing: {TREE}",
        'duplicate id': f"{TXT}:4: sample id '3' occurs twice, first in {TXT}:2: remove one of "
        'the two',
    },
    'risbench': {
        'missing text': f"RISBench: file '{TXT}' is missing: {TREE}",
        'empty text': "RISBench: no triplet of split 'train' in '{root}'",
        'missing image': f"'{{root}}/img_rgb': 1 of 4 images are missing (train_0_2.png): {INCOMPLETE}",
        'missing mask': f"'{{root}}/mask': 1 of 4 masks are missing (train_7_1.png): {INCOMPLETE}",
        'path as name': f'{TXT}:1: expected "<name.png> <sentence>", got \'../train_0_0.png the rectangle\'',
        'empty sentence': f'{TXT}:1: {EMPTY}',
        'duplicate id': f"{TXT}:2: sample id 'train_0_0' occurs twice, first in {TXT}:1: remove "
        'one of the two',
    },
    'rrsisd': {
        'missing refs': f'RRSIS-D: file {REFS} is missing: {TREE}',
        'missing instances': f'RRSIS-D: file {JSON} is missing: {TREE}',
        'missing image': f"'{JPGS}': 1 of 3 images are missing (00040.jpg): {INCOMPLETE}",
        'malicious refs': f'{REFS}: it asks for posix.system, but only plain containers, strings '
        'and numbers are read: do not trust this file',
        'truncated refs': f'{REFS}: not a complete pickle (EOFError): {AGAIN}',
        'refs no list': f'{REFS}: expected a list of refs, got dict',
        'truncated instances': f'{JSON}: no JSON (Expecting property name enclosed in double quotes: line 1 column '
        '1393 (char 1392)): the file is damaged, or of another kind',
        'no category list': f'{JSON}: object missing required field categories: correct the record',
        'ref without annotation': f'{REF0}: annotation 999 is not in {JSON}: fetch both files '
        'again, they do not belong together',
        'ref without image': f'{REF0}: image 999 is not in {JSON}: fetch both files again, they '
        'do not belong together',
        'ref of another image': f'{REF0}: the ref is of image 3, its annotation 140 of image 40: '
        'correct the record',
        'ref without key': f'{REF0}: object missing required field ann_id: correct the record',
        'ref without sentences': f'{REF0}: the ref has no sentence: write one or remove the record',
        'no val': "RRSIS-D: no triplet of split 'val' in '{root}'",
        'empty sentence': f'{REF2}: {EMPTY}',
        'sentence None': f'{REF0}: sentences[0].sent: expected str, got null: correct the record',
        'duplicate sentence id': f"{REF2}: sample id '1003' occurs twice, first in {REF2}: remove "
        'one of the two',
        'duplicate annotation': f'{JSON}, annotations, record 7: id 122 occurs twice',
        'category outside the list': f'{REF0}: category 20 is not among the 20 categories of '
        f'{JSON}: correct the record',
        'categories disagree': f'{REF0}: the ref has category 17, its annotation 18: correct one of the two',
        'category of another name': f"{REF0}: category 'vehicles' is not among the 20 classes of RRSIS-D (did you mean "
        'vehicle?): correct the name' + RRSISD.OTHER_NAMES,
        'unknown split': f"{REFS}, record 0: split 'trian' is not one of train, val, test (did you "
        'mean train?)',
        'sentences no list': f'{REF0}: sentences: expected array, got str: correct the record',
        'ref no dict': f'{REFS}, record 0: expected object, got array: correct the record',
        'images no list': f'{JSON}: images: expected array, got object: correct the record',
        'id no number': f'{JSON}: images[0].id: expected int | str, got array: correct the record',
        'size no numbers': f"{JSON}, annotation 140: the size of the mask is ['48', '64'], "
        'expected [height, width], two positive whole numbers',
        'counts no text': f"{JSON}, annotation 140: the mask's counts are null, expected text or a "
        'list of run lengths',
        'run lengths too few': f'{JSON}, annotation 140: the run lengths sum to 18, a mask of '
        '48 x 64 (height x width) has 3072 pixels: the record is damaged',
        'polygon': f'{JSON}, annotation 140: no run-length mask but a list of 2: expected '
        '{"size": [H, W], "counts": "..."}',
    },
    'nwpu_refer': {
        'missing refs': f'NWPU-Refer: file {NWPU_REFS} is missing: {TREE}',
        'missing instances': f'NWPU-Refer: file {NWPU} is missing: {TREE}',
        'missing image': f"'{{root}}/image': 1 of 3 images are missing (11.jpg): {INCOMPLETE}",
        'no images folder': "NWPU-Refer: folder '{root}/image/image' or '{root}/image' is missing: "
        f'{TREE}',
        'truncated refs': f'{NWPU_REFS}: not a complete pickle (EOFError): {AGAIN}',
        'unknown split': f"{NWPU_REFS}, record 0: split 'dev' is not one of train, val, test",
        'ref without annotation': f'{NWPU_REF0}: annotation 999 is not in {NWPU}: {APART} {NOT_KNOWN}',
        'annotation without mask': f'{NWPU}, annotation 140: the annotation has no mask: correct '
        f'the record {NOT_KNOWN}',
        'mask null': f'{NWPU}, annotation 140: the annotation has no mask: correct the record '
        f'{NOT_KNOWN}',
        'polygon of 2 points': f'{NWPU}, annotation 140: polygon 1 is no flat list x, y, x, y ... of '
        'at least 3 points: correct the annotation',
        'polygon outside': f'{NWPU}, annotation 140: polygon 1 has the coordinate x = 5000, far '
        'outside the image of 48 x 64 (height x width): correct the annotation',
        'image without size': f'{NWPU}, annotation 140: the size of the mask is [None, 64], expected '
        '[height, width], two positive whole numbers',
        'targets of two sizes': f'{NWPU}, annotation 140, annotation 141: {SIZES}',
    },
    'earthreason': {
        'missing split': f"EarthReason: folder '{{root}}/train/images' is missing: {TREE}",
        'missing image': "'{root}/train/images': there is no file of the name 'farm_1', as "
        f"'{{root}}/train/labels/farm_1.png' has: {INCOMPLETE}",
        'missing label': "'{root}/train/labels': there is no file of the name 'farm_2', as "
        f"'{{root}}/train/images/farm_2.png' has: {INCOMPLETE}",
        'missing questions': "'{root}/train/QAs': there is no file of the name 'farm_1', as "
        f"'{{root}}/train/images/farm_1.jpg' has: {INCOMPLETE}",
        'two images of a name': "'{root}/train/images/farm_1.png': "
        "'{root}/train/images/farm_1.jpg' has the same name: remove one of the two",
        'no JSON': f'{FARM}: no JSON (Expecting value: line 1 column 16 (char 15)): {DAMAGED}',
        'no question': f'{FARM}: there is no question: write one or remove the three files',
        'empty question': f'{FARM}, question 0: {EMPTY}',
        'questions no list': f'{FARM}: questions: expected array, got str: correct the record',
        'no answer': f'{FARM}: object missing required field answer: correct the record',
    },
    'ris_lad': {
        'missing list': f"RIS-LAD: file '{LAD}' is missing: {TREE}",
        'missing image': f"'{{root}}/images': 1 of 4 images are missing (0001.jpg): {INCOMPLETE}",
        'missing mask': f"'{{root}}/masks': 1 of 4 masks are missing (0001.png): {INCOMPLETE}",
        'no list': f'{LAD}: expected array, got object: correct the record',
        'record without mask': f'{LAD}, record 0: object missing required field mask: correct the '
        'record',
        'empty sentence': f'{LAD}, record 0: {EMPTY}',
        'path out of the folder': f"{LAD}, record 0: the file name '../0000.jpg' leads out of its "
        "folder '{root}/images': correct the record",
        'no record': "RIS-LAD: no triplet of split 'train' in '{root}'",
    },
    'remotesam': {
        'missing refs': f"RemoteSAM-270K: file '{{root}}/refs(unc).p' is missing: {TREE}",
        'missing instances': f'RemoteSAM-270K: file {REMOTE} is missing: {TREE}',
        'missing image': f"'{{root}}/JPEGImages': 1 of 3 images are missing (11.jpg): {INCOMPLETE}",
        'ref without annotation': "'{root}/refs(unc).p', record 0 (ref_id 500): annotation 999 is "
        f'not in {REMOTE}: {APART}',
        'mask a file name': f'{REMOTE}, annotation 140: {NO_RLE}',
        'masks of two sizes': f'{REMOTE}, annotation 140: {SIZES}',
        'annotation without mask': f'{REMOTE}, annotation 140: the annotation has no mask: correct '
        'the record',
    },
    'lasers': {
        'missing list': f"LaSeRS: file '{{root}}/train/annotations/*.json' is missing: {TREE}",
        'two lists': "LaSeRS: 'b.json' and 'train_ann.json' in '{root}/train/annotations' may all "
        'be meant: name one as ann_file',
        'missing image': f"'{{root}}/train/images': 1 of 4 images are missing (P1.jpg): {INCOMPLETE}",
        'no mask': f'{LASERS0}: the record has no mask: that is a file of the competition, whose '
        'test masks are not public; use one with masks',
        'no target': f'{LASERS0}: the record names no target, and how LaSeRS stores that is not '
        'known: remove the record',
        'masks and answer disagree': f'{LASERS0}: the answer has 2 [SEG], the mask is a list of 1: '
        'correct the record',
        'no run lengths': f'{LASERS0}: {NO_RLE}',
        'run lengths cut off': f'{LASERS0}: {CUT_OFF}',
        'record without sentence': f'{LASERS}, record 0: object missing required field description: '
        'correct the record',
        'duplicate id': f"{LASERS}, record 1 (id 71): sample id '71' occurs twice, first in "
        f'{LASERS}, record 0 (id 71): remove one of the two',
    },
}
# Messages when the sample is asked for: they need the files' pixels. A dot stands for what Pillow
# says of the damage.
AT_SAMPLE = {
    'refsegrs': {
        'truncated image': f"'{{root}}/images/12.tif': the image cannot be read (.): {AGAIN}",
        'no image': f"'{{root}}/images/12.tif': the image cannot be read (not an image file): {AGAIN}",
        '16-bit image': "'{root}/images/12.tif': the image has more than 8 bits a channel (mode "
        'I;16), and the range to show is unknown: convert it to 8-bit RGB or grey, '
        'e.g. gdal_translate -ot Byte -scale IN OUT.png',
        'mask of another size': "'{root}/masks/12.tif': the mask is 24 x 32 (height x width), its image "
        f"'{{root}}/images/12.tif' is 48 x 64: {VERSION}",
        'grey mask': "'{root}/masks/12.tif': the mask holds the values 7, expected 0 and 1, or 0 "
        'and 255: save it without compression loss or smoothing',
        'truncated mask': f"'{{root}}/masks/12.tif': the mask cannot be read (.): {AGAIN}",
    },
    'risbench': {
        'truncated image': f"'{{root}}/img_rgb/train_0_0.png': the image cannot be read (.): {AGAIN}",
        'mask of another size': "'{root}/mask/train_0_0.png': the mask is 24 x 32 (height x width), its image "
        f"'{{root}}/img_rgb/train_0_0.png' is 48 x 64: {VERSION}",
        'coloured mask': "'{root}/mask/train_0_0.png': the mask is coloured, expected one channel "
        'or equal ones',
    },
    'rrsisd': {
        'run lengths cut off': f'{JSON}, annotation 140: {CUT_OFF}',
        'damaged run lengths': f'{JSON}, annotation 140: {CUT_OFF}',
        'truncated image': f"'{JPGS}/00040.jpg': the image cannot be read (.): {AGAIN}",
        'mask of another size': f'{JSON}, annotation 140: the mask is 24 x 32 (height x width), its image '
        f"'{JPGS}/00040.jpg' is 48 x 64: {VERSION}",
    },
    'nwpu_refer': {
        'image of another size': f'{NWPU}, annotation 140, annotation 141: the mask is 48 x 64 '
        f"(height x width), its image '{{root}}/image/40.jpg' is 30 x 30: {VERSION}"
    },
    'earthreason': {
        'coloured label': "'{root}/train/labels/farm_1.png': the mask is coloured, expected one "
        'channel or equal ones',
        'label of another size': "'{root}/train/labels/farm_1.png': the mask is 24 x 32 (height x "
        f"width), its image '{{root}}/train/images/farm_1.jpg' is 48 x 64: {VERSION}",
    },
    'ris_lad': {
        'grey mask': "'{root}/masks/0000.png': the mask holds the values 7, expected 0 and 1, or 0 "
        'and 255: save it without compression loss or smoothing',
        'truncated image': f"'{{root}}/images/0000.jpg': the image cannot be read (.): {AGAIN}",
    },
    'remotesam': {
        'mask of another size': f'{REMOTE}, annotation 140: the mask is 24 x 32 (height x width), its '
        f"image '{{root}}/JPEGImages/40.jpg' is 48 x 64: {VERSION}"
    },
    'lasers': {
        'mask of another size': f'{LASERS0}: the mask is 24 x 32 (height x width), its image '
        f"'{{root}}/train/images/P0.jpg' is 48 x 64: {VERSION}"
    },
}


def cases(table):
    return [(dataset, fault) for dataset, faults in table.items() for fault in faults]


def without_reason(message: str) -> str:
    """Pillow's words, in brackets after 'cannot be read', differ between its versions."""
    head, found, tail = message.partition('cannot be read (')
    if not found or tail.startswith('not an image'):
        return message
    return head + found + '.' + tail[tail.rindex('): ') :]


def test_every_fault_has_its_message():
    for dataset, faults in FAULTS.items():
        assert set(faults) == {*AT_START[dataset], *AT_SAMPLE[dataset]}


@pytest.mark.parametrize('dataset, fault', cases(AT_START))
def test_fault_stops_the_start(dataset, fault, tmp_path):
    root = fabricate(dataset, tmp_path, fault=fault)
    with pytest.raises(UserError) as caught:
        READERS[dataset](data_root=str(root), split='val' if fault == 'no val' else 'train')
    message = AT_START[dataset][fault].replace('{root}', str(root))
    # the character at which JSON breaks off depends on the length of the compressed masks
    if fault == 'truncated instances':
        assert str(caught.value).startswith(message.partition(' (Expecting')[0])
        assert '\n' not in str(caught.value)
    else:
        assert str(caught.value) == message


@pytest.mark.parametrize('dataset, fault', cases(AT_SAMPLE))
def test_fault_stops_the_sample(dataset, fault, tmp_path):
    """No other sample takes its place, in training either."""
    root = fabricate(dataset, tmp_path, fault=fault)
    data = READERS[dataset](data_root=str(root), split='train', pipeline=PIPELINE)
    assert len(data) == 4
    with pytest.raises(UserError) as caught:
        data[0]
    expected = AT_SAMPLE[dataset][fault].replace('{root}', str(root))
    assert without_reason(str(caught.value)) == expected
    assert data[3]['data_samples'].sample_id  # the others are still there


def test_malicious_pickle_executes_nothing(tmp_path, monkeypatch):
    canary = tmp_path / 'canary'
    monkeypatch.setenv('FABRICATED_CANARY', str(canary))
    root = fabricate('rrsisd', tmp_path / 'data', fault='malicious refs')
    with pytest.raises(UserError, match='do not trust this file'):
        RRSISD(data_root=str(root), split='train')
    assert not canary.exists()
    import pickle

    pickle.loads((root / 'rrsisd/refs(unc).p').read_bytes())  # the file is armed indeed
    assert canary.exists()


@pytest.mark.parametrize('reader, title', [(reader, reader.TITLE) for reader in READERS.values()])
def test_no_data_root(reader, title, tmp_path):
    with pytest.raises(UserError) as caught:
        reader(data_root=str(tmp_path / 'none'), split='train')
    assert str(caught.value) == (
        f"data root '{tmp_path}/none' does not exist: put {title}, or data in its layout, there ({TREE}), or set "
        'data_root or the environment variable RSREFSEG2_DATA'
    )


def test_unknown_split_is_named_with_near_matches():
    with pytest.raises(UserError) as caught:
        RRSISD(data_root='anywhere', split='tests')
    assert str(caught.value) == (
        "split 'tests' is not one of train, val, test (did you mean test?)"
    )
