"""Files of an index and of its source, what they hold and what it means: the formats and their pure maths."""
