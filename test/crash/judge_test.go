package crash

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
)

// unrest says what is still on its way, or does not fit together; nothing at rest.
func (s *stage) unrest() string {
	here := []string{}
	for _, ns := range s.namespaces {
		versions, err := s.versions(s.ctx, ns)
		if err != nil {
			return err.Error()
		}
		alive := map[string]int{}
		for _, v := range versions {
			if v.Annotations[journal.AnnotationRevokedAt] != "" {
				continue
			}
			if v.DeletionTimestamp != nil {
				return fmt.Sprintf("version %s/%s is being revoked", ns, v.Name)
			}
			alive[v.Labels[journal.LabelCredentialUID]]++
			here = append(here, v.Annotations[journal.AnnotationMark])
		}
		credentials := &v1alpha1.APIClientCredentialList{}
		if err := s.world.Client.List(s.ctx, credentials, client.InNamespace(ns)); err != nil {
			return err.Error()
		}
		for i := range credentials.Items {
			c := &credentials.Items[i]
			if n := alive[string(c.UID)]; n != 1 {
				return fmt.Sprintf("%d versions of %s/%s are alive: %s", n, ns, c.Name, conditions(c))
			}
			delete(alive, string(c.UID))
			if lack := s.unready(c); lack != "" {
				return lack
			}
		}
		for uid := range alive {
			return fmt.Sprintf("namespace %s holds versions of the credential %s, which does not exist", ns, uid)
		}
	}
	return s.disagreement(here)
}

// unready says why a credential is not what its user wants.
func (s *stage) unready(c *v1alpha1.APIClientCredential) string {
	name := c.Namespace + "/" + c.Name
	if !meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ConditionReady) || len(c.Status.Conditions) != 1 {
		return fmt.Sprintf("%s: %s", name, conditions(c))
	}
	p, err := s.read(s.ctx, c.Namespace, c.Spec.Secret.Name)
	if err != nil {
		return err.Error()
	}
	if !s.sim.Accepts(p.id, p.secret) {
		return fmt.Sprintf("%s: what its Secret holds is refused: client id %s", name, p.id)
	}
	if c.Spec.Secret.Naming != v1alpha1.NamingVersioned {
		return ""
	}
	own, err := s.ownSecrets(s.ctx, c.Namespace)
	own = slices.DeleteFunc(own, func(secret corev1.Secret) bool { return secret.Annotations[journal.AnnotationCredential] != name })
	if err != nil || len(own) != 1 || pairOf(&own[0]) != p {
		return fmt.Sprintf("%s: %d Secrets of single versions stand for one version (%v)", name, len(own), err)
	}
	return ""
}

func conditions(c *v1alpha1.APIClientCredential) string {
	var all []string
	for _, condition := range c.Status.Conditions {
		all = append(all, fmt.Sprintf("%s=%s %s: %s", condition.Type, condition.Status, condition.Reason, condition.Message))
	}
	return strings.Join(all, "; ")
}

// disagreement says how the upstream and the journal differ.
func (s *stage) disagreement(here []string) string {
	upstream := []string{}
	for _, record := range s.sim.Ledger().Live() {
		upstream = append(upstream, record.Attrs["clientId"])
	}
	s.mu.Lock()
	for id := range s.abandoned {
		here = append(here, id)
	}
	s.mu.Unlock()
	slices.Sort(upstream)
	slices.Sort(here)
	if diff := gocmp.Diff(here, upstream); diff != "" {
		return "journal and ledger differ (-journal +ledger):\n" + diff
	}
	return ""
}

// judge holds the ledger against what the cast asked for.
func (s *stage) judge() {
	s.t.Helper()
	issued, twice := map[string]int{}, map[string]int{}
	for _, record := range s.sim.Ledger().Issued() {
		issued[record.Attrs["app"]]++
		if twice[record.Attrs["clientId"]]++; twice[record.Attrs["clientId"]] == 2 {
			s.t.Errorf("client id %s was issued more than once", record.Attrs["clientId"])
		}
	}
	for _, a := range s.cast {
		if got, want := issued[a.app.App], a.issues+a.requests; want > 0 && got != want {
			s.t.Errorf("%s/%s: %d credentials were issued for %d first issues and %d requests", a.ns, a.name, got, a.issues, a.requests)
		}
		if got, count := issued[a.app.App], s.newest(a); count > 0 && got != count {
			s.t.Errorf("%s/%s: %d credentials were issued and the journal counts %d", a.ns, a.name, got, count)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, fault := range s.faults {
		if i == 20 {
			s.t.Errorf("… and %d more", len(s.faults)-i)
			break
		}
		s.t.Error(fault)
	}
	s.faults = nil
}

// newest is the number of an actor's newest version; 0 if there is none.
func (s *stage) newest(a *actor) int {
	s.t.Helper()
	versions, err := s.versions(s.ctx, a.ns)
	if err != nil {
		s.t.Fatal(err)
	}
	versions = slices.DeleteFunc(versions, func(v corev1.Secret) bool {
		return v.Annotations[journal.AnnotationCredential] != a.ns+"/"+a.name
	})
	if len(versions) == 0 {
		return 0
	}
	last := slices.MaxFunc(versions, func(a, b corev1.Secret) int { return cmp.Compare(numberOf(a), numberOf(b)) })
	return numberOf(last)
}

func numberOf(v corev1.Secret) int {
	n, _ := strconv.Atoi(v.Annotations[journal.AnnotationNumber]) // 0 is no version's number
	return n
}

// judgeCallers wants calls, and none that failed; those that did are among the faults.
func (s *stage) judgeCallers() {
	s.t.Helper()
	s.mu.Lock()
	calls, blinded, faults := s.calls, s.blinded, s.faults
	s.mu.Unlock()
	if blinded > calls/100 {
		s.t.Errorf("%d of %d calls failed because their callers saw nothing for a while: they prove little", blinded, calls)
	}
	if calls < 50 {
		s.t.Errorf("the callers made %d calls only: they prove nothing", calls)
	}
	for _, fault := range faults {
		s.t.Error(fault)
	}
	s.t.Logf("%d calls; %d credentials were issued", calls, len(s.sim.Ledger().Issued()))
}

// judgeQuiet wants a while in which the operator neither writes nor calls: it knows that
// there is nothing to do.
func (s *stage) judgeQuiet() {
	s.t.Helper()
	const while = 3 * time.Second
	s.eventually(time.Minute, "quiet", func() string {
		since, err := s.world.Now()
		if err != nil {
			return err.Error()
		}
		before := s.operatorCalls("*")
		timer := time.NewTimer(while)
		defer timer.Stop()
		<-timer.C
		for _, ns := range s.namespaces {
			requests, err := s.world.Requests(since, ns)
			if err != nil {
				return err.Error()
			}
			for _, r := range requests {
				if r.Write() {
					return "the operator still writes: " + r.String()
				}
			}
		}
		if n := s.operatorCalls("*") - before; n > 0 {
			return fmt.Sprintf("the operator still makes calls: %d", n)
		}
		return ""
	})
}

// operatorCalls counts the upstream calls of operators by operation: exact, or a prefix
// and "*".
func (s *stage) operatorCalls(operation string) int {
	total := 0
	prefix, all := strings.CutSuffix(operation, "*")
	for _, n := range s.sim.Calls().List() {
		if strings.HasPrefix(n.Agent, operatorAgent) && (n.Operation == operation || all && strings.HasPrefix(n.Operation, prefix)) {
			total += n.Calls
		}
	}
	return total
}

// operatorAgent begins the user agent of the operator's upstream calls.
const operatorAgent = "claviger"

// judgeLeaks searches for secrets while an operator lives, whose metrics are searched, too,
// and while the credentials still have a status. The world searches once more at its end,
// when all processes are dead.
func (s *stage) judgeLeaks() {
	s.t.Helper()
	if err := s.world.Leaks(s.ctx); err != nil {
		s.t.Error(err)
	}
}
