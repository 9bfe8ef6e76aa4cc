#!/usr/bin/env bash
# Makes an environment for autofaiss alone: it needs numpy < 2, which beholder's does not allow, and pyarrow < 24,
# since newer ones refuse numpy 1 at import.
# Usage: benchmarks/speed/peers/autofaiss/make_environment.sh FOLDER
# Then:  beholder bench speed index --autofaiss FOLDER/bin/python
set -euo pipefail
folder=${1:?give the folder to make the environment in}
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check 'autofaiss==2.18.0' 'pyarrow<24'
"$folder/bin/python" -c 'import autofaiss, faiss, numpy; print("autofaiss with faiss", faiss.__version__, "and numpy", numpy.__version__)'
