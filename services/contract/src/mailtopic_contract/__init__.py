"""What travels through Kafka: records, headers, topic names, outcomes, sealing."""
