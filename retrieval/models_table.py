"""The encoders one may name: those in the box, and open_clip weights that are worth their download."""

import json
from typing import Any

from .encoders import MODELS

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
    for folder in sorted(path.parent for path in MODELS.glob("*/open_clip_config.json")):
        config = json.loads((folder / "open_clip_config.json").read_bytes())
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
