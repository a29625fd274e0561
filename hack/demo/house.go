package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// house is one upstream that plays in the demo, with the teams that have credentials
// there: one file each, and a line in houses. All houses play side by side, before the
// same judge and with the same operator, which is killed at calls to the first house and
// so in the middle of whatever it does at the others.
type house interface { //nolint:interfacebloat // one question for each thing that a play needs of an upstream
	// title is what the story calls the upstream.
	title() string
	// open starts its simulator, whose life is longer than the operator's, and returns
	// its control API. What the simulator writes goes to log.
	open(ctx context.Context, s *stage, log *os.File) (simkit.Remote, error)
	// teams makes the manifests of its credentials, and the world upstream that they
	// name. Deployments that spec.rollout lists run; other credentials get workloads that are
	// no pods. Namespaces, policies and credentials differ from those of other houses.
	teams(ctx context.Context, s settings) ([]*team, error)
	// read says what an entry of the ledger, or an event about one, tells of a version;
	// false if it is about something else, such as a token.
	read(kind string, attrs map[string]string) (version, bool)
	// place is what version.place is of this credential's versions.
	place(credential *v1alpha1.APIClientCredential) string
	// show reads what a workload needs out of a target Secret.
	show(secret *corev1.Secret, credential *v1alpha1.APIClientCredential) pair
	// caller makes a workload's way to use what show read.
	caller(credential *v1alpha1.APIClientCredential) caller
	// close ends the simulator.
	close() error
}

// houses are the upstreams of the demo. The first is the one at whose calls the operator
// is killed, and that cheats in the rehearsal.
func houses() (*apiConnect, []house) {
	return &apiConnect{}, []house{&neoHouse{}, &cloudFoundryHouse{}, &serviceManagerHouse{}, &venafiHouse{}, &centraSiteHouse{}, &gatewayHouse{}, &portalHouse{}}
}

// version is one object of a ledger, in words that all upstreams share.
type version struct {
	// place is what it was issued for: an app, an instance and what tells its
	// credentials apart.
	place string
	// mark is the one that the journal has too.
	mark string
	// held is what a target Secret shows of it: a client id, a serial number.
	held string
	// live is whether it still works.
	live bool
}

// caller uses a credential as a workload does. It is used by one workload only.
type caller interface {
	// call returns nil if it was served.
	call(ctx context.Context, p pair) error
	// rest forgets connections and tokens, as the end of a process does.
	rest()
}

// resident is a house that is open.
type resident struct {
	house
	remote simkit.Remote
}

// versions reads the ledger.
func (r resident) versions(ctx context.Context) (versions []version, entries int, err error) {
	page, err := r.remote.Ledger(ctx)
	if err != nil {
		return nil, 0, err
	}
	for _, record := range page.Records {
		if v, ok := r.read(record.Kind, record.Attrs); ok {
			v.live = record.Live()
			versions = append(versions, v)
		}
	}
	return versions, page.Issued + page.Revoked, nil
}

// events hands every event to handle, in order, until ctx ends.
func (r resident) events(ctx context.Context, handle func(simkit.Event)) error {
	since := int64(0)
	for {
		var page simkit.EventPage
		err := r.remote.Call(ctx, http.MethodGet, "/events?wait=10s&since="+strconv.FormatInt(since, 10), nil, &page)
		if err != nil {
			return quietly(ctx, fmt.Errorf("read the events of %s: %w", r.title(), err))
		}
		if page.Lost {
			return fmt.Errorf("events of %s were lost: the demo is too slow", r.title())
		}
		for _, event := range page.Events {
			handle(event)
		}
		since = page.Next
	}
}
