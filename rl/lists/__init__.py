"""Where preferences come from: the cascade, and people."""
