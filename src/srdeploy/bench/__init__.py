"""How long things take: networks, whole files, and what others offer for the same work, measured in one run."""
