"""The critic in the box: small enough, loaded by transformers alone, and right where being right is easy."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from retrieval.critic.claims import level_said, side_said
from retrieval.critic.critic import BOXED, Ask, CriticSettings, load_critic
from retrieval.language.local_model import BOX

FOLDER = BOX / BOXED
SAMPLES = Path(__file__).parents[2] / "retrieval" / "samples"
CAPTIONED = ("photo_skimage_chelsea.jpg", "photo_budgie_ocean-waves.jpg")
SCRIPT = """
import json, sys
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

folder, *files = sys.argv[1:]
model = AutoModelForImageTextToText.from_pretrained(folder, dtype="float32")
processor = AutoProcessor.from_pretrained(folder)
shades = {name: Image.new("RGB", (200, 150), (value,) * 3) for name, value in (("black", 8), ("white", 247))}

def say(pictures, question):
    asked = [{"role": "user", "content": [{"type": "image"}] * len(pictures) + [{"type": "text", "text": question}]}]
    prompt = processor.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    batch = processor(text=[prompt], images=[pictures], return_tensors="pt", add_special_tokens=False)
    tokens = model.generate(**batch, max_new_tokens=40)
    return processor.tokenizer.decode(tokens[0, batch["input_ids"].shape[1]:], skip_special_tokens=True)

LEVEL = "Is this picture dark, of medium brightness or bright?"
PAIR = "Which of the two pictures is darker, the first or the second?"
print(json.dumps({
    "captions": [say([Image.open(file).convert("RGB")], "Describe this picture.") for file in files],
    "levels": {name: say([shade], LEVEL) for name, shade in shades.items()},
    "pairs": [say([shades[name] for name in names], PAIR) for names in (("black", "white"), ("white", "black"))],
    "ours": sorted(name for name in sys.modules if name.split(".")[0] in ("retrieval", "rl", "indexes", "benchmarks")),
}))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What the critic says in a process that knows nothing of us."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, FOLDER, *(SAMPLES / name for name in CAPTIONED)],
        cwd=tmp_path_factory.mktemp("elsewhere"), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_it_is_loaded_by_transformers_alone_and_captions_pictures(said: dict[str, list[str]]) -> None:
    assert said["ours"] == []
    captions = said["captions"]
    assert len(set(captions)) == len(CAPTIONED)
    for caption in captions:
        assert len(caption.split()) >= 4
        assert caption.strip().endswith(".")


def test_black_is_dark_and_white_is_bright(said: dict[str, dict[str, str]]) -> None:
    assert {name: level_said(text, "brightness") for name, text in said["levels"].items()} == {
        "black": "low",
        "white": "high",
    }
    assert [side_said(text) for text in said["pairs"]] == ["first", "second"]


def test_it_fits_into_the_box() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 30_000_000
    assert (FOLDER / "README.md").is_file()


def test_it_is_asked_like_any_critic() -> None:
    critic = load_critic(BOXED, CriticSettings(cache=None))
    picture = (SAMPLES / CAPTIONED[0]).read_bytes()
    told, refused = critic.say(
        [
            Ask((picture,), "Write a short critique of this picture."),
            Ask((picture,), "Write a short critique of the mood of this picture."),
        ]
    )
    assert told.text is not None
    assert len(told.text.split()) >= 8
    assert refused.text is None
    assert refused.fallback == "refused"
    assert 1 <= critic.rate([picture])[0] <= 5
