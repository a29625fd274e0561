// A module of its own: what go-cfclient needs is no business of the operator's.
module github.com/claviger-dev/claviger/test/cfclient

go 1.26.0

require (
	github.com/claviger-dev/claviger v0.0.0
	github.com/cloudfoundry/go-cfclient/v3 v3.0.0-alpha.15
	github.com/google/go-cmp v0.7.0
)

require (
	github.com/codegangsta/inject v0.0.0-20150114235600-33e0aa1cb7c0 // indirect
	github.com/davecgh/go-spew v1.1.2-0.20180830191138-d8f796af33cc // indirect
	github.com/go-martini/martini v0.0.0-20170121215854-22fa46961aab // indirect
	github.com/martini-contrib/render v0.0.0-20150707142108-ec18f8345a11 // indirect
	github.com/oxtoacart/bpool v0.0.0-20190530202638-03653db5a59c // indirect
	github.com/pmezard/go-difflib v1.0.1-0.20181226105442-5d4384ee4fb2 // indirect
	github.com/stretchr/testify v1.11.0 // indirect
	golang.org/x/oauth2 v0.37.0 // indirect
	gopkg.in/yaml.v3 v3.0.1 // indirect
)

replace github.com/claviger-dev/claviger => ../..
