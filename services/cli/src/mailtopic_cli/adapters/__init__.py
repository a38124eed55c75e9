"""The CLI's ports by real clients: Kafka and DNS."""
