package rotationtest

import (
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/rotation"
)

var update = flag.Bool("update", false, "write the golden stories anew")

const (
	requested = "a rotation is requested"
	deleted   = "the credential is deleted"
	killed    = "the operator is killed"

	podStarts   = "the workload's pod starts"
	podReplaced = "the workload replaces its pod"

	gitNames      = "Git names the published version"
	namedStarts   = "a pod that names a version starts"
	namedReplaced = "the pod that names a version is replaced"
)

func class(name string, c Class) *Variant {
	return &Variant{Name: name, Class: c, Capabilities: of(c), Policy: onRequest}
}

// stories are lives that people ask about.
func stories() []Story {
	plain := Plain()
	byAge := *plain
	byAge.Policy.RotateAfter, byAge.Renewals = Variants()[1].Policy.RotateAfter, 1
	return []Story{
		{"from the first issue to the end", plain, []Beat{{Event: requested}, {Event: deleted}}},
		{"renewed by age", &byAge, nil},
		{"killed at the worst moments", plain, []Beat{
			{rotation.CreateIntent, 1, killed},
			{Event: requested},
			{rotation.Issue, 2, killed},
			{rotation.Publish, 2, killed},
			{rotation.Retire, 1, killed},
			{rotation.Revoke, 1, killed},
			{Event: deleted},
			{rotation.Revoke, 2, killed},
		}},
		{"an answer is lost where it can be read again", class("readable", Readable), []Beat{{rotation.CreateIntent, 1, "the next answer is lost"}}},
		{"an answer is lost that was shown once", class("shown once", ShownOnce), []Beat{{rotation.CreateIntent, 1, "the next answer is lost"}}},
		{"an answer is lost and nothing can be searched", class("grant-only", GrantOnly), []Beat{{rotation.CreateIntent, 1, "the next answer is lost"}}},
		{"the operator dies with an answer in its hand", class("shown once", ShownOnce), []Beat{{rotation.Issue, 1, killed}}},
		{"a create arrives after everybody gave it up", plain, []Beat{
			{rotation.CreateIntent, 1, "the next call is carried out long after it was given up"}, {rotation.Publish, 1, deleted},
		}},
		{"a version that nobody ever accepts", plain, []Beat{{Event: requested}, {rotation.CreateIntent, 2, "the newest version will never be accepted"}}},
		{"the published version is removed upstream", plain, []Beat{{Event: "somebody removes the published version upstream"}}},
		{"the target is deleted in an overlap", plain, []Beat{{Event: requested}, {rotation.Publish, 2, "somebody deletes the target"}}},
		{"declared compromised", plain, []Beat{{Event: "what exists is declared compromised"}}},
		{"rolled back in an overlap", plain, []Beat{{Event: requested}, {rotation.Publish, 2, "the version before is asked for"}}},
		{"a workload is restarted", Restarting(), []Beat{{Event: podStarts}, {Event: requested}, {rotation.Restart, 2, podReplaced}}},
		{"a restart fails and the operator is killed", Restarting(), []Beat{
			{Event: podStarts},
			{Event: requested},
			{rotation.Publish, 2, "the workload's new pods fail"},
			{rotation.Restart, 2, killed},
			{rotation.NoteRollout, 2, "the workload's pods are mended"},
			{rotation.NoteRollout, 2, podReplaced},
		}},
		{"a tool takes the mark off a workload", Restarting(), []Beat{
			{Event: podStarts},
			{Event: requested},
			{rotation.NoteRollout, 2, "the mark is taken off the workload"},
			{rotation.NoteRollout, 2, "the workload is restarted by hand"},
			{rotation.NoteRollout, 2, podReplaced},
		}},
		{"workloads are restarted again after a rollback", Restarting(), []Beat{
			{Event: podStarts},
			{Event: requested},
			{rotation.Restart, 2, podReplaced},
			{rotation.NoteRollout, 2, "the version before is asked for"},
			{rotation.Restart, 1, podReplaced},
		}},
		{"Git names a version, and moves on", Named(), []Beat{
			{Event: gitNames}, {Event: namedStarts}, {Event: requested}, {rotation.PublishCopy, 2, gitNames}, {rotation.PublishCopy, 2, namedReplaced},
		}},
		{"the operator dies between a version's Secret and the version", Named(), []Beat{
			{Event: requested}, {rotation.Retire, 1, killed}, {rotation.WithdrawCopy, 1, killed}, {rotation.Revoke, 1, killed},
		}},
		{"renewed in place", Replacing()[0], []Beat{{Event: requested}, {Event: deleted}}},
		{"renewed in place, and killed at the worst moments", Replacing()[0], []Beat{
			{Event: requested}, {rotation.WriteAnswer, 2, killed}, {rotation.Publish, 2, killed}, {rotation.Retire, 1, killed},
		}},
		{"renewed in place, and the answer is lost", Replacing()[0], []Beat{{Event: requested}, {rotation.CreateIntent, 2, "the next answer is lost"}}},
		{"renewed in place, and the operator dies with the answer in its hand", Replacing()[0], []Beat{{Event: requested}, {rotation.Issue, 2, killed}}},
		{"retained, and made again", plain, []Beat{{Event: "the credential is deleted and retained"}, {Event: "a credential of that name is made again"}, {Event: requested}}},
		{"the credential vanishes around its finalizer", plain, []Beat{{Event: "the credential vanishes around its finalizer"}}},
		{"the whole namespace is deleted", plain, []Beat{{Event: requested}, {rotation.Publish, 2, "the namespace is deleted"}}},
		{"another cluster's journal", plain, []Beat{
			{Event: "the journal is restored into another cluster"}, {Event: requested}, {Event: "the journal is released to this cluster"},
		}},
		{"the journal is restored from an older backup", plain, []Beat{{Event: requested}, {Event: "the journal is restored from a backup that is older than the target"}}},
		{"the answer is what was published already", class("readable", ReadableUnique), []Beat{
			{Event: "the upstream answers with what is published already"}, {Event: requested},
		}},
	}
}

// TestStoriesAreToldAsTheyWere plays every story in the fixed order, with two processes
// in an order that a seed gives, and in a hundred random orders. The first two are told;
// in the others only the rules and the end count.
func TestStoriesAreToldAsTheyWere(t *testing.T) {
	for _, s := range stories() {
		t.Run(s.Name, func(t *testing.T) {
			told := ""
			for _, version := range []struct {
				title     string
				processes int
				order     *rand.Rand
			}{{"one process", 1, nil}, {"two processes, in seeded order", 2, rand.New(rand.NewPCG(0, 0))}} {
				log, err := s.Play(version.processes, version.order)
				if err != nil {
					t.Fatalf("%s: %v\n%s", version.title, err, log)
				}
				told += "# " + version.title + "\n" + log + "\n"
			}
			golden := filepath.Join("testdata", "stories", strings.NewReplacer(" ", "-", ",", "").Replace(s.Name)+".log")
			if *update {
				if err := os.WriteFile(golden, []byte(told), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatalf("%v; write it: go test ./internal/rotation/rotationtest -run Stories -update", err)
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(told, "\n")); diff != "" {
				t.Errorf("the story is told otherwise (-want +got); if it is better now, run with -update:\n%s", diff)
			}
			for seed := range uint64(100) {
				if log, err := s.Play(1+int(seed%2), rand.New(rand.NewPCG(seed, 1))); err != nil {
					t.Fatalf("in the order of seed %d: %v\n%s", seed, err, log)
				}
			}
		})
	}
}
