"""`mailtopic trace`: the story of one mail."""
