package issuer

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/journal"
	"github.com/claviger-dev/claviger/internal/upstream"
)

const (
	// listTimeout bounds one listing: a hundred pages at ten calls a second take ten
	// seconds, and credentials share the budget.
	listTimeout = 5 * time.Minute
	// revokeTimeout bounds one revocation. It goes on while the process stops, which
	// must not take longer than a minute.
	revokeTimeout = 20 * time.Second
	// revokeLimit is how many late arrivals one pass revokes. They are rare; many at
	// once are more likely a journal that was lost.
	revokeLimit = 10
	// freshCheck is how old the last check may be when a pass begins.
	freshCheck = time.Minute
)

// pass is the state of the periodic comparison of the upstream with the journal.
type pass struct {
	// done: this process has finished one.
	done   bool
	nextAt time.Time
	// failures of the listing in a row, and the trouble if they matter.
	failures int
	trouble  *finding
	// expected and missing count versions; suspect: too many are missing to conclude anything.
	expected, missing int
	suspect           bool
	// hashes are those of the last listing, secrets those of what was read here.
	hashes  map[upstream.Mark]string
	secrets map[types.UID]string
	unread  []journal.Version
	readAt  time.Time
	orphans v1alpha1.SuspectedOrphans
	// revoked are the late arrivals that this pass revoked; they become events.
	revoked []string
}

// sweep lists the upstream once and then compares it with the journal.
func (r *Reconciler) sweep(ctx context.Context, g *gathered) error {
	rec := g.record
	if r.Options.Local.Since(rec.checkedAt) > freshCheck {
		if err := r.login(ctx, g); err != nil || !rec.usable {
			return err
		}
	}
	// Upstream first: see evidence.
	asked := r.Options.Server.Now()
	listing, err := r.list(ctx, rec.upstream)
	if err != nil {
		rec.unlisted(err, correction(g.issuer.IssuerSpec()), r.Options.Local.Now())
		return nil
	}
	metadata, err := versions(ctx, r.Client, g.issuer.GetNamespace(), nil)
	if err != nil {
		return err
	}
	f := judge(evidence{
		issuer: g.issuer.GetUID(), asked: asked, found: listing.Found, versions: parsed(metadata),
		unlisted: rec.upstream.Capabilities().Unlisted, confirmed: confirmedMissing(g.issuer),
		owners: rec.owners, secrets: rec.pass.secrets, dismissed: r.Accounts.dismissals(g.issuer.GetUID()),
	})
	suspicions, err := r.lateArrivals(ctx, g, f.strangers)
	if err != nil {
		return err
	}
	p := &rec.pass
	p.done, p.failures, p.trouble = true, 0, nil
	p.nextAt = r.Options.Local.Now().Add(nextSweep(r.Options.SweepInterval, g.issuer.GetUID()))
	p.expected, p.missing, p.suspect = f.expected, f.missing, f.suspect
	p.hashes, p.unread, p.orphans = f.hashes, f.unread, reported(suspicions)
	p.forgetSecrets(metadata)
	r.Accounts.conclude(rec.id, f.doubts, f.hashes, rec.places(listing.Places, asked))
	r.readOwners(ctx, rec.upstream)
	return nil
}

// places are what the listing showed of managed places. Where no credential has one, nobody
// wants to know.
func (rec *record) places(found []upstream.FoundPlace, asked time.Time) Places {
	if _, ok := rec.upstream.(upstream.Provisioner); !ok || !rec.furnished {
		return Places{}
	}
	applied := map[string]string{}
	for _, place := range found {
		applied[place.Owner] = place.Applied
	}
	return Places{Asked: asked, Applied: applied}
}

// readOwners learns whom credentials belong to, for notifications. Nothing waits for it: a login
// may have no right to see people.
func (r *Reconciler) readOwners(ctx context.Context, account upstream.Upstream) {
	directory, ok := account.(upstream.Directory)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	if err := directory.ReadOwners(ctx); err != nil {
		log.FromContext(ctx).V(1).Info("the owners are not known", "cause", err.Error())
	}
}

// dueAt is when the next pass is due: at once when an administrator has confirmed what it waits
// for.
func (p *pass) dueAt(issuer v1alpha1.Issuer) time.Time {
	if p.suspect && confirmedMissing(issuer) == p.missing {
		return time.Time{}
	}
	return p.nextAt
}

// confirmedMissing is the number of missing versions that an administrator has looked into;
// -1 if nobody has.
func confirmedMissing(issuer v1alpha1.Issuer) int {
	n, err := strconv.Atoi(issuer.GetAnnotations()[v1alpha1.AnnotationMissingConfirmed])
	if err != nil {
		return -1
	}
	return n
}

func (r *Reconciler) list(ctx context.Context, account upstream.Upstream) (upstream.Listing, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	return account.List(ctx, upstream.Owner{})
}

// unlisted notes a listing that failed. Before the first pass that matters at once,
// because renewals wait for it; later only if it goes on.
func (rec *record) unlisted(err error, correct string, now time.Time) {
	p := &rec.pass
	p.failures++
	p.nextAt = now.Add(max(pause(p.failures), upstream.AfterOf(err)))
	if upstream.ClassOf(err) == upstream.LoginFailed {
		rec.failed(err, correct, now)
		return
	}
	if p.done && tolerable(err, p.failures) || upstream.ClassOf(err) == upstream.Throttled {
		return
	}
	f := loginFinding(err, correct)
	f.message = "The login works, but what exists upstream cannot be listed, and routine renewal waits for that: " + f.message
	p.trouble = &f
}

// read reads a few of the version Secrets whose hash the upstream lists, and compares.
// Reading all of them at once would be ten thousand calls at every start.
func (r *Reconciler) read(ctx context.Context, g *gathered) error {
	p := &g.record.pass
	store := journal.Store{Client: r.Client, Live: r.Live}
	dismissed := r.Accounts.dismissals(g.issuer.GetUID())
	if p.secrets == nil {
		p.secrets = map[types.UID]string{}
	}
	for range min(readSlice, len(p.unread)) {
		v := p.unread[0]
		whole, err := store.Version(ctx, v.Key, v.UID)
		if err != nil && !apierrors.IsNotFound(err) && whole.UID == "" {
			return err
		}
		p.unread = p.unread[1:]
		if err != nil || whole.Terminating {
			continue // Gone meanwhile, or unreadable, which its credential says.
		}
		sum := sha256.Sum256([]byte(whole.Material.ClientSecret.Reveal()))
		hash := base64.StdEncoding.EncodeToString(sum[:])
		p.secrets[v.UID] = hash
		if listed := p.hashes[v.Mark]; listed != hash && listed != dismissed[v.Mark] {
			r.Accounts.doubt(g.record.id, v.Mark, otherSecret)
		}
	}
	p.readAt = r.Options.Local.Now().Add(readPause)
	return nil
}

// forgetSecrets drops the hashes of versions that are gone.
func (p *pass) forgetSecrets(present []metav1.PartialObjectMetadata) {
	uids := map[types.UID]bool{}
	for i := range present {
		uids[present[i].UID] = true
	}
	maps.DeleteFunc(p.secrets, func(uid types.UID, _ string) bool { return !uids[uid] })
}

// lateArrivals revokes what may be revoked of the strangers and returns the rest with
// the reason why not.
func (r *Reconciler) lateArrivals(ctx context.Context, g *gathered, strangers []upstream.Found) ([]suspicion, error) {
	rec, now := g.record, r.Options.Local.Now()
	if len(strangers) == 0 {
		clear(rec.firstSeen)
		return nil, nil
	}
	// The cache may be behind. What is revoked or reported is compared with the API
	// server itself.
	live, err := versions(ctx, r.Live, g.issuer.GetNamespace(), nil)
	if err != nil {
		return nil, err
	}
	strangers = unknown(strangers, live)
	seen := map[upstream.Mark]time.Time{}
	for _, found := range strangers {
		seen[found.Mark] = now
		if first, ok := rec.firstSeen[found.Mark]; ok {
			seen[found.Mark] = first
		}
	}
	rec.firstSeen = seen
	due, early := arrivals(strangers, rec.owners, seen, now, r.Options.OrphanAge)

	var suspicions []suspicion
	for _, a := range early {
		reason := fmt.Sprintf("No version of credential %s has its mark. It is revoked once the operator has known it for %s.", a.Owner.Key, r.Options.OrphanAge)
		if a.Owner.Gone {
			reason = fmt.Sprintf("Its credential %s was deleted; nobody revokes it by itself.", a.Owner.Key)
		}
		suspicions = append(suspicions, suspicion{arrival: a, reason: reason})
	}
	for i, a := range due {
		reason, err := r.revoke(ctx, g, a, live, i)
		if err != nil {
			return nil, err
		}
		if reason != "" {
			suspicions = append(suspicions, suspicion{arrival: a, reason: reason})
		}
	}
	return suspicions, nil
}

// revoke revokes the n-th late arrival of a pass, or says why not.
func (r *Reconciler) revoke(ctx context.Context, g *gathered, a arrival, live []metav1.PartialObjectMetadata, n int) (objection string, err error) {
	switch {
	case r.Options.ObserveOnly:
		return "The operator runs with --observe-only.", nil
	case !r.Options.Server.Steady():
		return "The API server's clock jumped; nothing is revoked until it is steady.", nil
	case n >= revokeLimit:
		return fmt.Sprintf("At most %d are revoked in one pass.", revokeLimit), nil
	}
	c, err := r.clearance(ctx, a.Owner, live)
	if err != nil {
		return "", err
	}
	if objection := c.objection(a); objection != "" {
		return objection, nil
	}
	_, member := c.credential.Spec.Upstream()
	parameters, err := json.Marshal(member)
	if err != nil {
		return "", fmt.Errorf("write the parameters of credential %s: %w", a.Owner.Key, err)
	}
	// A revocation that was begun is finished even if the process is told to stop.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTimeout)
	defer cancel()
	handle := upstream.Handle{Parameters: parameters, Container: a.Container, Name: a.Name, Mark: a.Mark, ID: a.ID}
	if err := g.record.upstream.Revoke(ctx, handle); err != nil && upstream.ClassOf(err) != upstream.NotFound {
		return fmt.Sprintf("It cannot be revoked: %s.", upstream.ClassOf(err)), nil
	}
	ctrl.LoggerFrom(ctx).Info("revoked a late arrival", "credential", a.Owner.Key, "upstreamName", a.Name, "container", a.Container)
	delete(g.record.firstSeen, a.Mark)
	g.record.pass.revoked = append(g.record.pass.revoked, fmt.Sprintf("%s of credential %s", a.Name, a.Owner.Key))
	return "", nil
}

// clearance reads live what decides whether a late arrival may be revoked.
func (r *Reconciler) clearance(ctx context.Context, o owner, live []metav1.PartialObjectMetadata) (clearance, error) {
	c := clearance{clusterID: r.Options.ClusterID, owner: o}
	credential := &v1alpha1.APIClientCredential{}
	if err := r.Live.Get(ctx, o.Key, credential); apierrors.IsNotFound(err) {
		return c, nil
	} else if err != nil {
		return c, fmt.Errorf("read credential %s: %w", o.Key, err)
	}
	c.credential = credential
	for i := range live {
		if live[i].Labels[journal.LabelCredentialUID] != string(o.UID) {
			continue
		}
		v, err := journal.Parse(&live[i])
		c.unreadable = c.unreadable || err != nil
		c.versions = append(c.versions, v)
	}
	secret := &corev1.Secret{}
	switch err := r.Live.Get(ctx, types.NamespacedName{Namespace: o.Key.Namespace, Name: credential.Spec.Secret.Name}, secret); {
	case err == nil:
		c.target = journal.ReadTargetSecret(secret)
	case client.IgnoreNotFound(err) != nil:
		return c, fmt.Errorf("read the Secret of credential %s: %w", o.Key, err)
	}
	var err error
	if c.copies, err = (journal.Store{Live: r.Live}).Copies(ctx, o.Key.Namespace, o.UID); err != nil {
		return c, fmt.Errorf("credential %s: %w", o.Key, err)
	}
	return c, nil
}

// parsed reads the metadata of version Secrets. What cannot be read in full still
// proves that its mark is known.
func parsed(metadata []metav1.PartialObjectMetadata) []journal.Version {
	result := make([]journal.Version, 0, len(metadata))
	for i := range metadata {
		v, err := journal.Parse(&metadata[i])
		if err != nil && !errors.Is(err, journal.ErrTooNew) {
			v.Issuer.UID = "" // Nothing is expected of it.
		}
		result = append(result, v)
	}
	return result
}

// unknown returns the strangers whose mark no version Secret bears.
func unknown(strangers []upstream.Found, live []metav1.PartialObjectMetadata) []upstream.Found {
	known := map[upstream.Mark]bool{}
	for i := range live {
		known[upstream.Mark(live[i].Annotations[journal.AnnotationMark])] = true
	}
	var rest []upstream.Found
	for _, found := range strangers {
		if !known[found.Mark] {
			rest = append(rest, found)
		}
	}
	return rest
}
