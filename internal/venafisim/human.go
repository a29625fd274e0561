package venafisim

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// by runs a person's deed on an object.
func (s *Sim) byPerson(what, dn string, deed func(*object) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.object(dn)
	if o == nil {
		return fmt.Errorf("there is no certificate object %s", dn)
	}
	if err := deed(o); err != nil {
		return err
	}
	s.stage.Events.Append(EventHuman, "", map[string]string{"what": what, "dn": dn})
	return nil
}

// Approve closes the ticket of a request that waits for a person; it goes on.
func (s *Sim) Approve(dn string) error {
	return s.byPerson("approve", dn, func(o *object) error {
		if o.stage != stageApproval {
			return fmt.Errorf("%s waits for nobody", dn)
		}
		o.stage, o.status, o.ticket = stagePosted, "Post CSR", ""
		return nil
	})
}

// Reject refuses a request that waits for a person, in the person's words.
func (s *Sim) Reject(dn, words string) error {
	return s.byPerson("reject", dn, func(o *object) error {
		if o.stage != stageApproval {
			return fmt.Errorf("%s waits for nobody", dn)
		}
		o.inError, o.status = true, "Workflow ticket rejected: "+words
		return nil
	})
}

// RenameObject gives an object another name.
func (s *Sim) RenameObject(dn, name string) error {
	return s.byPerson("rename", dn, func(o *object) error {
		o.name = name
		s.stage.Ledger.Change(simkit.Entry{Kind: kindObject, ID: o.guid, Attrs: o.attrs(), By: byHand, How: "human"})
		return nil
	})
}

// RemoveObject revokes all certificates of an object and deletes it.
func (s *Sim) RemoveObject(dn string) error {
	return s.byPerson("remove", dn, func(o *object) error {
		for _, i := range o.all() {
			if !i.revoked {
				s.endCertificate(o, i, byHand, "human")
			}
		}
		s.remove(o, byHand, "human")
		return nil
	})
}

// AddCertificate has somebody else make an object in a folder.
func (s *Sim) AddCertificate(policyDN, name string) error {
	return s.AddForeign(policyDN, name, "a person")
}

// AddForeign is AddCertificate with an origin.
func (s *Sim) AddForeign(policyDN, name, origin string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.world.policies[strings.ToLower(policyDN)]
	if p == nil {
		return fmt.Errorf("there is no folder %s", policyDN)
	}
	o := &object{guid: newGUID(), parent: p.DN, name: name, created: s.clock.Now(), origin: origin}
	s.world.objects = append(s.world.objects, o)
	s.stage.Ledger.Issue(simkit.Entry{Kind: kindObject, ID: o.guid, Attrs: o.attrs(), By: byHand, How: "human"})
	return nil
}

// RenamePolicy moves a folder with all that is in it.
func (s *Sim) RenamePolicy(dn, to string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.world.policies[strings.ToLower(dn)]
	if p == nil {
		return fmt.Errorf("there is no folder %s", dn)
	}
	delete(s.world.policies, strings.ToLower(dn))
	s.world.policies[strings.ToLower(to)] = p
	for _, o := range s.world.objects {
		if strings.EqualFold(o.parent, p.DN) {
			o.parent = to
		}
	}
	p.DN = to
	return nil
}

// Deny takes from an identity the sight of a folder, Allow gives it back.
func (s *Sim) Deny(dn, identity string) error {
	return s.rights(dn, func(denied []string) []string { return append(denied, identity) })
}

// Allow gives an identity the sight of a folder.
func (s *Sim) Allow(dn, identity string) error {
	return s.rights(dn, func(denied []string) []string {
		return slices.DeleteFunc(denied, func(name string) bool { return name == identity })
	})
}

func (s *Sim) rights(dn string, change func([]string) []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.world.policies[strings.ToLower(dn)]
	if p == nil {
		return fmt.Errorf("there is no folder %s", dn)
	}
	p.Denied = change(slices.Clone(p.Denied))
	return nil
}

// EndGrant has an administrator revoke the grant of a token.
func (s *Sim) EndGrant(access string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.grantOf(access)
	if g == nil {
		return fmt.Errorf("no grant has this token")
	}
	s.endGrant(g, byHand, "human")
	return nil
}

// AcceptsToken reports whether a workload with this token is served, all caches over; it
// counts nothing.
func (s *Sim) AcceptsToken(access string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.grantOf(access)
	return g != nil && g.serves(s.clock.Now())
}

// GrantOf is the ledger's id of the grant behind a token, empty if there is none.
func (s *Sim) GrantOf(access string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.world.grants {
		if g.access == access || slices.Contains(g.dead, access) {
			return g.ledgerID
		}
	}
	return ""
}

// LiveGrants counts those of an application that can still be used or renewed.
func (s *Sim) LiveGrants(clientID string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	live := 0
	for _, g := range s.world.grants {
		if strings.EqualFold(g.clientID, clientID) && g.live(s.clock.Now()) {
			live++
		}
	}
	return live
}

// AcceptsCertificate reports whether a server that trusts the platform's CA, and asks it
// for revocations, takes this certificate; it counts nothing.
func (s *Sim) AcceptsCertificate(certificatePEM, chainPEM string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	block, _ := pem.Decode([]byte(certificatePEM))
	if block == nil {
		return false
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return false
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(s.issuing.root)
	intermediates.AppendCertsFromPEM(bytes.TrimSpace([]byte(chainPEM)))
	_, err = leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: s.clock.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	_, known := s.byThumbprint(thumbprintOf(leaf))
	return err == nil && known != nil && !known.revoked
}

// EndGrantByID has an administrator revoke the grant that the ledger knows by this id.
func (s *Sim) EndGrantByID(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.world.grants {
		if g.ledgerID == id {
			s.endGrant(g, byHand, "human")
			return nil
		}
	}
	return fmt.Errorf("there is no grant %s", id)
}

// Replace has somebody renew an object with a key of his own and revoke what it held.
func (s *Sim) Replace(dn string) error {
	return s.byPerson("replace", dn, func(o *object) error {
		if o.current == nil {
			return fmt.Errorf("%s holds no certificate", dn)
		}
		was := o.current
		certificate, err := s.issuing.replace(was.certificate, s.clock.Now())
		if err != nil {
			return err
		}
		s.endCertificate(o, was, byHand, "human")
		s.world.serial++
		o.history = append([]*issued{was}, o.history...)
		o.current = &issued{certificate: certificate, vaultID: s.world.serial, thumbprint: thumbprintOf(certificate)}
		s.stage.Ledger.Issue(simkit.Entry{Kind: kindCertificate, ID: o.current.thumbprint, Attrs: o.certificateAttrs(o.current), By: byHand, How: "human"})
		return nil
	})
}

// Repeat has a request for an object repeated with the same key, as a client does that
// does not look first; it is issued at once.
func (s *Sim) Repeat(dn, privateKeyPEM string) error {
	return s.byPerson("repeat", dn, func(o *object) error {
		block, _ := pem.Decode([]byte(privateKeyPEM))
		if block == nil || o.current == nil {
			return fmt.Errorf("%s cannot be repeated", dn)
		}
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return fmt.Errorf("the key cannot be read")
		}
		signer, ok := key.(crypto.Signer)
		if !ok {
			return fmt.Errorf("the key cannot sign")
		}
		request := &x509.CertificateRequest{Subject: o.current.certificate.Subject, DNSNames: o.current.certificate.DNSNames, PublicKey: signer.Public()}
		now := s.clock.Now()
		certificate, err := s.issuing.issue(request, now, o.current.certificate.NotAfter.Sub(now), false)
		if err != nil {
			return err
		}
		s.world.serial++
		o.history = append([]*issued{o.current}, o.history...)
		o.current = &issued{certificate: certificate, vaultID: s.world.serial, thumbprint: thumbprintOf(certificate)}
		s.stage.Ledger.Issue(simkit.Entry{Kind: kindCertificate, ID: o.current.thumbprint, Attrs: o.certificateAttrs(o.current), By: byHand, How: "human"})
		return nil
	})
}
