"""A camera server on the INDIGO wire whose sky is real, with the truth of every frame."""
