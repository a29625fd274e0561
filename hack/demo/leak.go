package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/internal/canary"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// auditLog is where the API server writes what was asked of it, with all bodies but those of
// Secrets.
func (s *stage) auditLog() string { return filepath.Join(s.dir, "audit.log") }

// watchSecrets learns every value that stands in a Secret, until ctx ends.
func (s *stage) watchSecrets(ctx context.Context) error {
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	cluster, err := client.NewWithWatch(s.plane.Config(), client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	s.canaries = &canary.Canaries{}
	s.canaries.Mark("value that a simulator made up", simkit.Marker)
	return s.canaries.Follow(ctx, cluster)
}

// leaks searches for secrets what may be read without reading Secrets: the operator's logs
// and its command line, the API server's audit log, and all objects with their status,
// conditions and events. The demo's operator serves no metrics.
func (s *stage) leaks(ctx context.Context) error {
	errs := []error{s.canaries.FindInObjects(ctx, s.admin)}
	commandLine, err := s.operator.commandLine()
	errs = append(errs, err, s.canaries.Find("the operator's command line", commandLine))
	for where, file := range map[string]string{"the operator's log": filepath.Join(s.dir, "operator.log"), "the audit log": s.auditLog()} {
		text, err := os.ReadFile(file)
		if err == nil && len(text) == 0 {
			err = fmt.Errorf("%s is empty, so nothing was searched", where)
		}
		errs = append(errs, err, s.canaries.Find(where, string(text)))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("secrets can be read where none may be: %w", err)
	}
	s.story.tell("judge", "none of %d secret values is in logs, events, objects, the audit log or on a command line", s.canaries.Count())
	return nil
}
