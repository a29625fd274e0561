package webmethodsportal

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestExpiriesAreReadInAllFormsAndNeverGuessed(t *testing.T) {
	at := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]struct {
		at time.Time
		ok bool
	}{
		"":                               {ok: true},
		"null":                           {ok: true},
		`"Unlimited"`:                    {ok: true},
		"-1":                             {ok: true},
		"1803902400000":                  {at, true},
		"1803902400":                     {at, true},
		`"1803902400000"`:                {at, true},
		`"2027-03-01T12:00:00Z"`:         {at, true},
		`"2027-03-01T12:00:00.000+0000"`: {at, true},
		`"2027-03-01 12:00:00 GMT"`:      {at, true},
		`"2027-03-01 12:00:00"`:          {at, true},
		`"next spring"`:                  {},
		"-5":                             {},
		"{}":                             {},
		"1e99":                           {},
	} {
		got, ok := expiryOf(json.RawMessage(text))
		if diff := cmp.Diff(want.at, got); ok != want.ok || diff != "" {
			t.Errorf("%s is read %t: %s", text, ok, diff)
		}
	}
}

// FuzzExpiry: whatever a portal writes, it is either read or refused, and what was read is
// no moment before the first portal.
func FuzzExpiry(f *testing.F) {
	for _, seed := range []string{"null", "1803902400000", `"2027-03-01"`, `"0"`, "[", `"\u0000"`, "1e15", "9223372036854775807"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if at, ok := expiryOf(json.RawMessage(text)); !ok && !at.IsZero() {
			t.Errorf("%q is refused, and yet ends at %s", text, at)
		}
	})
}

// FuzzEntries: nothing that stands in a list, and no link of a page, breaks what reads it.
func FuzzEntries(f *testing.F) {
	for _, seed := range []string{
		`{"id":"a","name":"cl-a-b.0123456789abcdef0123456789abcdef"}`, `{"id":"a","context":null,"status":7}`, "[]", `{"id":"../x"}`, "?page=99999999999999999999",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if id := idOf(json.RawMessage(text)); id != "" && !segment.MatchString(id) {
			t.Errorf("%q is taken for an id", id)
		}
		if number := pageOf(text, 1); number < 0 {
			t.Errorf("page %d", number)
		}
		apps, _ := decodeAll[application]([]json.RawMessage{json.RawMessage(text)}, "x")
		requests, _ := decodeAll[request]([]json.RawMessage{json.RawMessage(text)}, "x")
		sift(apps, requests, "0123456789abcdef0123456789abcdef", parseReference(text)).choose()
		wordsOfTrace([]byte(text))
	})
}
