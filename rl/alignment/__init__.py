"""An encoder from preferences: data, model, trainer, retention, checkpoint."""
