#!/usr/bin/env bash
# Makes an environment for clip-retrieval alone: it pins numpy < 2 and old transformers, which beholder's does not allow.
# setuptools < 70 comes last: a part of it (clip-anytorch) imports pkg_resources.packaging, and torch's own requirement
# says otherwise, in vain for what is used here. About 6.4 GB on disk.
# Usage: benchmarks/speed/peers/clip_retrieval/make_environment.sh FOLDER
# Then:  beholder bench speed serve --clip-retrieval FOLDER/bin/python
#        BEHOLDER_CLIP_RETRIEVAL=FOLDER/bin/python pytest tests/retrieval/test_knn_service.py
set -euo pipefail
folder=${1:?give the folder to make the environment in}
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check 'clip-retrieval==2.45.0'
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check 'setuptools<70'
"$folder/bin/python" -c 'import clip_retrieval.clip_back, faiss, numpy
print("clip-retrieval with faiss", faiss.__version__, "and numpy", numpy.__version__)'
