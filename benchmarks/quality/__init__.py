"""Does a query find its picture: exactly, through an index, with a cut-off, with beauty."""
