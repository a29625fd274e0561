package cloudfoundry_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/cloudfoundry"
	"github.com/claviger-dev/claviger/internal/cloudfoundrysim"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const (
	ownerLabel = "credentials.claviger.dev/instance-of"
	owner      = "0123456789abcdef"
	derived    = "billing-aaaabbbbccccd"
)

// estate is a space in which the issuer allows instances of it-rt.
type estate struct {
	t       testing.TB
	sim     *cloudfoundrysim.Sim
	account upstream.Provisioner
}

func newEstate(t testing.TB, change func(*cloudfoundrysim.Behaviour)) *estate {
	t.Helper()
	e := &estate{t: t, sim: start(t, change)}
	e.reopen(`[{"offering":"it-rt","plans":["api"]}]`)
	return e
}

// reopen is another process, or an issuer that allows something else.
func (e *estate) reopen(allowed string) {
	e.t.Helper()
	s := settings(e.sim, "Password")
	var parameters map[string]any
	if err := json.Unmarshal(s.Parameters, &parameters); err != nil {
		e.t.Fatal(err)
	}
	parameters["managedInstances"] = json.RawMessage(allowed)
	s.Parameters, _ = json.Marshal(parameters)
	account, err := cloudfoundry.NewDriver(time.Now).Open(s)
	if err != nil {
		e.t.Fatal(err)
	}
	provisioner, ok := account.(upstream.Provisioner)
	if !ok {
		e.t.Fatal("the account makes no instances")
	}
	e.account = provisioner
}

// wants is a place, with more fields of the managed instance.
func wants(more string) upstream.Place {
	return upstream.Place{
		Parameters: json.RawMessage(`{"managed":{"offering":"it-rt","plan":"api"` + more + `}}`), Owner: owner, Name: derived, Title: "payments/billing",
	}
}

func (e *estate) find(p upstream.Place) upstream.Provisioned {
	e.t.Helper()
	found, err := e.account.Find(e.t.Context(), p)
	if err != nil {
		e.t.Fatal(err)
	}
	return found
}

// provided repeats what the planner would until the place is what is wanted.
func (e *estate) provided(p upstream.Place) upstream.Provisioned {
	e.t.Helper()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for range 500 {
		found := e.find(p)
		if found.Usable && !found.Busy && !found.Differs {
			return found
		}
		if !found.Busy {
			if err := e.account.Provision(e.t.Context(), p); err != nil && !passing(err) {
				e.t.Fatal(err)
			}
		}
		<-again.C
	}
	e.t.Fatal("it is never what is wanted")
	return upstream.Provisioned{}
}

func passing(err error) bool {
	class := upstream.ClassOf(err)
	return class == upstream.Retryable || class == upstream.OutcomeUnknown || class == upstream.Pending
}

// refused checks what an error says.
func refused(t *testing.T, err error, class upstream.ErrorClass, words string) {
	t.Helper()
	if err == nil || upstream.ClassOf(err) != class || !strings.Contains(err.Error(), words) {
		t.Errorf("got %v, want %s with %q", err, class, words)
	}
}

// ours are the instances of the space that the seed did not make.
func (e *estate) ours() []cloudfoundrysim.InstanceState { return e.sim.Instances(spacePath)[2:] }

func TestAManagedInstanceIsMadeOnceAndChangedWithItsRoles(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*cloudfoundrysim.Behaviour){
		"at once": func(*cloudfoundrysim.Behaviour) {},
		"by a broker that takes its time": func(b *cloudfoundrysim.Behaviour) {
			b.Async, b.InstanceTime = true, simkit.Duration(30*time.Millisecond)
		},
		"where metadata is written when it ends": func(b *cloudfoundrysim.Behaviour) {
			b.LateMetadata, b.InstanceTime = true, simkit.Duration(30*time.Millisecond)
		},
		"where nothing can be marked at once": func(b *cloudfoundrysim.Behaviour) { b.Korifi = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEstate(t, change)
			p := wants(`,"roles":["MonitoringDataRead"],"grantTypes":["client_credentials"],"redirectURIs":["https://a.example/"],"tokenValidity":"12h0m0s"`)
			if found := e.find(p); found != (upstream.Provisioned{Differs: true}) {
				t.Errorf("before anything: %+v", found)
			}
			made := e.provided(p)
			state := e.ours()
			if len(state) != 1 {
				t.Fatalf("%d instances, want 1", len(state))
			}
			want := `{"grant-types":["client_credentials"],"redirect-uris":["https://a.example/"],"roles":["MonitoringDataRead"],"token-validity":43200}`
			if got := string(state[0].Parameters); got != want {
				t.Errorf("the broker was asked for %s, want %s", got, want)
			}
			wanted := upstream.Provisioned{Name: derived, ID: state[0].GUID, Container: made.Container, Usable: true}
			if diff := cmp.Diff(wanted, made); diff != "" || !strings.HasSuffix(made.Container, "/"+state[0].GUID) {
				t.Errorf("the place (-want +got):\n%s", diff)
			}
			calls := len(e.sim.Ledger().Entries(0))
			if err := e.account.Provision(t.Context(), p); err != nil || len(e.sim.Ledger().Entries(0)) != calls {
				t.Errorf("what is as wanted is written once more: %v", err)
			}
			more := wants(`,"roles":["MonitoringDataRead","WorkspacePackagesRead"]`)
			if e.account.Managed(p.Parameters) == e.account.Managed(more.Parameters) {
				t.Error("two wishes have one digest")
			}
			if changed := e.provided(more); changed.Container != made.Container {
				t.Errorf("the change made another one: %+v", changed)
			}
			if diff := cmp.Diff([]string{"MonitoringDataRead", "WorkspacePackagesRead"}, e.ours()[0].Roles); diff != "" {
				t.Errorf("roles (-want +got):\n%s", diff)
			}
		})
	}
}

// A lost answer, a renaming, a former owner: none of them makes two.
func TestAManagedInstanceIsNeverMadeTwice(t *testing.T) {
	t.Parallel()
	e := newEstate(t, nil)
	if _, err := e.sim.Faults().Add(simkit.Fault{Operation: "instance.create", Action: simkit.Cut, Point: simkit.AfterCommit}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.sim.Faults().Add(simkit.Fault{Operation: "instance.update", Action: simkit.Cut, Point: simkit.AfterCommit}); err != nil {
		t.Fatal(err)
	}
	p := wants(`,"roles":["MonitoringDataRead"]`)
	err := e.account.Provision(t.Context(), p)
	if upstream.ClassOf(err) != upstream.OutcomeUnknown {
		t.Errorf("a creation without an answer: %v", err)
	}
	made := e.provided(p)
	if err := e.account.Provision(t.Context(), wants("")); upstream.ClassOf(err) != upstream.OutcomeUnknown {
		t.Errorf("a change without an answer: %v", err)
	}
	e.provided(p)
	if err := e.sim.RenameInstance(spacePath+"/"+derived, "called otherwise"); err != nil {
		t.Fatal(err)
	}
	if found := e.provided(p); found.Container != made.Container || found.Name != "called otherwise" {
		t.Errorf("after it was renamed: %+v", found)
	}
	moved := p
	moved.Owner, moved.Former, moved.Name = "fedcba9876543210", owner, "billing-eeeeffffgggge"
	if found := e.find(moved); !found.Differs || found.Container != made.Container {
		t.Errorf("before it is taken over: %+v", found)
	}
	e.provided(moved)
	if got := e.ours(); len(got) != 1 || got[0].Labels[ownerLabel] != moved.Owner {
		t.Errorf("the instances: %+v", got)
	}
}

func TestWhatIsNotOursIsLeftAlone(t *testing.T) {
	t.Parallel()
	named := `,"name":"shared","roles":["MonitoringDataRead"]`
	given := cloudfoundrysim.Instance{Org: "acme", Space: "dev", Name: "shared", Offering: "it-rt", Plan: "api"}
	for name, labels := range map[string]map[string]string{"a person's": nil, "another credential's": {ownerLabel: "fedcba9876543210"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEstate(t, nil)
			if _, err := e.sim.AddInstance(given, labels); err != nil {
				t.Fatal(err)
			}
			before := e.ours()
			_, err := e.account.Find(t.Context(), wants(named))
			refused(t, err, upstream.Conflict, `"shared" in the space that was not made for this credential`)
			refused(t, e.account.Provision(t.Context(), wants(named)), upstream.Conflict, ownerLabel+"="+owner)
			refused(t, e.account.Deprovision(t.Context(), wants(named)), upstream.Conflict, "left alone")
			if diff := cmp.Diff(before, e.ours()); diff != "" {
				t.Errorf("it was touched (-want +got):\n%s", diff)
			}
			// A person can give it away.
			if err := e.sim.LabelInstance(spacePath+"/shared", ownerLabel, owner); err != nil {
				t.Fatal(err)
			}
			e.provided(wants(named))
			if got := e.ours(); len(got) != 1 || len(got[0].Roles) != 1 {
				t.Errorf("after it was given away: %+v", got)
			}
		})
	}
	t.Run("one of another plan", func(t *testing.T) {
		t.Parallel()
		e := newEstate(t, nil)
		other := given
		other.Plan = "integration-flow"
		if _, err := e.sim.AddInstance(other, map[string]string{ownerLabel: owner}); err != nil {
			t.Fatal(err)
		}
		refused(t, e.account.Provision(t.Context(), wants(named)), upstream.Conflict, "a plan is never changed")
		e.reopen(`[{"offering":"it-rt"}]`)
		e.provided(upstream.Place{Parameters: json.RawMessage(`{"managed":{"name":"shared","offering":"it-rt","plan":"integration-flow"}}`), Owner: owner, Name: derived})
		_, err := e.account.Find(t.Context(), wants(named))
		refused(t, err, upstream.Conflict, "is of it-rt/integration-flow, and the credential asks for it-rt/api")
	})
	t.Run("two of one label", func(t *testing.T) {
		t.Parallel()
		e := newEstate(t, nil)
		for _, name := range []string{"one", "two"} {
			other := given
			other.Name = name
			if _, err := e.sim.AddInstance(other, map[string]string{ownerLabel: owner}); err != nil {
				t.Fatal(err)
			}
		}
		_, err := e.account.Find(t.Context(), wants(""))
		refused(t, err, upstream.Conflict, "2 service instances bear the label")
	})
}

func TestWhatCannotBeMadeSaysWhy(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change         func(*cloudfoundrysim.Behaviour)
		allowed, wants string
		class          upstream.ErrorClass
		words          string
	}{
		"an issuer that allows nothing":    {nil, `[]`, "", upstream.InvalidSpec, "managedInstances of the issuer must allow"},
		"another offering":                 {nil, `[{"offering":"xsuaa"}]`, "", upstream.InvalidSpec, "an instance of it-rt/api"},
		"another plan":                     {nil, `[{"offering":"it-rt","plans":["integration-flow"]}]`, "", upstream.InvalidSpec, "must allow offering, plan and roles"},
		"a role that is not allowed":       {nil, `[{"offering":"it-rt","roles":["MonitoringDataRead"]}]`, `,"roles":["AuthGroup_Administrator"]`, upstream.InvalidSpec, "must allow"},
		"no roles, where some are allowed": {nil, `[{"offering":"it-rt","roles":["MonitoringDataRead"]}]`, "", upstream.InvalidSpec, "must allow"},
		"a plan that is not entitled":      {func(b *cloudfoundrysim.Behaviour) { b.Withheld = []string{"api"} }, `[{"offering":"it-rt"}]`, "", upstream.NotFound, "entitle the subaccount to it"},
		"a space that is full":             {func(b *cloudfoundrysim.Behaviour) { b.InstancesPerSpace = 2 }, `[{"offering":"it-rt"}]`, "", upstream.QuotaExceeded, "You have exceeded your space's services limit"},
		"a validity that is none":          {nil, `[{"offering":"it-rt"}]`, `,"tokenValidity":"soon"`, upstream.InvalidSpec, "is no duration"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEstate(t, tc.change)
			e.reopen(tc.allowed)
			refused(t, e.account.Provision(t.Context(), wants(tc.wants)), tc.class, tc.words)
			if got := e.ours(); len(got) != 0 {
				t.Errorf("%d were made", len(got))
			}
		})
	}
}

// What the broker refused is told, is no place, and is replaced when it is asked for again.
func TestABrokerThatFailsIsTold(t *testing.T) {
	t.Parallel()
	for name, stays := range map[string]bool{"a row that is replaced": false, "an older platform, where it stays": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEstate(t, func(b *cloudfoundrysim.Behaviour) { b.FailedNamesStay = stays })
			bad, good := wants(`,"tokenValidity":"25h"`), wants(`,"tokenValidity":"2h"`)
			if err := e.account.Provision(t.Context(), bad); err != nil {
				t.Fatal(err)
			}
			failed := e.find(bad)
			refused(t, orNil(failed.Failure), upstream.InvalidSpec, "did not make the service instance: Service broker error: token-validity 90000")
			if failed.Usable || failed.Busy || !failed.Differs {
				t.Errorf("what failed to be made: %+v", failed)
			}
			made := e.provided(good)
			if err := e.account.Provision(t.Context(), bad); err != nil {
				t.Fatal(err)
			}
			worse := e.find(good)
			refused(t, orNil(worse.Failure), upstream.InvalidSpec, "did not change the service instance")
			if !worse.Usable || worse.Busy || !worse.Differs || worse.Container != made.Container {
				t.Errorf("what failed to be changed goes on to be used: %+v", worse)
			}
			e.provided(good)
		})
	}
}

func orNil(e *upstream.Error) error {
	if e == nil {
		return errors.New("no failure")
	}
	return e
}

func TestAManagedInstanceIsDeletedOnlyWhenNothingIsLeftInIt(t *testing.T) {
	t.Parallel()
	e := newEstate(t, nil)
	p := wants("")
	if err := e.account.Deprovision(t.Context(), p); err != nil {
		t.Errorf("what is not there: %v", err)
	}
	e.provided(p)
	guid, err := e.sim.AddKey(spacePath+"/"+derived, "somebody-elses")
	if err != nil {
		t.Fatal(err)
	}
	refused(t, e.account.Deprovision(t.Context(), p), upstream.Conflict, "1 keys or bindings of it are somebody else's")
	if err := e.sim.RemoveKey(guid); err != nil {
		t.Fatal(err)
	}
	if err := e.sim.Adjust(func(b *cloudfoundrysim.Behaviour) { b.InstanceBroker = cloudfoundrysim.BrokerFails }); err != nil {
		t.Fatal(err)
	}
	if err := e.account.Deprovision(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if found := e.find(p); found.Failure == nil || found.Container == "" || found.Busy {
		t.Errorf("after a deletion that failed: %+v", found)
	}
	if err := e.sim.Adjust(func(b *cloudfoundrysim.Behaviour) {
		b.InstanceBroker, b.InstanceTime = cloudfoundrysim.BrokerMakes, simkit.Duration(time.Minute)
	}); err != nil {
		t.Fatal(err)
	}
	if err := e.account.Deprovision(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if found := e.find(p); !found.Busy || found.Usable {
		t.Errorf("while it is deleted: %+v", found)
	}
	refused(t, e.account.Deprovision(t.Context(), p), upstream.Pending, "works on the service instance")
}

// The pass over the issuer sees managed instances with the list that it makes anyway.
func TestThePassSeesManagedInstances(t *testing.T) {
	t.Parallel()
	e := newEstate(t, nil)
	p := wants("")
	made := e.provided(p)
	account, _ := e.account.(upstream.Upstream)
	listing, err := account.List(context.Background(), upstream.Owner{})
	if err != nil {
		t.Fatal(err)
	}
	want := []upstream.FoundPlace{{Owner: owner, Title: "payments/billing", Applied: e.account.Managed(p.Parameters), Container: made.Container, Name: derived}}
	if diff := cmp.Diff(want, listing.Places); diff != "" {
		t.Errorf("places (-want +got):\n%s", diff)
	}
}
