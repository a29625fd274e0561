module github.com/claviger-dev/claviger

go 1.26.0
