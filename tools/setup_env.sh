# Makes .venv once and installs the tested versions. Run it, or source it in a script.
# PYTHON chooses the interpreter (3.11 or newer).
set -e  # a failed installation is not marked as done
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
wanted="$(cat requirements.txt requirements/*.txt setup.py | cksum | cut -d' ' -f1)"
if [ ! -f ".venv/installed-$wanted" ]; then
    python="${PYTHON:-python3}"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "error: $python is older than Python 3.11: set PYTHON to a newer one" >&2; exit 1; }
    echo "installing into $root/.venv (a few minutes, once)"
    "$python" -m venv .venv
    # No compiler is needed: deepspeed's operators are not built.
    DS_BUILD_OPS=0 .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --constraint requirements/tested.txt --editable '.[plots,raster,tests,dev,docs]'
    # OpenCV's usual build needs a desktop's graphics libraries; the headless one is the same code.
    if ! .venv/bin/python -c 'import cv2' 2>/dev/null; then
        opencv="$(.venv/bin/python -c "from importlib.metadata import version
print(version('opencv-python'))")"
        .venv/bin/python -m pip uninstall --quiet --yes opencv-python
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
            --force-reinstall "opencv-python-headless==$opencv"
        .venv/bin/python -c 'import cv2'
    fi
    rm -f .venv/installed-*
    touch ".venv/installed-$wanted"
    echo "installed. To use it in your shell: source .venv/bin/activate"
fi
export PATH="$root/.venv/bin:$PATH" TOKENIZERS_PARALLELISM=false
