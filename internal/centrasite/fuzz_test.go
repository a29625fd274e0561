package centrasite

import (
	"strings"
	"testing"
)

// FuzzAnswers lets the servers answer anything: nothing may panic, and a list that is read
// has whole entries or none.
func FuzzAnswers(f *testing.F) {
	for _, body := range []string{
		``, `null`, `{}`, `[]`, `[null]`, `[7]`, `{"count":1,"accessTokens":[]}`, `{"count":"x"}`, `{"accesstokens":[{"accesstokenuuid":"u","name":"n"}]}`,
		`<e><b><approvalRequestList count="1"><approvalRequest status="Rejected" objectKey="u"/></approvalRequestList></b></e>`,
		`<e><b><Fault><faultstring>x</faultstring></Fault></b></e>`, `<a>`, strings.Repeat(`<a>`, 20000), strings.Repeat(`[`, 20000), "\xff\xfe",
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if tokens, _, err := readList[token](body, "accessTokens"); err != nil && tokens != nil {
			t.Error("a list with an error")
		}
		requests, fault, err := readRequests(body)
		if err != nil && (requests != nil || fault != "") {
			t.Error("requests with an error")
		}
		for _, r := range requests {
			if r.status == "" {
				t.Error("a request without a status")
			}
		}
	})
}
