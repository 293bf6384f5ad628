import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
EXTRAS = (
    'deepspeed',
    'demo',
    'dev',
    'docs',
    'onnx',
    'plots',
    'raster',
    'tensorboard',
    'tests',
    'wandb',
)


class BuildWithShippedFiles(build_py):
    """Copies configs/ and demo/ into the wheel, where rsrefseg2/shipped.py finds them."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return  # the checkout has them
        target = Path(self.build_lib, 'rsrefseg2', 'shipped_files')
        shutil.rmtree(target, ignore_errors=True)  # no file of an earlier build
        for name in ('configs', 'demo'):
            shutil.copytree(
                HERE / name, target / name, ignore=shutil.ignore_patterns('__pycache__', '*.pyc')
            )


def requirements(name: str) -> list[str]:
    lines = (line.split('#')[0].strip() for line in (HERE / name).read_text().splitlines())
    return [line for line in lines if line]


def version() -> str:
    text = (HERE / 'rsrefseg2' / '__init__.py').read_text()
    return re.search(r"^__version__ = '(.+)'$", text, flags=re.M).group(1)


setup(
    name='rsrefseg2',
    version=version(),
    description='Referring segmentation of remote sensing images: RSRefSeg 2 on OpenMMLab',
    long_description=(HERE / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['rsrefseg2', 'rsrefseg2.*']),
    package_data={
        'rsrefseg2': ['py.typed'],
        'rsrefseg2.apis.web_page': ['*.css'],
        'rsrefseg2.visualization': ['*.html', '*.css'],
        'rsrefseg2.synthrs': ['towers/*/*', 'towers/*/*/*'],
    },
    cmdclass={'build_py': BuildWithShippedFiles},
    entry_points={'console_scripts': ['rsrefseg2 = rsrefseg2.cli:main']},
    python_requires='>=3.11',
    install_requires=requirements('requirements.txt'),
    extras_require={name: requirements(f'requirements/{name}.txt') for name in EXTRAS},
)
