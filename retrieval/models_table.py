"""The encoders and scorers one may name: those in the box, and weights that are worth their download."""

import json
from typing import Any

from retrieval.encoding.checkpoints import base_name, is_partial
from retrieval.encoding.encoders import MODELS, boxed_encoders
from retrieval.scoring.heads import PUBLISHED
from retrieval.scoring.own_heads import BOX
from retrieval.scoring.scorers import BOXED, LOOK

# Parameters, width and licence as their publishers state them; none is downloaded before it is asked for.
RECOMMENDED = (
    ("ViT-B-32:laion2b_s34b_b79k", 512, "605 MB", "MIT"),
    ("ViT-B-16:dfn2b", 512, "599 MB", "Apple sample code"),
    ("ViT-L-14:datacomp_xl_s13b_b90k", 768, "1.7 GB", "MIT"),
    ("ViT-B-16-SigLIP2:webli", 768, "1.5 GB", "Apache-2.0"),
    ("ViT-L-14-quickgelu:openai", 768, "1.7 GB", "MIT"),
)


def encoders() -> list[dict[str, Any]]:
    """name, width (dimensions), size, where (in the box, download) and licence of each."""
    rows = []
    for folder in (MODELS / name for name in boxed_encoders()):
        whole = MODELS / base_name(folder, MODELS) if is_partial(folder) else folder
        config = json.loads((whole / "open_clip_config.json").read_bytes())
        size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
        rows.append(
            {
                "name": folder.name,
                "width": config["model_cfg"]["embed_dim"],
                "size": f"{size / 1e6:.0f} MB",
                "where": "in the box",
                "licence": "research only, see LICENSE-weights",
            }
        )
    for name, width, size_text, licence in RECOMMENDED:
        rows.append({"name": name, "width": width, "size": size_text, "where": "download", "licence": licence})
    return rows


def scorers() -> list[dict[str, Any]]:
    """name, reads (pixels, or vectors of which encoder), model, where (in the box, download) and licence of each."""
    rows = []
    for name in BOXED:
        made = json.loads((BOX / name / "manifest.json").read_bytes())
        reads = "pixels" if made["features"] == "tower" else made["encoder"]
        rows.append(
            {"name": name, "reads": reads, "model": made["unit"], "where": "in the box", "licence": made["licence"]}
        )
    for name, (_, model, _, _, _, _) in LOOK.items():
        rows.append({"name": name, "reads": "pixels", "model": model, "where": "in the box", "licence": "Apache-2.0"})
    for name, head in PUBLISHED.items():
        reads, licence = head.encoders[0], head.file.licence
        rows.append({"name": name, "reads": reads, "model": head.model, "where": "download", "licence": licence})
    pyiqa = {"name": "pyiqa:METRIC", "reads": "pixels", "model": "a no-reference metric of pyiqa"}
    return [*rows, {**pyiqa, "where": "extra score", "licence": "PolyForm Noncommercial 1.0.0"}]
