module mailtopic.dev/tools/probe

go 1.24.0
