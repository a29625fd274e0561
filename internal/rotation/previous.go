package rotation

// showPrevious keeps the version before the published one beside it, for workloads that
// try both, for as long as it lives. Workloads are restarted afterwards, so that they find it.
func showPrevious(s *situation) *Step {
	current := s.published()
	if current == nil || !current.live() || !s.Target.Ours || s.Target.Drift || s.Target.Terminating {
		return nil
	}
	var number int64
	if v := s.toBeShown(current); v != nil {
		number = v.Number
		s.wake(v.ExpiresAt)
	}
	if s.Target.Previous == number && (number == 0 || !s.Target.PreviousStale) {
		return nil
	}
	return &Step{Action: ShowPrevious, Version: number, Needs: FactTarget}
}

// toBeShown is the newest version before the published one that has served and lives. While
// one is on its way to be revoked there is none: it was taken away for that, and another
// one would have to be taken away again for each attempt.
func (s *situation) toBeShown(current *Version) *Version {
	if !s.Credential.ShowsPrevious {
		return nil
	}
	var newest *Version
	for i := range s.Versions {
		v := &s.Versions[i]
		if v.Terminating && v.OncePublished && !v.Revoked && !v.ended() {
			return nil
		}
		over := !v.ExpiresAt.IsZero() && !s.now.Before(v.ExpiresAt)
		if v.Number < current.Number && v.live() && v.OncePublished && !v.Refused && !v.Unshowable && s.endedBy(v) == nil && !over && !s.compromised(v) {
			newest = v
		}
	}
	return newest
}

// hide returns the step that comes before a version is revoked, so that the target never
// shows one that is dead. It is written down even if the version is not shown: another
// process that is about to show it, and has read the target before, is then refused by the
// API server; and one that reads the target later sees that the version is deleted.
func (s *situation) hide(v *Version) *Step {
	if s.ending() || !s.Target.Ours || s.Target.Hidden == v.Number || !v.OncePublished || !s.Credential.ShowsPrevious && s.Target.Previous == 0 {
		return nil
	}
	return &Step{Action: HidePrevious, Version: v.Number, Needs: FactTarget}
}
