// A module of its own: what vcert needs is no business of the operator's.
module github.com/claviger-dev/claviger/test/vcert

go 1.26.0

require (
	github.com/Venafi/vcert/v5 v5.12.3
	github.com/claviger-dev/claviger v0.0.0
)

require (
	github.com/go-http-utils/headers v0.0.0-20181008091004-fed159eddc2a // indirect
	github.com/youmark/pkcs8 v0.0.0-20240726163527-a2c0da244d78 // indirect
	go.uber.org/multierr v1.11.0 // indirect
	go.uber.org/zap v1.28.0 // indirect
	golang.org/x/crypto v0.57.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
	gopkg.in/yaml.v2 v2.4.0 // indirect
	gopkg.in/yaml.v3 v3.0.1 // indirect
)

replace github.com/claviger-dev/claviger => ../..
