"""What the operator decides, without doing any of it: pure, no client, no event loop."""
