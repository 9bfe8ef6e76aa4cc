"""What a critic says: beside people's words, and beside what is true."""
