"""Pages drawn for people: before and after, in one file that needs no network."""
