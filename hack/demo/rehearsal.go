package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/claviger-dev/claviger/api/v1alpha1"
	"github.com/claviger-dev/claviger/internal/apiconnectsim"
)

// rehearse shows that the judge can fail: with an upstream that kills the old version
// as soon as the new one is published, the same workloads and the same count as in the
// performance must report failed calls. A judge that reports none would report none
// later either, whatever the operator does.
func (s *stage) rehearse(ctx context.Context) error {
	sample, err := readSamples(sampleFolder, apiConnectSamples...)
	if err != nil {
		return err
	}
	team, err := sample.team("rehearsal", s.upstream.simulator)
	if err != nil {
		return err
	}
	team.add(sample.credential, "rehearsal")
	credential := team.credentials[0]
	if err := s.upstream.seed(ctx, world(sample, "rehearsal")); err != nil {
		return err
	}
	s.story.tell("judge", "rehearsal: the upstream kills each old version at once; the judge must see calls fail")
	if err := s.upstream.cheat(ctx, true); err != nil {
		return err
	}
	s.scene.enter(s.upstream, "a day", credential) // no policy, hence the default
	fleet := newFleet(s.scene.board, 2*time.Second)
	dismiss := s.scene.employ(fleet, credential)
	if err := s.apply(ctx, "rehearsal", team.objects...); err != nil {
		return err
	}
	if err := s.rotateOnce(ctx, fleet, credential); err != nil {
		return err
	}
	dismiss()
	calls, failed, _, failures := fleet.tally.sum()
	if failed == 0 {
		return fmt.Errorf("the judge is blind: the upstream killed a version in use and none of %d calls was reported as failed", calls)
	}
	s.story.tell("judge", "%d of %d calls failed, as they had to, such as %s", failed, calls, failures[0])
	if err := s.upstream.cheat(ctx, false); err != nil {
		return err
	}
	return s.forget(ctx, credential)
}

// rotateOnce asks for one rotation and waits until all workloads hold the result.
func (s *stage) rotateOnce(ctx context.Context, fleet *fleet, credential *v1alpha1.APIClientCredential) error {
	if err := s.inUse(ctx, fleet, 0, credential); err != nil {
		return err
	}
	request := v1alpha1.AnnotationRotateRequestedAt + "=" + time.Now().UTC().Format(time.RFC3339Nano)
	if _, err := s.plane.Kubectl(ctx, "annotate", "--namespace", credential.Namespace, "apicred", credential.Name, request); err != nil {
		return err
	}
	return s.inUse(ctx, fleet, 1, credential)
}

// inUse waits until credentials were rotated that often and every workload has been
// served with what is published.
func (s *stage) inUse(ctx context.Context, fleet *fleet, rotations int, credentials ...*v1alpha1.APIClientCredential) error {
	return await(ctx, fmt.Sprintf("each credential was rotated %d times and every workload worked with the result", rotations), func() (bool, string) {
		for _, c := range credentials {
			now, _ := s.scene.board.read(secretOf(c))
			if n := s.scene.board.rotations(secretOf(c)); now.empty() || n < rotations {
				return false, fmt.Sprintf("%s was published and rotated %d times", nameOf(c), n)
			}
			for _, reads := range []bool{true, false} {
				if who := name(nameOf(c), reads); !fleet.tally.works(who, now.held) {
					return false, who + " has not been served with version " + now.version
				}
			}
		}
		return true, ""
	})
}

// forget deletes a credential and waits until it is gone.
func (s *stage) forget(ctx context.Context, credential *v1alpha1.APIClientCredential) error {
	object := &v1alpha1.APIClientCredential{}
	object.Namespace, object.Name = credential.Namespace, credential.Name
	if err := s.admin.Delete(ctx, object); err != nil {
		return err
	}
	err := await(ctx, nameOf(credential).String()+" is gone", func() (bool, string) {
		err := s.admin.Get(ctx, client.ObjectKeyFromObject(object), object)
		return apierrors.IsNotFound(err), fmt.Sprintf("%v", errors.Join(err, stalled(object)))
	})
	s.scene.objections() // what the cheat revoked too early is not the operator's fault
	return err
}

// stalled says what an object says of itself.
func stalled(credential *v1alpha1.APIClientCredential) error {
	for _, c := range credential.Status.Conditions {
		if c.Type == v1alpha1.ConditionReady {
			return fmt.Errorf("%s: %s", c.Reason, c.Message)
		}
	}
	return nil
}

// world is what the upstream must have for apps: the places that the samples name.
func world(s *samples, apps ...string) apiconnectsim.Seed {
	issuer, credential := s.issuer.Spec.IBMAPIConnect, s.credential.Spec.IBMAPIConnect
	consumerOrg := apiconnectsim.SeedConsumerOrg{Name: credential.ConsumerOrg}
	for _, name := range apps {
		consumerOrg.Apps = append(consumerOrg.Apps, apiconnectsim.SeedApp{Name: name})
	}
	return apiconnectsim.Seed{Orgs: []apiconnectsim.SeedOrg{{
		Name:     issuer.ProviderOrg,
		Catalogs: []apiconnectsim.SeedCatalog{{Name: issuer.Catalog, ConsumerOrgs: []apiconnectsim.SeedConsumerOrg{consumerOrg}}},
	}}}
}
