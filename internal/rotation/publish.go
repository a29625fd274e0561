package rotation

func refuseForeignSecrets(s *situation) *Step {
	if s.Target.Retained && !s.Target.Ours && !s.Fresh.Has(FactTarget) {
		return &Step{Action: Look, Needs: FactTarget}
	}
	if s.Target.Exists && !s.Target.Ours && !s.adoptsTarget() {
		// Nobody tells us when somebody else's Secret goes away.
		s.wake(s.now.Add(foreignRetry))
		return s.stop(&Problem{Reason: "SecretNotOurs", Stalled: true, Message: "the Secret that spec.secret.name names exists and belongs to somebody else: " +
			"delete or rename it, or make a new credential with another secret.name"})
	}
	if s.Target.Exists && s.Target.Terminating {
		s.note(&Problem{Reason: "SecretNotOurs", Message: "the Secret was deleted and a finalizer of somebody else still holds it; " +
			"it is written anew when it is gone"}, nil, s.now.Add(targetRetry))
	}
	return nil
}

// adoptsTarget: the target is somebody's own Secret, named as the one to be taken over, and
// nothing was ever published into it.
func (s *situation) adoptsTarget() bool {
	return s.Credential.AdoptsTarget && len(s.Versions) <= 1 && s.lastGood() == nil
}

func lookAtDrift(s *situation) *Step {
	if s.Target.Drift && !s.Fresh.Has(FactTarget) {
		return &Step{Action: Look, Needs: FactTarget}
	}
	return nil
}

// putBack repairs a target that is missing, was edited, or was given the bytes of
// an older version, from what is known to be good. It needs no upstream: a workload
// must not wait for a gateway (hazard 2.5).
func putBack(s *situation) *Step {
	candidate, current := s.lastGood(), s.published()
	if candidate == nil || s.Target.Terminating || current != nil && current.Number >= candidate.Number && !current.Failed {
		return nil
	}
	if newest := s.newest(); newest != candidate && newest.live() && newest.Accepted {
		return nil // carryOn publishes the newest, which this process has just proven
	}
	if candidate != s.newest() && !s.marked(candidate) {
		step := &Step{Action: MarkRepublish, Version: candidate.Number, Needs: FactTarget}
		if givenUp := s.givenUp(candidate); givenUp != nil && s.Credential.Rolls {
			step.Replaces, step.Rolls = givenUp.Number, true
		}
		return step
	}
	cause := "the Secret was deleted or edited"
	if current != nil && current.Failed {
		cause = "rolled back on request"
	}
	return &Step{Action: Publish, Version: candidate.Number, Needs: FactTarget | FactCredential, Cause: cause}
}

// givenUp is the newest version after v that has served and was rolled back, so that pods may
// use it; nil if there is none.
func (s *situation) givenUp(v *Version) *Version {
	for i := len(s.Versions) - 1; i >= 0; i-- {
		if later := &s.Versions[i]; later.Number > v.Number && later.rolledBack() {
			return later
		}
	}
	return nil
}

// marked: this pass chose the version to be put back, and nobody retires it before
// the target is written.
func (s *situation) marked(v *Version) bool {
	return v.MarkedNow && s.now.Add(CallTime).Before(v.RepublishAt.Add(ClaimTime))
}

// lastGood is the newest version that has served and may serve again. One that is
// known to be refused may not (invariant 1).
func (s *situation) lastGood() *Version {
	for i := len(s.Versions) - 1; i >= 0; i-- {
		if v := &s.Versions[i]; v.live() && v.OncePublished && !v.Refused {
			return v
		}
	}
	return nil
}

// noteFirstPublication makes durable what no successor proves yet. Without it a
// deleted Secret could be put back only after the upstream was asked.
func noteFirstPublication(s *situation) *Step {
	v := s.published()
	if v == nil || v.OncePublished || v.Replaces || v.Terminating || s.Target.Drift {
		return nil
	}
	return &Step{Action: NotePublished, Version: v.Number}
}

// renderAgain writes a changed template. While an overlap runs this moves the
// time of publication, which errs late.
func renderAgain(s *situation) *Step {
	v := s.published()
	if v == nil || !s.Target.Stale || s.Target.Drift || s.Target.Terminating || v.Terminating {
		return nil
	}
	return &Step{Action: Publish, Version: v.Number, Needs: FactTarget | FactCredential, Cause: "the template changed"}
}
