package venafi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// FuzzMessage lets a platform say anything in its body and its status line: nothing
// secret, nothing long and no control characters may come of it.
func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"Error":"PolicyDN: x does not exist"}`), "400 Bad Request")
	f.Add([]byte(`{"error":"invalid_grant","error_description":"canary-token"}`), "Grant has been revoked")
	f.Add([]byte("<html>"), "canary-token\x1b[31m")
	f.Fuzz(func(t *testing.T, body []byte, reason string) {
		r := reply{status: http.StatusBadRequest, reason: reason, body: body, secrets: hidden(material.New("canary-token"))}
		said := refusal(call{operation: "test"}, r).Error()
		if strings.Contains(said, "canary-token") || len([]rune(said)) > 400 || strings.ContainsAny(said, "\n\r\x1b") {
			t.Errorf("%q", said)
		}
	})
}

// FuzzChain lets a platform answer with any certificates: whatever comes is refused or
// fits, and costs little.
func FuzzChain(f *testing.F) {
	f.Add("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
	f.Add(strings.Repeat("-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----\n", 40))
	f.Fuzz(func(t *testing.T, text string) {
		chain, err := parseChain(text)
		if (err == nil) != (len(chain) > 0) || len(chain) > maxCertificates {
			t.Errorf("%d certificates, %v", len(chain), err)
		}
	})
}

// FuzzScope holds that a scope covers itself however it is spaced, and that nothing
// covers more than it has.
func FuzzScope(f *testing.F) {
	f.Add("certificate:manage,revoke;ssh", "certificate:manage")
	f.Add("certificate: discover, manage,delete", "")
	f.Fuzz(func(t *testing.T, granted, wanted string) {
		if !covers(granted, granted) || !covers(strings.ReplaceAll(granted, ",", " , "), granted) {
			t.Errorf("%q does not cover itself", granted)
		}
		if covers(granted, wanted) && len(scopeOf(wanted)) > len(scopeOf(granted)) {
			t.Errorf("%q covers %q", granted, wanted)
		}
	})
}

// FuzzGrant holds that no answer makes a token that ends before it was asked for, or
// never.
func FuzzGrant(f *testing.F) {
	f.Add(int64(7776000), int64(1801526400))
	f.Add(int64(1)<<62, int64(-1))
	f.Fuzz(func(t *testing.T, in, at int64) {
		asked := time.Unix(1_800_000_000, 0)
		ends := grantAnswer{ExpiresIn: in, Expires: at}.ends(asked)
		if in > 0 && (ends.Before(asked) || ends.Sub(asked) > longestLife) {
			t.Errorf("expires_in %d: %v", in, ends)
		}
		if in <= 0 && at <= 0 && !ends.IsZero() {
			t.Errorf("expires %d: %v", at, ends)
		}
	})
}

// FuzzParameters lets a person write anything: it is refused as InvalidSpec or read.
func FuzzParameters(f *testing.F) {
	f.Add([]byte(`{"token":{"clientID":"a","scope":"b"}}`), useTokens)
	f.Add([]byte(`{"certificate":{"policyDN":"\\VED\\Policy\\x"}}`), useCertificates)
	f.Fuzz(func(t *testing.T, raw []byte, use string) {
		parameters, err := parse(raw, use)
		if err != nil {
			if upstream.ClassOf(err) != upstream.InvalidSpec {
				t.Error(err)
			}
			return
		}
		if use == useTokens && parameters.Token == nil || use == useCertificates && parameters.Certificate == nil {
			t.Error("what the issuer makes is not asked for")
		}
	})
}
