package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/cloudfoundrysim"
	"github.com/claviger-dev/claviger/internal/simkit"
)

// managedInstance is what tests ask for.
func managedInstance(deletion string, roles ...string) v1alpha1.CloudFoundryCredential {
	return v1alpha1.CloudFoundryCredential{Managed: &v1alpha1.ManagedInstance{Offering: "it-rt", Plan: "api", Roles: roles, Deletion: deletion}}
}

// newLandlord is a tenant whose issuer allows managed instances of it-rt.
func newLandlord(t *testing.T, change func(*cloudfoundrysim.Behaviour, *cloudfoundrysim.Seed)) *cfTenant {
	t.Helper()
	x := newCFTenant(t, "Password", change)
	x.allow()
	return x
}

// allow has the issuer allow instances.
func (x *cfTenant) allow() {
	x.t.Helper()
	update(x.tenant, "apic", &v1alpha1.CredentialIssuer{}, func(i *v1alpha1.CredentialIssuer) {
		i.Spec.CloudFoundry.ManagedInstances = []v1alpha1.ManagedInstanceAllowance{{Offering: "it-rt"}}
	})
}

// instances are those that were made through the API.
func (x *cfTenant) instances() []cloudfoundrysim.InstanceState {
	return x.region.Instances("acme/dev")[2:]
}

// awaitRoles waits for the one instance, with these roles.
func (x *cfTenant) awaitRoles(roles ...string) cloudfoundrysim.InstanceState {
	x.t.Helper()
	var found cloudfoundrysim.InstanceState
	x.eventually(soon, func() string {
		all := x.instances()
		if len(all) != 1 {
			return fmt.Sprintf("there are %d instances; %s", len(all), x.told("billing"))
		}
		found = all[0]
		return cmp.Diff(roles, found.Roles)
	})
	return found
}

// liveKeys counts the keys of the region.
func (x *cfTenant) liveKeys() int {
	n := 0
	for _, record := range x.region.Ledger().Live() {
		if record.Kind == "key" {
			n++
		}
	}
	return n
}

// writesUpstream are the changes of instances so far.
func (x *cfTenant) writesUpstream() int {
	n := 0
	for _, operation := range []string{"instance.create", "instance.update", "instance.delete"} {
		n += x.region.Calls().Total(operation)
	}
	return n
}

// An instance is made for the credential, changed with its roles while its key is in use, made anew
// if somebody deletes it, left when the credential goes, and found again by one of its name.
func TestAManagedInstanceFollowsTheSpec(t *testing.T) {
	t.Parallel()
	x := newLandlord(t, func(b *cloudfoundrysim.Behaviour, _ *cloudfoundrysim.Seed) {
		b.Async, b.InstanceTime, b.RoleDelay = true, simkit.Duration(400*time.Millisecond), simkit.Duration(time.Second)
	})
	wanted := managedInstance("", "MonitoringDataRead")
	wanted.Probe = &v1alpha1.CloudFoundryProbe{Path: logsProbe}
	c := x.ask(wanted)
	x.awaitReady("billing")
	first := x.awaitRoles("MonitoringDataRead")
	key := x.shown()
	told := func() v1alpha1.ManagedInstanceStatus {
		if s := x.get("billing").Status.ManagedInstance; s != nil {
			return *s
		}
		return v1alpha1.ManagedInstanceStatus{}
	}
	if got := told(); got.Name != first.Name || got.GUID != first.GUID || !strings.HasPrefix(first.Name, "billing-") {
		t.Errorf("the status tells of %+v, and it is %s with guid %s", got, first.Name, first.GUID)
	}

	x.change(func(c *v1alpha1.APIClientCredential) {
		c.Spec.CloudFoundry.Managed.Roles = []string{"MonitoringDataRead", "WorkspacePackagesRead"}
	})
	second := x.awaitRoles("MonitoringDataRead", "WorkspacePackagesRead")
	x.eventually(soon, func() string { return cmp.Diff(second.Annotations["credentials.claviger.dev/applied"], told().Applied) })
	x.awaitReady("billing")
	if second.GUID != first.GUID || x.shown() != key {
		t.Error("a change of roles made another instance or another key")
	}

	// Without a status, and with a wrong one, nothing is written upstream.
	writes := x.writesUpstream()
	for _, status := range []*v1alpha1.ManagedInstanceStatus{nil, {Name: "another", GUID: "another", Applied: "another"}} {
		c := x.get("billing")
		c.Status.ManagedInstance = status
		if err := x.world.Client.Status().Update(x.ctx, c); err != nil {
			t.Fatal(err)
		}
		x.change(func(c *v1alpha1.APIClientCredential) {
			metav1.SetMetaDataAnnotation(&c.ObjectMeta, "example.org/look", fmt.Sprint(status))
		})
		x.eventually(soon, func() string { return cmp.Diff(second.GUID, told().GUID) })
	}
	if n := x.writesUpstream(); n != writes {
		t.Errorf("%d writes upstream after the status was lost", n-writes)
	}

	if err := x.region.RemoveInstance("acme/dev/" + first.Name); err != nil {
		t.Fatal(err)
	}
	x.awaitVersion(noticed, 2)
	third := x.awaitRoles("MonitoringDataRead", "WorkspacePackagesRead")
	if third.GUID == first.GUID || x.shown() == key {
		t.Error("the instance was deleted, and is there as before")
	}
	for _, reason := range []string{"InstanceCreated", "InstanceUpdated"} {
		if !slices.Contains(x.reasons("APIClientCredential", "billing"), reason) {
			t.Errorf("no event tells of %s", reason)
		}
	}

	x.delete(c)
	x.awaitGone(5*time.Minute, c)
	if n := x.liveKeys(); n != 0 {
		t.Errorf("%d keys outlive the credential", n)
	}
	x.takesUp(third)
}

// takesUp has a credential of the same name take up the instance that was kept.
func (x *cfTenant) takesUp(kept cloudfoundrysim.InstanceState) {
	x.t.Helper()
	// By the time that another one is ready the operator has finished with what was deleted.
	x.create(x.credential(func(c *v1alpha1.APIClientCredential) {
		c.Name, c.Spec.Secret.Name = "other", "other-api"
		c.Spec.IBMAPIConnect, c.Spec.CloudFoundry = nil, &v1alpha1.CloudFoundryCredential{Instance: "cpi-api"}
	}))
	x.awaitReady("other")
	writes := x.region.Calls().Total("instance.create")
	x.ask(managedInstance("", "MonitoringDataRead"))
	x.awaitReady("billing")
	if again := x.awaitRoles("MonitoringDataRead"); again.GUID != kept.GUID || x.region.Calls().Total("instance.create") != writes {
		x.t.Error("the instance that was kept was not taken up again")
	}
}

// Two credentials never fight over one instance: who comes second is told, and touches nothing.
func TestTwoCredentialsNeverShareAManagedInstance(t *testing.T) {
	t.Parallel()
	x := newLandlord(t, nil)
	wanted := managedInstance("Delete", "MonitoringDataRead")
	wanted.Managed.Name = "shared"
	x.ask(wanted)
	x.awaitReady("billing")
	before := x.awaitRoles("MonitoringDataRead")
	rival := x.credential(func(c *v1alpha1.APIClientCredential) {
		c.Name, c.Spec.Secret.Name = "rival", "rival-api"
		other := managedInstance("Delete", "AuthGroup_Administrator")
		other.Managed.Name = "shared"
		c.Spec.IBMAPIConnect, c.Spec.CloudFoundry = nil, &other
	})
	x.create(rival)
	x.eventually(soon, func() string {
		return lacks(x.get("rival").Status.Conditions, v1alpha1.ConditionReady, state{metav1.ConditionFalse, v1alpha1.ReasonInstanceTaken},
			[]string{`"shared"`, "was not made for this credential", "credentials.claviger.dev/instance-of="})
	})
	x.delete(rival)
	// It has nothing to delete. That a call of its own may still be under way need not be waited for.
	x.eventually(soon, func() string {
		return lacks(x.get("rival").Status.Conditions, v1alpha1.ConditionReady, state{metav1.ConditionFalse, v1alpha1.ReasonDeleting}, []string{"is looked for again"})
	})
	if !slices.Contains(x.reasons("APIClientCredential", "rival"), v1alpha1.ReasonInstanceTaken) {
		t.Error("no event tells that it leaves the instance")
	}
	update(x.tenant, "rival", &v1alpha1.APIClientCredential{}, func(c *v1alpha1.APIClientCredential) { c.Spec.CloudFoundry.Managed.Deletion = "Keep" })
	x.awaitGone(soon, rival)
	if diff := cmp.Diff([]cloudfoundrysim.InstanceState{before}, x.instances()); diff != "" {
		t.Errorf("the instance was touched (-want +got):\n%s", diff)
	}
}

// An instance is deleted with its credential only if that was asked for, and nobody else is in it.
func TestAManagedInstanceGoesWithItsCredentialIfAsked(t *testing.T) {
	t.Parallel()
	x := newLandlord(t, func(b *cloudfoundrysim.Behaviour, _ *cloudfoundrysim.Seed) {
		b.InstanceTime = simkit.Duration(300 * time.Millisecond)
	})
	c := x.ask(managedInstance("Delete", "MonitoringDataRead"))
	x.awaitReady("billing")
	guid, err := x.region.AddKey("acme/dev/"+x.awaitRoles("MonitoringDataRead").Name, "somebody-elses")
	if err != nil {
		t.Fatal(err)
	}
	x.delete(c)
	x.await(soon, v1alpha1.ConditionReady, state{metav1.ConditionFalse, v1alpha1.ReasonInstanceNotEmpty}, "1 keys or bindings of it are somebody else's", "to Keep")
	if live := x.liveKeys(); live != 1 {
		t.Errorf("%d keys live, want somebody else's alone", live)
	}
	if err := x.region.RemoveKey(guid); err != nil {
		t.Fatal(err)
	}
	x.awaitGone(soon, c)
	if left := x.instances(); len(left) != 0 {
		t.Errorf("it is still there: %+v", left)
	}
	if !slices.Contains(x.reasons("APIClientCredential", "billing"), "InstanceDeleted") {
		t.Error("no event tells that it was deleted")
	}
}

// The issuer and its login stay until the instance is gone, when a whole namespace is deleted.
func TestAManagedInstanceGoesWithItsNamespace(t *testing.T) {
	t.Parallel()
	x := newLandlord(t, func(b *cloudfoundrysim.Behaviour, _ *cloudfoundrysim.Seed) {
		b.InstanceTime = simkit.Duration(2 * time.Second)
	})
	x.ask(managedInstance("Delete", "MonitoringDataRead"))
	x.awaitReady("billing")
	x.delete(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: x.ns}})
	x.eventually(namespaceEnds, func() string {
		if left := x.instances(); len(left) != 0 {
			return fmt.Sprintf("it is still there: %+v", left)
		}
		return ""
	})
}

// A creation whose answer is lost makes one instance.
func TestALostAnswerMakesOneManagedInstance(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		fault simkit.Fault
	}{
		{"cut after the row was written", simkit.Fault{Action: simkit.Cut, Point: simkit.AfterCommit}},
		{"a page of the router after the row was written", simkit.Fault{Action: simkit.HTML, Status: 504, Point: simkit.AfterCommit}},
		{"cut before anything", simkit.Fault{Action: simkit.Cut}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := newLandlord(t, func(b *cloudfoundrysim.Behaviour, _ *cloudfoundrysim.Seed) {
				b.Korifi = strings.HasPrefix(test.name, "a page")
			})
			for _, operation := range []string{"instance.create", "instance.update"} {
				test.fault.Operation = operation
				if _, err := x.region.Faults().Add(test.fault); err != nil {
					t.Fatal(err)
				}
			}
			x.ask(managedInstance("", "MonitoringDataRead"))
			x.awaitReady("billing")
			x.change(func(c *v1alpha1.APIClientCredential) {
				c.Spec.CloudFoundry.Managed.Roles = []string{"WorkspacePackagesRead"}
			})
			x.awaitRoles("WorkspacePackagesRead")
			x.awaitReady("billing")
		})
	}
}

// What keeps an instance from being made or changed stands in a condition, with what to do about it.
func TestManagedInstancesSayWhatToDo(t *testing.T) {
	t.Parallel()
	failed := state{metav1.ConditionFalse, v1alpha1.ReasonProvisioningFailed}
	for _, test := range []struct {
		name   string
		change func(*cloudfoundrysim.Behaviour, *cloudfoundrysim.Seed)
		spec   func(*v1alpha1.ManagedInstance)
		want   state
		words  []string
	}{
		{"a service that the issuer does not allow", nil, func(m *v1alpha1.ManagedInstance) { m.Offering, m.Plan = "xsuaa", "application" }, failed, []string{"managedInstances of the issuer must allow"}},
		{
			"a plan that is not entitled", func(b *cloudfoundrysim.Behaviour, _ *cloudfoundrysim.Seed) { b.Withheld = []string{"api"} }, nil,
			state{metav1.ConditionFalse, v1alpha1.ReasonUpstreamNotFound},
			[]string{`there is no plan "api"`, "entitle the subaccount"},
		},
		{
			"a space that is full", func(b *cloudfoundrysim.Behaviour, _ *cloudfoundrysim.Seed) { b.InstancesPerSpace = 2 }, nil,
			state{metav1.ConditionFalse, v1alpha1.ReasonUpstreamFull},
			[]string{"You have exceeded your space's services limit"},
		},
		{
			"a value that the service does not take", nil, func(m *v1alpha1.ManagedInstance) { m.TokenValidity = &metav1.Duration{Duration: 25 * time.Hour} },
			failed,
			[]string{"token-validity 90000 is not between 3600 and 86400"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			x := newLandlord(t, test.change)
			wanted := managedInstance("", "MonitoringDataRead")
			if test.spec != nil {
				test.spec(wanted.Managed)
			}
			x.ask(wanted)
			x.await(soon, v1alpha1.ConditionReady, test.want, test.words...)
			if live := x.liveKeys(); live != 0 {
				t.Errorf("%d keys were made", live)
			}
		})
	}
	t.Run("an issuer that allows it later", func(t *testing.T) {
		t.Parallel()
		x := newCFTenant(t, "Password", nil)
		x.ask(managedInstance("", "MonitoringDataRead"))
		x.await(soon, v1alpha1.ConditionReady, failed, "managedInstances of the issuer must allow")
		x.allow()
		x.await(20*time.Second, v1alpha1.ConditionReady, state{metav1.ConditionTrue, v1alpha1.ReasonPublished})
	})
	t.Run("a change that the service does not take", func(t *testing.T) {
		t.Parallel()
		x := newLandlord(t, nil)
		x.ask(managedInstance("", "MonitoringDataRead"))
		x.awaitReady("billing")
		set := func(validity time.Duration) {
			x.change(func(c *v1alpha1.APIClientCredential) {
				c.Spec.CloudFoundry.Managed.TokenValidity = &metav1.Duration{Duration: validity}
			})
		}
		set(25 * time.Hour)
		x.await(soon, v1alpha1.ConditionAttention, state{metav1.ConditionTrue, v1alpha1.ReasonProvisioningFailed}, "did not change the service instance", "90000")
		x.awaitReady("billing")
		// A rotation does not wait for it, and another spec is another attempt.
		x.request(time.Now())
		x.awaitVersion(soon, 2)
		set(2 * time.Hour)
		x.await(soon, v1alpha1.ConditionAttention, state{})
		x.shown()
	})
}

// Whoever has to agree to a version agrees to the instance first, and to what it may do later.
func TestPeopleAgreeToAManagedInstance(t *testing.T) {
	t.Parallel()
	x := newLandlord(t, nil)
	bob, alice := x.requester(), x.approver("alice@example.com")
	update(x.tenant, "apic", &v1alpha1.CredentialIssuer{}, func(i *v1alpha1.CredentialIssuer) { i.Spec.Approval = &v1alpha1.ApprovalDemand{} })
	wanted := managedInstance("", "MonitoringDataRead")
	bob.asks(func(c *v1alpha1.APIClientCredential) { c.Spec.IBMAPIConnect, c.Spec.CloudFoundry = nil, &wanted })
	r := x.asked(1)
	x.await(soon, v1alpha1.ConditionReady, pending, r.Name)
	if n := x.writesUpstream(); n != 0 {
		t.Fatalf("%d instances were asked for, and nobody has agreed", n)
	}
	alice.decides(r, v1alpha1.Approve)
	x.awaitReady("billing")
	bob.edits(func(c *v1alpha1.APIClientCredential) {
		c.Spec.CloudFoundry.Managed.Roles = []string{"AuthGroup_Administrator"}
	})
	r = x.asked(2)
	if !strings.Contains(r.Spec.Cause, "what the managed instance may do was changed") {
		t.Errorf("people are asked about %q", r.Spec.Cause)
	}
	x.awaitRoles("MonitoringDataRead")
	alice.decides(r, v1alpha1.Approve)
	x.awaitRoles("AuthGroup_Administrator")
}
