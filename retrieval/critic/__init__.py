"""Critics: vision-language models that say why a picture is good, and judge."""
