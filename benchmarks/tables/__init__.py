"""What is measured on: tables of captions, labels and scores, their pictures and their terms of use."""
