"""Training critics: vision-language models that say why a picture is good."""
