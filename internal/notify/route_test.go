package notify

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAMessageGoesToThoseWhomARuleNames(t *testing.T) {
	issued := Message{Key: "k", Event: Issued}
	requested := Message{Key: "r", Event: ApprovalRequested, Approval: &Approval{Approvers: []string{"alice@example.com", "system:admin"}}}
	on := []Event{Issued, ApprovalRequested}
	for name, tc := range map[string]struct {
		message Message
		rules   []Rule
		owner   string
		want    []string
	}{
		"the owner":                       {issued, []Rule{{Channel: "m", Mail: true, On: on, Owner: true}}, "bob@example.com, eve@example.com", []string{"m bob@example.com", "m eve@example.com"}},
		"an owner that is no address":     {issued, []Rule{{Channel: "m", Mail: true, On: on, Owner: true}}, "bob@example.com\r\nBcc: x@example.com", nil},
		"approvers that are addresses":    {requested, []Rule{{Channel: "m", Mail: true, On: on, Approvers: true}}, "", []string{"m alice@example.com"}},
		"fixed addresses, each once":      {issued, []Rule{{Channel: "m", Mail: true, On: on, Owner: true, Addresses: []string{"Bob@example.com", "ops@example.com"}}}, "bob@example.com", []string{"m bob@example.com", "m ops@example.com"}},
		"two rules, each receiver once":   {issued, []Rule{{Channel: "m", Mail: true, On: on, Owner: true}, {Channel: "m", Mail: true, On: on, Owner: true}}, "bob@example.com", []string{"m bob@example.com"}},
		"who has opted out gets nothing":  {issued, []Rule{{Channel: "m", Mail: true, On: on, Owner: true, OptOut: []string{"BOB@example.com"}}}, "bob@example.com", nil},
		"another event":                   {issued, []Rule{{Channel: "m", Mail: true, On: []Event{Revoked}, Owner: true}}, "bob@example.com", nil},
		"a channel that is no mail":       {issued, []Rule{{Channel: "hook", On: on, Owner: true}}, "bob@example.com", []string{"hook "}},
		"no rules":                        {issued, nil, "bob@example.com", nil},
		"more owners than one may notify": {issued, []Rule{{Channel: "m", Mail: true, On: on, Owner: true}}, strings.Repeat("x@example.com,", 20), []string{"m x@example.com"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, d := range Route([]Message{tc.message}, tc.rules, tc.owner) {
				got = append(got, d.Channel+" "+d.To)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzAnAddressHoldsNothingThatEndsAHeader(f *testing.F) {
	for _, seed := range []string{"a@b.c", "a@b\r\nRCPT TO:<x@y>", "<a@b>", "a b@c", "ä@b", "a@", "@b", "a@b,c@d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if IsAddress(text) && (strings.ContainsAny(text, "\r\n<>,;:\"()[]\\ \t\x00") || strings.Count(text, "@") != 1) {
			t.Errorf("%q is taken for an address", text)
		}
	})
}

func TestAStormIsOneMessage(t *testing.T) {
	pending := func(n int) []Delivery {
		var d []Delivery
		for i := range n {
			d = append(d, Delivery{Message: Message{Key: fmt.Sprint(i), At: noon.Add(time.Duration(n-i) * time.Second)}})
		}
		return d
	}
	times := func(n int, ago time.Duration) []time.Time {
		var list []time.Time
		for range n {
			list = append(list, noon.Add(-ago))
		}
		return list
	}
	for name, tc := range map[string]struct {
		pending         int
		sent            Sent
		singles, digest int
		wait            time.Duration
	}{
		"nothing":                                   {0, Sent{}, 0, 0, 0},
		"as many as are allowed":                    {3, Sent{}, 3, 0, 0},
		"one too many":                              {4, Sent{}, 0, 4, 0},
		"too many with those of the last minute":    {2, Sent{Single: times(2, 30*time.Second)}, 0, 2, 0},
		"those of an hour ago do not count":         {2, Sent{Single: times(2, time.Hour)}, 2, 0, 0},
		"a second storm waits for its minute":       {9, Sent{Digest: noon.Add(-20 * time.Second)}, 0, 0, 40 * time.Second},
		"a second storm after its minute":           {9, Sent{Digest: noon.Add(-minute)}, 0, 9, 0},
		"one alone is never a digest":               {1, Sent{Single: times(3, time.Second)}, 1, 0, 0},
		"few after a storm are sent one by one":     {2, Sent{Digest: noon.Add(-time.Second)}, 2, 0, 0},
		"and a thousand are one all the same, too":  {1000, Sent{}, 0, 1000, 0},
		"exactly at the edge of the minute are old": {3, Sent{Single: times(3, minute)}, 3, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			singles, digest, wait := Batch(pending(tc.pending), tc.sent, 3, noon)
			if len(singles) != tc.singles || len(digest) != tc.digest || wait != tc.wait {
				t.Errorf("%d singles, %d in a digest, waits %s", len(singles), len(digest), wait)
			}
			for i := 1; i < len(singles); i++ {
				if singles[i].Message.At.Before(singles[i-1].Message.At) {
					t.Error("a later one goes first")
				}
			}
		})
	}
}
