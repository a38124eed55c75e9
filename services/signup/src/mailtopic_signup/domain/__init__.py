"""What a challenge is and what it refuses. Pure: no I/O, no clock."""
