"""What the makers of known sets allow, and what this project keeps for measuring: one entry for each set that a reader
knows, and the refusal of training on what is kept.

A table is known by its name, or by folder and name; one that is wholly kept for evaluation by its content as well,
whatever it is called now. The pictures that reported figures are measured on are refused one by one (evaluation.py).
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath

from indexes.errors import BeholderError
from indexes.records.manifest import MANIFEST, read_manifest, sha256_file

TRAIN = ("train",)
RESEARCH = "research use"
BATH = 'non-commercial research ("data mining", or other "fair dealing")'
COCO = "annotations CC BY 4.0; pictures under their Flickr licences"
FLICKR = "non-commercial research and education"
AESBENCH = "non-commercial, on request; no training"
SOURCE_REPOSITORY = "none stated; research use"
LARGEST = 64 << 20  # bytes: larger tables are not digested, none that is known by content comes near


@dataclass(frozen=True)
class Terms:
    """One set: `licence` in its makers' own words; `trained`: the splits that may be trained on, none for a set that is
    for evaluation only; `sha256` of a table that is kept for evaluation."""

    name: str
    licence: str
    source: str
    trained: tuple[str, ...] = ()
    sha256: str = ""

    @property
    def use(self) -> str:
        return f"train+eval (training: split {', '.join(self.trained)})" if self.trained else "evaluation only"


# By a table's name where it is unlike any other's, else by folder/name.
TABLES = {
    "ava_test_scores.tsv": Terms(
        "ava",
        RESEARCH,
        "Murray et al., CVPR 2012",
        sha256="b0aef67511c1982af477a4f0fc2e85d85720178ffe0012e6d3895393eead2941",
    ),
    "tad66k_test_scores.tsv": Terms(
        "tad66k",
        RESEARCH,
        "He et al., IJCAI 2022",
        sha256="7f03ac0ab9272e319df05c00883d1badd49268431beaf295b5bd90d87f8ca3f5",
    ),
    "koniq10k_scores.tsv": Terms("koniq", "MIT", "Hosu et al., TIP 2020 (technical quality)", TRAIN),
    "aadb_scores.tsv": Terms("aadb", "research purpose only", "Kong et al., ECCV 2016", TRAIN),
    "baid_test_set.csv": Terms(
        "baid",
        "CC BY-NC-ND 4.0",
        "Yi et al., CVPR 2023 (paintings)",
        sha256="75133de6ddd093f52df9f65a2e4a889f5b741365f51476282fda861d3abc4267",
    ),
    "baid_val_set.csv": Terms(
        "baid (val)",
        "CC BY-NC-ND 4.0",
        "Yi et al., CVPR 2023 (paintings)",
        sha256="3764d3abc70ffe7d0aefd217b80923b5a82d8e1355e720b31aff99024fbde5c8",
    ),
    "apddv2_10023.csv": Terms(
        "apddv2",
        "CC BY-NC-ND 4.0, by the stricter of its two statements",
        "Jin et al. 2024 (paintings)",
        sha256="deffaa5a38b7d40adb870a7cfe0901b8c6d383d209536fa295100a6eca45e0da",
    ),
    "oasis_beauty_scores.tsv": Terms(
        "oasis",
        SOURCE_REPOSITORY,
        "Brielmann and Pelli 2019",
        sha256="a72c8789dd11123e2baf0a4786cdfc39741baeab3d7652ab7064b9b33c37d52a",
    ),
    "oasis_sample/items.tsv": Terms("oasis_sample", SOURCE_REPOSITORY, "Brielmann and Pelli 2019"),
    "holidays_pairs.tsv": Terms(
        "holidays",
        SOURCE_REPOSITORY,
        "Chen et al., TIP 2017",
        sha256="6b4bf4e3e4598a5b8e6bc4c44f3e9c026640b56ed763a3416ef93c17e5e30e22",
    ),
    "imagereward_test_prompts.tsv": Terms(
        "imagereward (test)",
        "Apache-2.0",
        "Xu et al., NeurIPS 2023",
        sha256="82075675d40c261cce3285e7aa9609acb3cb33c0eaaad35ea34a9112a775c9e1",
    ),
    "imagereward_benchmark_prompts.tsv": Terms(
        "imagereward (benchmark)",
        "Apache-2.0",
        "Xu et al., NeurIPS 2023",
        sha256="1dc5c6a457f22c970322d3c6388d6e2def17b16a3e9a7a9c707734fdd1e4077a",
    ),
    "pccd_reviews_sample.tsv": Terms(
        "pccd (reviews, a sample)",
        "repository CC BY 4.0; texts their authors', research use",
        "Chang et al., ICCV 2017 (critiques of photographs)",
        TRAIN,  # it names no splits, and reviews are what `align critic data` writes questions from
    ),
    "artgpt4_sample_answers.txt": Terms(
        "artgpt4 (answers)",
        "BSD 3-Clause repository",
        "Yuan et al. 2023 (written by models)",
        sha256="a108ae886bb2e67c72f3c5d7353e1c4488cf96098305ed198195cf025a5c51b8",
    ),
    "AesBench_evaluation.json": Terms("aesbench", AESBENCH, "Huang et al. 2024"),
    "AesBench_VAL.tsv": Terms("aesbench", AESBENCH, "Huang et al. 2024"),
    "AesBench_TEST.tsv": Terms("aesbench", AESBENCH, "Huang et al. 2024"),
    "website/items.tsv": Terms("website", "CC BY-NC-SA 3.0", "Reinecke and Gajos, CHI 2014", TRAIN),
    "website_pairs/items.tsv": Terms(
        "website_pairs", "MIT; pages' own copyright", "website-aesthetics-datasets", TRAIN
    ),
    "savoias/items.tsv": Terms(
        "savoias", "that of the pictures' own sets", "Saraee et al. 2020 (visual complexity)", TRAIN
    ),
    "flickr8k/captions.tsv": Terms("flickr8k", "research and teaching only", "Hodosh et al., JAIR 2013", TRAIN),
    "dataset_flickr8k.json": Terms("flickr8k", "research and teaching only", "Hodosh et al., JAIR 2013", TRAIN),
    "dataset_flickr30k.json": Terms("flickr30k", FLICKR, "Young et al., TACL 2014", TRAIN),
    "results_20130124.token": Terms(
        "flickr30k (tokens)", FLICKR, "Young et al., TACL 2014"
    ),  # names no split: test is in it
    "dataset_coco.json": Terms("coco", COCO, "Chen et al. 2015", (*TRAIN, "restval")),
    "captions_train2014.json": Terms("coco (train)", COCO, "Chen et al. 2015", TRAIN),
    "captions_train2017.json": Terms("coco (train)", COCO, "Chen et al. 2015", TRAIN),
    "captions_val2014.json": Terms("coco (val)", COCO, "Chen et al. 2015"),
    "captions_val2017.json": Terms("coco (val)", COCO, "Chen et al. 2015"),
    "peopleart/items.tsv": Terms("peopleart", BATH, "Westlake et al. 2016", TRAIN),
    "photoart/items.tsv": Terms("photoart", BATH, "Wu et al. 2014", TRAIN),
    "imagenet1000/items.tsv": Terms("imagenet1000", "non-commercial research", "Russakovsky et al., IJCV 2015", TRAIN),
}


def terms_table() -> str:
    """The rows of a Markdown table: set, terms, use; the guide "Measuring" holds them."""
    known = {terms.name: terms for terms in TABLES.values()}
    rows = [f"| {name} ({terms.source}) | {terms.licence} | {terms.use} |" for name, terms in sorted(known.items())]
    return "\n".join(rows)


def terms_of(path: str | PurePath) -> Terms | None:
    """The terms of a table by its name alone; None for one that is not known."""
    path = PurePath(path)
    return TABLES.get(f"{path.parent.name}/{path.name}") or TABLES.get(path.name)


def refuse_training(path: Path, split: str | None = None) -> None:
    """Raises BeholderError where a table, or this split of it, is kept for evaluation. Unknown tables pass: their
    pictures are looked at instead."""
    terms = terms_of(path) or _by_content(path)
    if terms is None:
        if _test_part(path):
            raise _refused(f"{path.name} is the test part of an HPIR set", "its train.jsonl")
    elif not terms.trained:
        raise _refused(f"{path.name} ({terms.name}; {terms.licence}) is for evaluation only", "a set that allows it")
    elif split and split not in terms.trained:
        raise _refused(f"split {split} of {terms.name} is for evaluation only", f"split {', '.join(terms.trained)}")


def _refused(found: str, expected: str) -> BeholderError:
    return BeholderError(f"training on {found}", expected, "Measure with it: beholder bench --help.")


def _by_content(path: Path) -> Terms | None:
    if not path.is_file() or path.stat().st_size > LARGEST:
        return None
    found = sha256_file(path)
    return next((terms for terms in _digests() if terms.sha256 == found), None)


@cache
def _digests() -> tuple[Terms, ...]:
    return tuple(terms for terms in TABLES.values() if terms.sha256)


def _test_part(path: Path) -> bool:
    from .hpir_set import FORMAT, KIND, TEST

    if not (path.parent / MANIFEST).is_file():
        return False
    try:
        made = read_manifest(path.parent, KIND, FORMAT)
    except BeholderError:  # of another kind: no set of ours, and no part of one
        return False
    return bool(made.get("files", {}).get(TEST, {}).get("path") == path.name)
