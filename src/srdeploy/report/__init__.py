"""A measurement as a document: what its numbers say, and how it is drawn for people. JSON is the truth."""
