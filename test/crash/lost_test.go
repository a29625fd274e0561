package crash

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
)

// platforms are two of them: credentials are deleted in the namespace of one, and with that of
// the other.
type platforms struct {
	*director
	spared, doomed *platform
	// told are grants that nobody can find, and that an administrator is told of.
	told int
}

// A deletion while an answer is under way, which one process knows, leaves nothing, or what it
// leaves is told.
func TestADeletionWhileAnAnswerIsUnderWayLeavesNothingUntold(t *testing.T) {
	t.Parallel()
	s := newStage(t, newWorld(t))
	d := &director{stage: s}
	var all []*platforms
	for _, boundary := range d.boundariesOf(slices.Sorted(maps.Keys(lost))) {
		p := &platforms{director: d, spared: newPlatform(s), doomed: newPlatform(s)}
		lost[effectOf(boundary)](p, boundary)
		p.delete()
		all = append(all, p)
	}
	s.operator()
	for _, p := range all {
		s.eventually(toRest, "what was deleted is gone", p.left)
		p.judgeTold()
	}
	s.judgeQuiet()
	s.judgeLeaks()
	s.namespaces = slices.DeleteFunc(s.namespaces, func(ns string) bool {
		return slices.ContainsFunc(all, func(p *platforms) bool { return p.doomed.ns == ns })
	})
	s.leave()
}

// each asks for a credential for each way of deleting it.
func (p *platforms) each(kind string) {
	p.t.Helper()
	for i := range ways {
		p.spared.ask(kind, fmt.Sprintf("%s-%d", p.spared.ns, i))
	}
	p.doomed.ask(kind, p.doomed.ns)
}

// crash runs an operator until it dies with all of them at a boundary.
func (p *platforms) crash(boundary string) {
	p.t.Helper()
	o, err := p.world.RunCrowd(boundary, len(ways)+1)
	if err != nil {
		p.t.Fatal(err)
	}
	p.operators = append(p.operators, o)
	p.awaitDeath(o, boundary)
}

// unwritten have an answer that nobody has written down, or a moment ago.
func (p *platforms) unwritten(boundary string) {
	p.each(aCertificate)
	p.crash(boundary)
}

// suspected have lost an answer that cannot be found.
func (p *platforms) suspected(boundary string) {
	p.each(aToken)
	p.crash("WriteAnswer/before")
	p.crash(boundary)
	p.told = len(ways) + 1
}

// pointless have an answer that somebody else has had meanwhile. It takes two processes and
// minutes, so there is one in each namespace.
func (p *platforms) pointless(boundary string) {
	for _, place := range []*platform{p.spared, p.doomed} {
		h := place.ask(aCertificate, place.ns)
		o := p.operator()
		h.awaitVersion()
		p.kill(o)
		p.disown(h, boundary)
	}
}

// delete deletes each in its way, while no operator runs.
func (p *platforms) delete() {
	p.t.Helper()
	for i, h := range p.spared.holders {
		doomed := &v1alpha1.APIClientCredential{ObjectMeta: metav1.ObjectMeta{Namespace: h.ns, Name: h.name}}
		if err := p.world.Client.Delete(p.ctx, doomed, client.PropagationPolicy(ways[i])); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := p.world.Client.Delete(p.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: p.doomed.ns}}); err != nil {
		p.t.Fatal(err)
	}
}

// left says what is still there.
func (p *platforms) left() string {
	if err := p.world.Client.Get(p.ctx, client.ObjectKey{Name: p.doomed.ns}, &corev1.Namespace{}); !apierrors.IsNotFound(err) {
		return fmt.Sprintf("namespace %s is still there (%v); %s", p.doomed.ns, err, p.remains(p.doomed.ns))
	}
	credentials := &v1alpha1.APIClientCredentialList{}
	if err := p.world.Client.List(p.ctx, credentials, client.InNamespace(p.spared.ns)); err != nil {
		return err.Error()
	}
	for i := range credentials.Items {
		return fmt.Sprintf("credential %s is still there: %s", credentials.Items[i].Name, conditions(&credentials.Items[i]))
	}
	if versions, err := p.versions(p.ctx, p.spared.ns); err != nil || len(versions) > 0 {
		return fmt.Sprintf("%d versions are still there, %v", len(versions), err)
	}
	return ""
}

// judgeTold holds what lives upstream against what the issuer tells. That of the namespace that
// is gone could tell only the log.
func (p *platforms) judgeTold() {
	p.t.Helper()
	lives := 0
	for _, place := range []*platform{p.spared, p.doomed} {
		for _, h := range place.holders {
			lives += len(h.live())
		}
	}
	if lives != p.told {
		p.t.Errorf("%d live upstream, want %d", lives, p.told)
	}
	issuer := &v1alpha1.CredentialIssuer{}
	if err := p.world.Client.Get(p.ctx, client.ObjectKey{Namespace: p.spared.ns, Name: aToken}, issuer); err != nil {
		p.t.Fatal(err)
	}
	if got, want := issuer.Status.Unresolved.Count, int64(max(0, p.told-1)); got != want {
		p.t.Errorf("the issuer tells of %d that cannot be found, want %d", got, want)
	}
}
