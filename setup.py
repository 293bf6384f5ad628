from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def requirements(name: str) -> list[str]:
    lines = (line.split('#')[0].strip() for line in (HERE / name).read_text().splitlines())
    return [line for line in lines if line]


setup(
    name='rsrefseg2',
    version='0.1.0',
    description='Referring segmentation of remote sensing images: RSRefSeg 2 on OpenMMLab',
    long_description=(HERE / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['rsrefseg2', 'rsrefseg2.*']),
    package_data={
        'rsrefseg2.visualization': ['*.html', '*.css'],
        'rsrefseg2.synthrs': ['towers/*/*'],
    },
    python_requires='>=3.11',
    install_requires=requirements('requirements.txt'),
    extras_require={
        name: requirements(f'requirements/{name}.txt')
        for name in ('dev', 'tensorboard', 'tests', 'wandb')
    },
)
