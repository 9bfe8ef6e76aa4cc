"""An encoder from captions, by contrast."""
