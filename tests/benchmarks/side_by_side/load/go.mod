module mailtopic.dev/benchmarks/load

go 1.21
