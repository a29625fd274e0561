package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/claviger-dev/claviger/internal/cloudintegration"
	"github.com/claviger-dev/claviger/internal/cloudintegration/whereused"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// shortestPause is between two tries of a step that failed.
const shortestPause = 2 * time.Second

// whereUsedSettings are the flags of the command where-used.
type whereUsedSettings struct {
	url, tokenURL, login, caFile, output string
	managed                              []string
	patience                             time.Duration
	insecure                             bool
}

// whereUsed prints which aliases of security material the deployed flows of a Cloud
// Integration tenant refer to. It only reads. The login is a folder, as a mounted Secret
// is one: on the command line everybody on the machine could read it.
func whereUsed(ctx context.Context, arguments []string, out io.Writer) error {
	s, err := parseWhereUsed(arguments)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	tenant, err := s.open()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	result, err := scanTenant(ctx, cloudintegration.NewScanner(tenant))
	if err != nil {
		return err
	}
	return report(out, s, result)
}

func parseWhereUsed(arguments []string) (whereUsedSettings, error) {
	s := whereUsedSettings{}
	options := flag.NewFlagSet("where-used", flag.ContinueOnError)
	options.StringVar(&s.url, "url", "", "the tenant's address without /api/v1, for example https://acme.it-cpi001.cfapps.eu10.hana.ondemand.com")
	options.StringVar(&s.tokenURL, "token-url", "", "the token endpoint of the client")
	options.StringVar(&s.login, "login", "", "a folder with the files client_id and client_secret, or client_id, tls.crt and tls.key, as a mounted Secret is one")
	options.StringVar(&s.caFile, "ca-file", "", "PEM of the only authorities to trust; without it the system's")
	options.StringVar(&s.output, "output", "table", "table or json")
	managed := options.String("managed", "", "aliases that you manage, separated by commas; what else is used is reported, and which of them are not")
	options.DurationVar(&s.patience, "timeout", 15*time.Minute, "how long the scan may take; a thousand flows take about four minutes")
	options.BoolVar(&s.insecure, "allow-insecure-upstreams", false, "allow http and loopback; for tests")
	if err := options.Parse(arguments); err != nil {
		return s, err
	}
	if s.output != "table" && s.output != "json" {
		return s, fmt.Errorf("--output is table or json, not %q", s.output)
	}
	if s.login == "" {
		return s, errors.New("--login is missing: a folder with the files client_id and client_secret, or client_id, tls.crt and tls.key")
	}
	s.managed = slices.DeleteFunc(strings.Split(*managed, ","), func(alias string) bool { return alias == "" })
	return s, nil
}

func (s whereUsedSettings) open() (*cloudintegration.Tenant, error) {
	login := map[string]material.Secret{}
	for _, key := range []string{"client_id", "client_secret", "tls.crt", "tls.key"} {
		text, err := os.ReadFile(filepath.Join(s.login, key))
		if err == nil {
			login[key] = material.New(string(text))
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	transport := upstream.TransportOptions{UserAgent: "claviger/" + version, AllowPlainHTTP: s.insecure, AllowLoopback: s.insecure}
	if s.caFile != "" {
		var err error
		if transport.CABundle, err = os.ReadFile(s.caFile); err != nil {
			return nil, err
		}
	}
	return cloudintegration.Open(cloudintegration.Settings{
		URL: s.url, TokenURL: s.tokenURL, Login: login, Transport: transport, Now: time.Now,
	})
}

// scanTenant drives a scan to its end: what passes by itself is waited for, what a person
// must change ends it.
func scanTenant(ctx context.Context, scanner *cloudintegration.Scanner) (cloudintegration.Result, error) {
	for {
		result, done, err := scanner.Step(ctx)
		switch class := upstream.ClassOf(err); {
		case done:
			return result, nil
		case err == nil:
			continue
		case class != upstream.Retryable && class != upstream.Throttled:
			return cloudintegration.Result{}, err
		}
		pause := time.NewTimer(max(upstream.AfterOf(err), shortestPause))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return cloudintegration.Result{}, fmt.Errorf("given up: %w", err)
		}
	}
}

// whereUsedReport is what --output=json prints.
type whereUsedReport struct {
	Flows      int              `json:"flows"`
	Complete   bool             `json:"complete"`
	References []reportedUse    `json:"references"`
	Unmanaged  []string         `json:"unmanaged"`
	Missing    []string         `json:"missing"`
	Unused     []string         `json:"unused"`
	Unreadable []unreadableFlow `json:"unreadable"`
	Differs    []string         `json:"designDiffersFromRuntime"`
}

type reportedUse struct {
	Alias string `json:"alias"`
	Flow  string `json:"flow"`
	How   string `json:"how"`
	Field string `json:"field"`
}

type unreadableFlow struct {
	Flow string `json:"flow"`
	Why  string `json:"why"`
}

func report(out io.Writer, s whereUsedSettings, result cloudintegration.Result) error {
	compared := whereused.Compare(result.References, result.Existing, s.managed)
	r := whereUsedReport{
		Flows: result.Flows, Complete: result.Complete(), References: []reportedUse{}, Unreadable: []unreadableFlow{},
		Unmanaged: list(compared.Unmanaged), Missing: list(compared.Missing), Unused: list(compared.Unused), Differs: list(result.Differs),
	}
	for _, reference := range result.References {
		r.References = append(r.References, reportedUse{reference.Alias, reference.Flow, string(reference.Class), reference.Field})
	}
	slices.SortStableFunc(r.References, func(a, b reportedUse) int { return strings.Compare(a.Alias, b.Alias) })
	for _, flow := range result.Unreadable {
		r.Unreadable = append(r.Unreadable, unreadableFlow(flow))
	}
	if s.output == "json" {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	return r.table(out, s.managed)
}

// list is never null in JSON.
func list(names []string) []string { return append([]string{}, names...) }

// table prints for people: what is used, then what to look at.
func (r whereUsedReport) table(out io.Writer, managed []string) error {
	t := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "ALIAS\tFLOW\tHOW\tFIELD")
	for _, use := range r.References {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", use.Alias, use.Flow, use.How, use.Field)
	}
	fmt.Fprintln(t)
	lists := []struct {
		title string
		names []string
	}{
		{"used, and not in the tenant", r.Missing},
		{"deployed in another version than designed", r.Differs},
	}
	if len(managed) > 0 {
		lists = append(lists, []struct {
			title string
			names []string
		}{{"used, and managed by nobody", r.Unmanaged}, {"managed, and no use was found", r.Unused}}...)
	}
	for _, l := range lists {
		if len(l.names) > 0 {
			fmt.Fprintf(t, "%s: %s\n", l.title, strings.Join(l.names, ", "))
		}
	}
	for _, flow := range r.Unreadable {
		fmt.Fprintf(t, "INCOMPLETE: %s: %s\n", flow.Flow, flow.Why)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%d flows are deployed; the answer is %s.\n", r.Flows, map[bool]string{true: "complete for those that are visible", false: "incomplete"}[r.Complete])
	return err
}
