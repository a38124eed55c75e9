"""The engine: from a polled record to a recorded outcome. asyncio, no client library."""
