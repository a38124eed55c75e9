"""The only modules that import clients of Kafka and Kubernetes, and the shipped fakes."""
