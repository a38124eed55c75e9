module mailtopic.dev/benchmarks/sink

go 1.21
