"""Language models, on a server or here: chat, pictures, prompts, and the judge of two rows."""
