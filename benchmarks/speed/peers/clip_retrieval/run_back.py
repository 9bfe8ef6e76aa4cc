"""Runs `clip-retrieval back` as it is, save for three things, all in its favour or needed to run it at all: no CLIP
model is loaded (it always loads one, from the network, even where only embeddings are asked) or one of random weights,
it listens on this machine alone (it asks for all interfaces), and its log lines per request are off. Started by
`beholder bench speed serve --clip-retrieval PYTHON`, in clip-retrieval's own environment.

Usage: python run_back.py INDICES_JSON PORT [ARCHITECTURE]
"""

import logging
import sys
from importlib import import_module
from typing import Any


def of_random_weights(architecture: str) -> tuple[Any, Any, Any]:
    """(model, preprocessing, tokenizer) of open_clip, as load_clip gives them."""
    open_clip = import_module("open_clip")
    model, _, preprocessing = open_clip.create_model_and_transforms(architecture, pretrained=None)
    return model.eval(), preprocessing, open_clip.get_tokenizer(architecture)


def main() -> None:
    indices, port = sys.argv[1], int(sys.argv[2])
    loaded = of_random_weights(sys.argv[3]) if len(sys.argv) > 3 else (None, None, None)
    setattr(import_module("all_clip"), "load_clip", lambda *_, **__: loaded)  # noqa: B010
    flask = import_module("flask")
    run = flask.Flask.run
    flask.Flask.run = lambda app, host, port, debug: run(app, host="127.0.0.1", port=port, debug=debug)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    back = import_module("clip_retrieval.clip_back")
    back.clip_back(
        indices_paths=indices, port=port, enable_mclip_option=False, provide_aesthetic_embeddings=False, use_jit=False
    )


if __name__ == "__main__":
    main()
