package cloudfoundrysim

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// A landscape has platforms beside Cloud Foundry whose users have instances at the same
// brokers: what is in this file is how those speak to them. Keys that another platform has
// made are not in this region's ledger: they stand in that platform's own.

// Bound is a key that a broker has made for another platform.
type Bound struct {
	Document                      json.RawMessage
	ClientID, Fingerprint, Serial string
}

// Bind has the broker of the instance org/space/name make a key. The error is what the broker
// says.
func (s *Sim) Bind(at, id string, parameters json.RawMessage) (Bound, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.world.path(at)
	if i == nil {
		return Bound{}, errAbsent("instance", at)
	}
	live := 0
	for _, other := range s.world.keys {
		if other.instance == i && other.made != nil {
			live++
		}
	}
	if live >= s.behaves().KeysPerInstance {
		return Bound{}, fmt.Errorf("quota reached: %d bindings", live)
	}
	now := s.clock.Now()
	k := &key{guid: id, name: id, instance: i, parameters: parameters, operation: opCreate, state: stateSucceeded, created: now, updated: now}
	made, err := s.make(k)
	if err != nil {
		return Bound{}, err
	}
	k.made, k.usable = made, now.Add(time.Duration(s.behaves().Propagation))
	s.world.keys = append(s.world.keys, k)
	return Bound{made.document, made.clientID, made.fingerprint, made.serial}, nil
}

// Unbind ends a key that Bind made; one that is not there has ended.
func (s *Sim) Unbind(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.world.keys = slices.DeleteFunc(s.world.keys, func(k *key) bool { return k.guid == id })
}
