"""FAISS: kinds of index, building, threads, memory and GPUs."""
