package cloudfoundry_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/claviger-dev/claviger/internal/cloudfoundry"
	"github.com/claviger-dev/claviger/internal/cloudfoundrysim"
	"github.com/claviger-dev/claviger/internal/material"
	"github.com/claviger-dev/claviger/internal/servicemanagersim"
	"github.com/claviger-dev/claviger/internal/simkit"
	"github.com/claviger-dev/claviger/internal/upstream"
)

// brokerTime is how long a broker takes by a clock that only pass moves.
const brokerTime = 4 * time.Second

// pass lets time go by until the answer is yes.
func pass(t *testing.T, clock *simkit.Manual, ask func() bool) {
	t.Helper()
	for range 30 {
		if ask() {
			return
		}
		clock.Advance(brokerTime / 4)
	}
	t.Fatal("it did not happen")
}

func TestBindingsOfEveryTypeLogInUntilTheyAreRevoked(t *testing.T) {
	const probe = `,"probe":{"path":"/api/v1/MessageProcessingLogs?$top=1"}}`
	for name, tc := range map[string]struct {
		parameters string
		days       int
	}{
		"a secret":               {`{"instance":"cpi-api"` + probe, 0},
		"a certificate":          {`{"instance":"cpi-api","keyType":"Certificate","validityDays":90,"keyLength":2048` + probe, 90},
		"a certificate of ours":  {`{"instance":"cpi-api","keyType":"ExternalCertificate","validityDays":30` + probe, 30},
		"a secret of XSUAA":      {`{"instance":"uaa","keyType":"XSUAABindingSecret"}`, 0},
		"a certificate of XSUAA": {`{"instance":"uaa","keyType":"XSUAACertificate","validityDays":7}`, 7},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			account := openManager(t, startManager(t, nil))
			r := request(t, account, tc.parameters, 1)
			issued, err := account.Issue(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if left := time.Until(issued.ExpiresAt).Hours() / 24; tc.days > 0 && (left < float64(tc.days)-1 || left > float64(tc.days)+1) || tc.days == 0 && !issued.ExpiresAt.IsZero() {
				t.Errorf("it expires at %s", issued.ExpiresAt)
			}
			if flaw := cloudfoundry.NewManagerDriver(time.Now).Shape(r.Parameters).Unfit(issued.Material); flaw != "" {
				t.Errorf("not as announced: %s", flaw)
			}
			h := handle(r, issued)
			if verdict, err := account.(upstream.Verifier).Verify(t.Context(), h); err != nil || !verdict.Accepted {
				t.Errorf("verdict %+v, %v", verdict, err)
			}
			if err := account.Revoke(t.Context(), h); err != nil {
				t.Fatal(err)
			}
			if verdict, err := account.(upstream.Verifier).Verify(t.Context(), h); err != nil || verdict.Accepted {
				t.Errorf("after the revocation: verdict %+v, %v", verdict, err)
			}
		})
	}
}

// What a team finds in its Secret does not depend on which platform its key comes from.
func TestBothBackendsYieldTheSameFields(t *testing.T) {
	for _, keyType := range []string{"ClientSecret", "Certificate", "ExternalCertificate"} {
		t.Run(keyType, func(t *testing.T) {
			t.Parallel()
			got := map[string][]string{}
			for name, account := range map[string]upstream.Upstream{"a space": open(t, start(t, nil)), "a subaccount": openManager(t, startManager(t, nil))} {
				r := request(t, account, `{"instance":"cpi-api","keyType":"`+keyType+`"}`, 1)
				issued, err := account.Issue(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				m, fields := issued.Material, map[string]bool{}
				for field, there := range map[string]bool{
					"clientID": m.ClientID != "", "clientSecret": !m.ClientSecret.Empty(), "certificate": m.Certificate != "", "chain": m.Chain != "",
					"privateKey": !m.PrivateKey.Empty(), "document": !m.Document.Empty(), "url": m.Attributes["url"] != "", "tokenURL": m.Attributes["tokenURL"] != "",
				} {
					if there {
						fields[field] = true
					}
				}
				got[name] = slices.Sorted(maps.Keys(fields))
			}
			if diff := cmp.Diff(got["a space"], got["a subaccount"]); diff != "" || len(got["a space"]) < 5 {
				t.Errorf("%v differ: %s", got, diff)
			}
		})
	}
}

// Every way in which a binding is made, while and after the operator dies, leads to one.
func TestAnOperationIsFollowedWithoutWaiting(t *testing.T) {
	for name, change := range map[string]func(*servicemanagersim.Behaviour){
		"a binding that is listed at once":    func(*servicemanagersim.Behaviour) {},
		"a binding that is listed when made":  func(b *servicemanagersim.Behaviour) { b.LateRows = true },
		"a release without last operations":   func(b *servicemanagersim.Behaviour) { b.NoLastOperations = true },
		"a release that answers 410":          func(b *servicemanagersim.Behaviour) { b.Gone, b.LateRows = 410, true },
		"a list that shows credentials, too":  func(b *servicemanagersim.Behaviour) { b.ListsShowCredentials = true },
		"a release that names no subaccounts": func(b *servicemanagersim.Behaviour) { b.NoSubaccountLabels = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := simkit.NewManual(time.Now())
			sim := startManagerAt(t, clock, func(b *servicemanagersim.Behaviour) {
				b.Async, b.BrokerTime = true, simkit.Duration(brokerTime)
				change(b)
			})
			account := openManager(t, sim)
			r := request(t, account, `{"instance":"cpi-api"}`, 1)
			issued, err := account.Issue(t.Context(), r)
			if upstream.ClassOf(err) != upstream.Pending || issued.ID == "" || upstream.AfterOf(err) == 0 {
				t.Fatalf("first answer %q, %v", issued.ID, err)
			}
			r.ID, r.SecretHandle = issued.ID, issued.SecretHandle
			pass(t, clock, func() bool {
				account = openManager(t, sim) // the operator died
				issued, err = account.Issue(t.Context(), r)
				if err != nil && upstream.ClassOf(err) != upstream.Pending {
					t.Fatal(err)
				}
				return err == nil
			})
			h := handle(r, issued)
			if err := account.Revoke(t.Context(), h); upstream.ClassOf(err) != upstream.Pending {
				t.Fatalf("first revocation: %v", err)
			}
			pass(t, clock, func() bool { return upstream.ClassOf(account.Revoke(t.Context(), h)) == upstream.NotFound })
			if issued, live := len(sim.Ledger().Issued()), len(sim.Ledger().Live()); issued != 1 || live != 0 {
				t.Errorf("%d bindings were made, %d live", issued, live)
			}
		})
	}
}

// A version that is given up while its binding is being made, and shows nowhere yet, is not gone.
func TestWhatIsStillBeingMadeIsNotGone(t *testing.T) {
	clock := simkit.NewManual(time.Now())
	sim := startManagerAt(t, clock, func(b *servicemanagersim.Behaviour) {
		b.Async, b.LateRows, b.BrokerTime = true, true, simkit.Duration(brokerTime)
	})
	account := openManager(t, sim)
	r := request(t, account, `{"instance":"cpi-api"}`, 1)
	issued, err := account.Issue(t.Context(), r)
	if upstream.ClassOf(err) != upstream.Pending {
		t.Fatal(err)
	}
	h := handle(r, issued)
	h.SecretHandle = issued.SecretHandle
	if err := openManager(t, sim).Revoke(t.Context(), h); upstream.ClassOf(err) != upstream.Pending || !strings.Contains(err.Error(), "still making") {
		t.Fatalf("while it is made: %v", err)
	}
	pass(t, clock, func() bool { return upstream.ClassOf(account.Revoke(t.Context(), h)) == upstream.NotFound })
	if issued, live := len(sim.Ledger().Issued()), len(sim.Ledger().Live()); issued != 1 || live != 0 {
		t.Errorf("%d bindings were made, %d live", issued, live)
	}
}

// A binding that could not be made tells why, leaves nothing behind, and is asked for again.
func TestABrokerThatFailsIsToldAndTriedAgain(t *testing.T) {
	for name, tc := range map[string]struct {
		change  func(*servicemanagersim.Behaviour)
		keyType string
		class   upstream.ErrorClass
		words   string
	}{
		"a refusal at once":                {func(b *servicemanagersim.Behaviour) { b.Broker = "refuses" }, "", upstream.InvalidSpec, "invalid parameters"},
		"a fault at once that left a row":  {func(b *servicemanagersim.Behaviour) { b.Broker = "fails" }, "", upstream.Retryable, "the broker has a fault"},
		"a fault at once that left none":   {func(b *servicemanagersim.Behaviour) { b.Broker, b.FailedStay = "fails", false }, "", upstream.Retryable, "the broker has a fault"},
		"a refusal later":                  {func(b *servicemanagersim.Behaviour) { b.Broker, b.Async = "refuses", true }, "", upstream.InvalidSpec, "invalid parameters"},
		"a fault later that left none":     {func(b *servicemanagersim.Behaviour) { b.Broker, b.Async, b.FailedStay = "fails", true, false }, "", upstream.Retryable, "the broker has a fault"},
		"a fault later of what was hidden": {func(b *servicemanagersim.Behaviour) { b.Broker, b.Async, b.LateRows = "fails", true, true }, "", upstream.Retryable, "the broker has a fault"},
		"a key type that does not fit":     {func(*servicemanagersim.Behaviour) {}, "Certificate", upstream.InvalidSpec, "key-type is not known"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := simkit.NewManual(time.Now())
			sim := startManagerAt(t, clock, func(b *servicemanagersim.Behaviour) {
				b.BrokerTime = simkit.Duration(brokerTime)
				tc.change(b)
			})
			account := openManager(t, sim)
			parameters := `{"instance":"cpi-api"}`
			if tc.keyType != "" {
				parameters = `{"instance":"uaa","keyType":"` + tc.keyType + `"}`
			}
			r := request(t, account, parameters, 1)
			var failure error
			ask := func() bool {
				issued, err := account.Issue(t.Context(), r)
				if issued.ID != "" && (err == nil || upstream.ClassOf(err) == upstream.Pending) && issued.ID != r.ID {
					r.ID, r.SecretHandle = issued.ID, issued.SecretHandle
				}
				failure = err
				return upstream.ClassOf(err) != upstream.Pending || err == nil
			}
			pass(t, clock, ask)
			if upstream.ClassOf(failure) != tc.class || !strings.Contains(failure.Error(), "the service broker did not make the binding") || !strings.Contains(failure.Error(), tc.words) {
				t.Fatalf("it says %v, want %s: %s", failure, tc.class, tc.words)
			}
			if tc.keyType != "" {
				return // it will never fit
			}
			if err := sim.Adjust(func(b *servicemanagersim.Behaviour) { b.Broker = "makes" }); err != nil {
				t.Fatal(err)
			}
			pass(t, clock, func() bool { return ask() && failure == nil })
			if live := len(sim.Ledger().Live()); live != 1 {
				t.Errorf("%d bindings live", live)
			}
		})
	}
}

func TestACertificateThatTheBrokerDidNotTakeIsNotSentAgain(t *testing.T) {
	seed := managerWorld()
	seed.ClientCAs = ""
	sim := servicemanagersim.New(servicemanagersim.Options{Seed: seed})
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	account := openManager(t, sim)
	_, err := account.Issue(t.Context(), request(t, account, `{"instance":"cpi-api","keyType":"ExternalCertificate","keyLength":2048}`, 1))
	if upstream.ClassOf(err) != upstream.Rejected || !strings.Contains(err.Error(), "not signed by an authority of the trust list") {
		t.Error(err)
	}
}

func TestAQuotaIsNoBadSpec(t *testing.T) {
	brokers := cloudfoundrysim.Usual()
	brokers.KeysPerInstance = 1
	sim := servicemanagersim.New(servicemanagersim.Options{Seed: managerWorld(), Brokers: &brokers})
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	if _, err := sim.AddBinding(subaccount, "uaa", "somebody-elses"); err != nil {
		t.Fatal(err)
	}
	account := openManager(t, sim)
	_, err := account.Issue(t.Context(), request(t, account, `{"instance":"uaa"}`, 1))
	if upstream.ClassOf(err) != upstream.QuotaExceeded || !strings.Contains(err.Error(), "quota reached: 1 bindings") {
		t.Error(err)
	}
}

func TestADeletionThatFailsIsToldAndRepeated(t *testing.T) {
	for _, async := range []bool{false, true} {
		t.Run(fmt.Sprintf("async %v", async), func(t *testing.T) {
			t.Parallel()
			clock := simkit.NewManual(time.Now())
			sim := startManagerAt(t, clock, func(b *servicemanagersim.Behaviour) { b.DeletesFail = 1 })
			account := openManager(t, sim)
			r := request(t, account, `{"instance":"cpi-api"}`, 1)
			issued, err := account.Issue(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if err := sim.Adjust(func(b *servicemanagersim.Behaviour) {
				b.Async, b.BrokerTime = async, simkit.Duration(brokerTime)
			}); err != nil {
				t.Fatal(err)
			}
			said := ""
			pass(t, clock, func() bool {
				err := account.Revoke(t.Context(), handle(r, issued))
				if err != nil {
					said += err.Error() + "\n"
				}
				return err == nil || upstream.ClassOf(err) == upstream.NotFound
			})
			if !strings.Contains(said, "the broker could not delete the binding") || len(sim.Ledger().Live()) != 0 {
				t.Errorf("%d live, and it said %s", len(sim.Ledger().Live()), said)
			}
		})
	}
}

// A person may take the labels off; then id and name together say whose a binding is.
func TestABindingWithoutItsLabelsIsEndedByIDAndName(t *testing.T) {
	sim := startManager(t, nil)
	account := openManager(t, sim)
	r := request(t, account, `{"instance":"cpi-api"}`, 1)
	issued, err := account.Issue(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.StripLabels(issued.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := account.Issue(t.Context(), r); upstream.ClassOf(err) != upstream.Conflict {
		t.Errorf("asked for again: %v", err)
	}
	h := handle(r, issued)
	h.ID = ""
	if err := account.Revoke(t.Context(), h); upstream.ClassOf(err) != upstream.NotFound {
		t.Errorf("without its id: %v", err)
	}
	if err := account.Revoke(t.Context(), handle(r, issued)); err != nil || len(sim.Ledger().Live()) != 0 {
		t.Errorf("%d live, %v", len(sim.Ledger().Live()), err)
	}
}

func TestAThrottledCallSaysHowLongInEachForm(t *testing.T) {
	for _, form := range []string{simkit.RetryAfterSeconds, simkit.RetryAfterDate, servicemanagersim.RetryAfterGo} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			account := openManager(t, startManager(t, func(b *servicemanagersim.Behaviour) { b.BindingsPerMinute, b.RetryAfterForm = 3, form }))
			r := request(t, account, `{"instance":"cpi-api"}`, 1)
			if _, err := account.Issue(t.Context(), r); upstream.ClassOf(err) != upstream.Throttled || upstream.AfterOf(err) < 50*time.Second || upstream.AfterOf(err) > time.Minute+2*time.Second {
				// The list, the creation and the list again are three, and the fourth reads it.
				t.Errorf("after %s: %v", upstream.AfterOf(err), err)
			}
		})
	}
}

// While the application is away, its router answers 404 for everything.
func TestTheRoutersAnswersProveNothing(t *testing.T) {
	sim := startManager(t, nil)
	account := openManager(t, sim)
	r := request(t, account, `{"instance":"cpi-api"}`, 1)
	issued, err := account.Issue(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 4; n++ {
		if err := sim.Adjust(func(b *servicemanagersim.Behaviour) { b.Unrouted = n }); err != nil {
			t.Fatal(err)
		}
		err := account.Revoke(t.Context(), handle(r, issued))
		if class := upstream.ClassOf(err); err == nil || class != upstream.Retryable && class != upstream.OutcomeUnknown {
			t.Errorf("revoked: %v", err)
		}
		if _, err := account.Locate(t.Context(), r.Parameters); n > 1 && upstream.ClassOf(err) != upstream.Retryable {
			t.Errorf("located: %v", err)
		}
	}
	if len(sim.Ledger().Live()) != 1 {
		t.Error("it was ended")
	}
}

func TestALoginIsReadInAllItsForms(t *testing.T) {
	sim := startManager(t, nil)
	plain, err := sim.Document(byClient)
	if err != nil {
		t.Fatal(err)
	}
	mtls, err := sim.Document(byCertificate)
	if err != nil {
		t.Fatal(err)
	}
	edit := func(fields map[string]string, changes map[string]string) map[string]string {
		out := maps.Clone(fields)
		for name, value := range changes {
			if out[name] = value; value == "" {
				delete(out, name)
			}
		}
		return out
	}
	whole := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for name, tc := range map[string]struct {
		login map[string]string
		words string // of the refusal; none is expected if it is empty
	}{
		"the fields":                        {plain, ""},
		"the fields with a line break":      {edit(plain, map[string]string{"clientsecret": plain["clientsecret"] + "\n", "clientid": plain["clientid"] + "\n"}), ""},
		"the fields of SAP's own operator":  {edit(plain, map[string]string{"url": "", "tokenurl": plain["url"]}), ""},
		"the fields with a certificate":     {mtls, ""},
		"a certificate on one line":         {edit(mtls, map[string]string{"certificate": strings.ReplaceAll(mtls["certificate"], "\n", `\n`), "key": strings.ReplaceAll(mtls["key"], "\n", `\n`)}), ""},
		"the document":                      {map[string]string{"credentials.json": whole(plain)}, ""},
		"the document with a certificate":   {map[string]string{"credentials": whole(mtls)}, ""},
		"the document below credentials":    {map[string]string{"credentials.json": whole(map[string]any{"credentials": plain})}, ""},
		"nothing":                           {nil, "the login Secret lacks clientid"},
		"no secret":                         {edit(plain, map[string]string{"clientsecret": ""}), "lacks clientsecret with url, or certificate and key with certurl"},
		"no token server":                   {edit(plain, map[string]string{"url": ""}), "lacks the address of its token server"},
		"a certificate without its server":  {edit(mtls, map[string]string{"certurl": ""}), "lacks the address of its token server"},
		"a certificate of another key":      {edit(mtls, map[string]string{"certificate": authority()[0]}), "must be PEM and belong together"},
		"a document that is none":           {map[string]string{"credentials.json": "clientid: x"}, "credentials.json of the login Secret must be the binding"},
		"a binding of another region":       {edit(plain, map[string]string{"sm_url": "https://service-manager.example"}), "is of another region"},
		"an authority without its key":      {edit(plain, map[string]string{"signer.crt": authority()[0]}), "signer.crt and signer.key"},
		"a secret that has been taken back": {edit(plain, map[string]string{"clientsecret": "old"}), "a binding of Service Manager that still exists"},
	} {
		t.Run(name, func(t *testing.T) {
			settings := managerSettings(sim, byClient, false)
			settings.Login = map[string]material.Secret{}
			for key, value := range tc.login {
				settings.Login[key] = material.New(value)
			}
			account, err := cloudfoundry.NewManagerDriver(time.Now).Open(settings)
			if err == nil {
				_, err = account.Check(t.Context())
			}
			if said := fmt.Sprint(err); tc.words == "" && err != nil || !strings.Contains(said, tc.words) {
				t.Errorf("%v, want %q", err, tc.words)
			}
		})
	}
}

// What is wrong with an issuer, or with what a team asks of it, is told in words that lead on.
func TestWhatIsWrongIsSaid(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*servicemanagersim.Seed)
		ask    string
		class  upstream.ErrorClass
		words  string
	}{
		"another subaccount":       {func(s *servicemanagersim.Seed) { s.Clients[0].Subaccount = otherAccount }, "check", upstream.Forbidden, `the login is of subaccount "` + otherAccount + `"`},
		"a plan that only reads":   {func(s *servicemanagersim.Seed) { s.Clients[0].Plan = "subaccount-audit" }, `{"instance":"cpi-api"}`, upstream.Forbidden, "insufficient scopes: subaccount.service_binding.manage; the login Secret must hold a binding of a service-manager instance of plan subaccount-admin"},
		"a plan that sees nothing": {func(s *servicemanagersim.Seed) { s.Clients[0].Plan = "container" }, `{"instance":"cpi-api"}`, upstream.NotFound, `there is no service instance "cpi-api" in the subaccount, or the login may not see it`},
		"a wrong name":             {nil, `{"instance":"cpi-apo"}`, upstream.NotFound, `there is no service instance "cpi-apo"`},
		"a name twice": {func(s *servicemanagersim.Seed) {
			s.Instances[1].Subaccount, s.Instances[1].Name, s.Instances[1].ID = subaccount, "twice", "a"
			s.Instances = append(s.Instances, servicemanagersim.Instance{Subaccount: subaccount, Name: "twin", ID: "b", Offering: "xsuaa", Plan: "application"})
		}, `{"instance":"twice"}`, upstream.InvalidSpec, "2 service instances of the subaccount have the name"},
		"an instance to be made": {nil, `{"managed":{"offering":"it-rt","plan":"api"}}`, upstream.InvalidSpec, "managed service instances are made by an issuer of cloudFoundry only"},
		"no instance":            {nil, `{}`, upstream.InvalidSpec, "instance"},
		"an unknown key type":    {nil, `{"instance":"cpi-api","keyType":"Password"}`, upstream.InvalidSpec, "keyType must be"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := managerWorld()
			if tc.change != nil {
				tc.change(&seed)
			}
			sim := servicemanagersim.New(servicemanagersim.Options{Seed: seed})
			if err := sim.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = sim.Close() })
			if name == "a name twice" {
				if err := sim.RenameInstance(subaccount, "twin", "twice"); err != nil {
					t.Fatal(err)
				}
			}
			account := openManager(t, sim)
			_, err := account.Check(t.Context())
			if tc.ask != "check" {
				if err != nil {
					t.Fatal(err)
				}
				var container string
				if container, err = account.Locate(t.Context(), json.RawMessage(tc.ask)); err == nil {
					_, err = account.Issue(t.Context(), upstream.Request{
						Parameters: json.RawMessage(tc.ask), Container: container, Name: "cl-aaaaaaaaaaaaa-00000001", Mark: upstream.Mark(fmt.Sprintf("%032x", 1)),
					})
				}
			}
			if upstream.ClassOf(err) != tc.class || !strings.Contains(fmt.Sprint(err), tc.words) {
				t.Errorf("%v, want %s: %s", err, tc.class, tc.words)
			}
		})
	}
}

// A list that goes in circles, or counts what it does not show, is no list.
func TestListsThatDoNotAddUpAreErrors(t *testing.T) {
	for name, body := range map[string]string{
		"a token that comes again":   `{"num_items":2,"token":"x","items":[{"id":"a"}]}`,
		"more items than counted":    `{"num_items":0,"items":[{"id":"a"}]}`,
		"fewer items than counted":   `{"num_items":3,"items":[{"id":"a"}]}`,
		"no count":                   `{"items":[]}`,
		"an item without an id":      `{"num_items":1,"items":[{"name":"a"}]}`,
		"an item whose id is a path": `{"num_items":1,"items":[{"id":"../a"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			sim := startManager(t, nil)
			account := openManager(t, sim)
			r := request(t, account, `{"instance":"cpi-api"}`, 1)
			if _, err := sim.Faults().Add(simkit.Fault{Operation: "binding.list", Action: simkit.Garble, Status: http.StatusOK, Message: body, Count: -1}); err != nil {
				t.Fatal(err)
			}
			if _, err := account.List(t.Context(), upstream.Owner{}); upstream.ClassOf(err) != upstream.Retryable || err == nil {
				t.Errorf("listed: %v", err)
			}
			if err := account.Revoke(t.Context(), handle(r, upstream.Issued{})); upstream.ClassOf(err) != upstream.Retryable || err == nil {
				t.Errorf("revoked: %v", err)
			}
		})
	}
}
