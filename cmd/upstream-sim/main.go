// Command upstream-sim serves a simulated upstream in a process of its own, so that
// what talks to it can be killed and started again while the upstream lives on.
//
// It prints one line of JSON with its addresses when it is ready, and ends on
// SIGINT or SIGTERM.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/claviger-dev/claviger/internal/apiconnectsim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "upstream-sim:", err)
		os.Exit(1)
	}
}

// ready is the line that says where everything is.
type ready struct {
	Upstream string `json:"upstream"`
	URL      string `json:"url"`
	Gateway  string `json:"gateway"`
	Control  string `json:"control"`
	// CA is the file of --ca-out, empty without one.
	CA string `json:"ca,omitempty"`
}

func run(ctx context.Context, args []string, out *os.File) error {
	options, caFile, err := parse(args)
	if err != nil {
		return err
	}
	sim := apiconnectsim.New(options)
	if err := sim.Start(); err != nil {
		return err
	}
	defer func() { _ = sim.Close() }()
	if caFile != "" {
		if err := os.WriteFile(caFile, sim.CA(), 0o600); err != nil { //nolint:gosec // the path is a flag of whoever runs it
			return fmt.Errorf("write the CA: %w", err)
		}
	}
	line := ready{Upstream: "apiconnect", URL: sim.URL(), Gateway: sim.GatewayURL(), Control: sim.ControlURL(), CA: caFile}
	if err := json.NewEncoder(out).Encode(line); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func parse(args []string) (options apiconnectsim.Options, caFile string, err error) {
	behaviour := apiconnectsim.Usual()
	flags := flag.NewFlagSet("upstream-sim", flag.ContinueOnError)
	upstream := flags.String("upstream", "apiconnect", "which upstream to play; only apiconnect so far")
	flags.StringVar(&options.Listen, "listen", "127.0.0.1:0", "address of the platform API (TLS)")
	flags.StringVar(&options.GatewayListen, "gateway-listen", "127.0.0.1:0", "address of the gateway (TLS)")
	flags.StringVar(&options.ControlListen, "control-listen", "127.0.0.1:0", "address of the control API (plain HTTP, loopback only)")
	flags.StringVar(&caFile, "ca-out", "", "file to write the CA certificate to (PEM)")
	hosts := flags.String("hosts", "", "further host names for the server certificate, separated by commas")
	seed := flags.String("seed", "", "JSON file with the world to begin with; without it a small sample")
	delay(flags, &behaviour.Propagation, "propagation", "how long the gateway does not know a new credential: 2s, or 1s-5s for a random delay")
	delay(flags, &behaviour.RevocationLag, "revocation-lag", "how long the gateway still takes a revoked credential: 2s or 1s-5s")
	flags.BoolVar(&behaviour.RevokePredecessor, "revoke-predecessor", false, "kill the older credentials of an app as soon as the gateway accepts a newer one")
	flags.TextVar(&behaviour.TokenLife, "token-life", behaviour.TokenLife, "expires_in of access tokens")
	if err := flags.Parse(args); err != nil {
		return options, "", err
	}
	if flags.NArg() > 0 {
		return options, "", fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *upstream != "apiconnect" {
		return options, "", fmt.Errorf("unknown upstream %q", *upstream)
	}
	if *hosts != "" {
		options.Hosts = strings.Split(*hosts, ",")
	}
	options.Behaviour = &behaviour
	options.Seed = apiconnectsim.Sample()
	if *seed != "" {
		if options.Seed, err = apiconnectsim.ReadSeed(*seed); err != nil {
			return options, "", err
		}
	}
	return options, caFile, nil
}

// delay registers a flag for a fixed or a random delay.
func delay(flags *flag.FlagSet, into *apiconnectsim.Range, name, usage string) {
	flags.Func(name, usage, func(text string) error {
		least, most, random := strings.Cut(text, "-")
		if !random {
			most = least
		}
		from, err := time.ParseDuration(least)
		if err != nil {
			return err
		}
		to, err := time.ParseDuration(most)
		if err != nil {
			return err
		}
		*into = apiconnectsim.Between(from, to)
		return nil
	})
}
