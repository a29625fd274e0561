package notify

import (
	"strings"
	"testing"
	"time"
)

func sample(event Event) Message {
	m := Message{
		Key: "k", Event: event, Subject: Subject{Namespace: "payments", Credential: "billing", UID: "u", Upstream: "ibmAPIConnect", Issuer: "apic", Policy: "RotationPolicy/quarterly", Secret: "billing-api"},
		Version: 3, At: noon, Expires: "never", Rotates: "2026-06-01T00:00:00Z",
	}
	switch event {
	case ApprovalRequested, Approved, Rejected:
		m.Version = 0
		m.Approval = &Approval{Name: "billing-renew", Operation: "Renew", RequestedBy: "bob@example.com", Cause: "older than 90d", Consequence: "version 3 goes on", ExpiresAt: noon.Add(time.Hour), Approvers: []string{"alice@example.com", "carol@example.com"}, Groups: []string{"leads"}}
		if event != ApprovalRequested {
			m.Approval.Decisions = []Decision{{Approver: "alice@example.com", Decision: "Approve", Reason: "CHG-1 <b>", At: noon}}
		}
	case Expiring:
		m.Expires = "2026-03-02T12:00:00Z"
		m.Approval = &Approval{Name: "billing-renew", Operation: "Renew", ExpiresAt: noon.Add(time.Hour), Approvers: []string{"alice@example.com"}}
	case Failing, UptakeStalled, OrphanSuspected:
		m.Reason, m.Detail = "UpstreamUnreachable", "The upstream <script>alert(1)</script> does not answer."
	}
	return m
}

func TestTheDefaultsOfAllEventsCanBeRead(t *testing.T) {
	for _, event := range Events() {
		r, err := Render(sample(event), nil)
		if err != nil {
			t.Fatalf("%s: %v", event, err)
		}
		for part, text := range map[string]string{PartSubject: r.Subject, PartText: r.Text, PartHTML: r.HTML} {
			if !strings.Contains(text, "payments/billing") || strings.Contains(text, "<no value>") || strings.Contains(text, "ZgotmplZ") {
				t.Errorf("%s.%s: %s", event, part, text)
			}
		}
		if strings.Contains(r.HTML, "<script>") || strings.Contains(r.HTML, "CHG-1 <b>") {
			t.Errorf("%s: what people wrote is not escaped: %s", event, r.HTML)
		}
	}
	r, _ := Render(sample(Issued), nil)
	const want = `Credential payments/billing was issued as version 3.

The Secret billing-api of the namespace payments holds it.

Credential: payments/billing
Version: 3
Issuer: apic (ibmAPIConnect)
Policy: RotationPolicy/quarterly
Next renewal: 2026-06-01T00:00:00Z
Ends by itself: never
Time: 2026-03-01 12:00 UTC
`
	if r.Text != want {
		t.Errorf("got\n%s\nwant\n%s", r.Text, want)
	}
}

func TestTemplatesOfOnesOwn(t *testing.T) {
	for name, tc := range map[string]struct {
		part, text string
		want       string // empty: the default is used and the error says why
		says       string
	}{
		"fields and functions":           {PartSubject, `{{upper .Credential}} {{.Version}} {{date .At}} {{otherwise .Reason "fine"}}`, "BILLING 3 2026-03-01 12:00 UTC fine", ""},
		"a subject of two lines":         {PartSubject, "a\r\nBcc: x@example.com", "a Bcc: x@example.com", ""},
		"a method without an argument":   {PartSubject, `{{.At.Year}}`, "2026", ""},
		"a field that does not exist":    {PartText, `{{.Secrets}}`, "", "can't evaluate"},
		"a template that is broken":      {PartText, `{{if}}`, "", "missing value"},
		"a range over a number":          {PartText, `{{range 1000000000}}x{{end}}`, "", "range takes one of the lists"},
		"a range over a field's number":  {PartText, `{{range .Version}}x{{end}}`, "", "range takes one of the lists"},
		"a range in a range":             {PartText, `{{range .Approval.Decisions}}{{range .Approvers}}{{end}}{{end}}`, "", "a range in a range"},
		"a function that is not listed":  {PartText, `{{printf "%1000000d" 1}}`, "", "no function printf"},
		"a call":                         {PartText, `{{call .At}}`, "", "no function call"},
		"a method with an argument":      {PartText, `{{$x := "2"}}{{$x = .At.Format $x}}{{$x}}`, "", "takes no argument"},
		"a method that is piped to":      {PartText, `{{"2" | .At.Format}}`, "", "takes no argument"},
		"a method within parentheses":    {PartText, `{{if (.At.Format "2")}}x{{end}}`, "", "takes no argument"},
		"a template that calls itself":   {PartText, `{{define "x"}}{{template "x"}}{{end}}{{template "x"}}`, "", "refused"},
		"a block":                        {PartText, `{{block "x" .}}{{end}}`, "", "refused"},
		"a separator that multiplies":    {PartText, `{{join .Approval.Approvers "---------"}}`, "", "separator"},
		"a text that is too long":        {PartText, strings.Repeat("x", maxTemplate+1), "", "the limit is"},
		"markup of one's own, in safety": {PartHTML, `<p title="{{.Credential}}">{{.Namespace}}</p>`, `<p title="billing">payments</p>`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := sample(Issued)
			m.Approval = sample(Approved).Approval
			standard, _ := Render(m, nil)
			r, err := Render(m, map[string]string{"Issued." + tc.part: tc.text})
			parts := map[string][2]string{PartSubject: {r.Subject, standard.Subject}, PartText: {r.Text, standard.Text}, PartHTML: {r.HTML, standard.HTML}}
			want := tc.want
			if want == "" {
				want = parts[tc.part][1]
				if err == nil || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("the error is %v", err)
				}
			} else if err != nil {
				t.Error(err)
			}
			if got := parts[tc.part][0]; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestTemplatesAreCheckedBeforeTheyAreNeeded(t *testing.T) {
	if err := CheckTemplates(map[string]string{"Issued.subject": "{{.Title}}", "Revoked.html": "<p>{{.Name}}</p>"}); err != nil {
		t.Error(err)
	}
	err := CheckTemplates(map[string]string{"Issued.title": "x", "Opened.text": "x", "Issued.text": "{{printf .Name}}"})
	for _, want := range []string{"Issued.title", "Opened.text", "no function printf"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s: %v", want, err)
		}
	}
}

func TestADigestNamesEachAndIsBounded(t *testing.T) {
	var deliveries []Delivery
	for range maxListed + 7 {
		deliveries = append(deliveries, Delivery{Message: sample(Renewed)})
	}
	r := RenderDigest(deliveries)
	if r.Subject != "207 messages about credentials" || strings.Count(r.Text, "was renewed") != maxListed || !strings.Contains(r.Text, "and 7 more") || !strings.Contains(r.HTML, "and 7 more") {
		t.Errorf("%s\n%s", r.Subject, r.Text)
	}
}

// FuzzATemplateEndsAndIsBounded: whatever stands in the ConfigMap costs little and harms no
// header.
func FuzzATemplateEndsAndIsBounded(f *testing.F) {
	for _, seed := range []string{defaultSubject, defaultText, defaultHTML, `{{range $i, $x := .Approval.Decisions}}{{$i}}{{end}}`, `{{with $x := .At}}{{$x.Format "2"}}{{end}}`, `{{range .Approval.Approvers}}{{break}}{{end}}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m := sample(Approved)
		r, _ := Render(m, map[string]string{"Approved.subject": text, "Approved.text": text, "Approved.html": text})
		if strings.ContainsAny(r.Subject, "\r\n\x00") || len([]rune(r.Subject)) > maxSubject {
			t.Errorf("the subject is %q", r.Subject)
		}
		if len(r.Text) > maxRendered || len(r.HTML) > maxRendered || r.Text == "" && text != "" && !strings.Contains(text, "{{") {
			t.Errorf("%d and %d bytes", len(r.Text), len(r.HTML))
		}
	})
}
