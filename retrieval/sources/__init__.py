"""Pictures and captions as they lie on disk, in tars, tables and datasets, and decoded."""
