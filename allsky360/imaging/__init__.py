"""One file a filter: pure functions, array in, array out."""
