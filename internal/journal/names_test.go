package journal

import (
	"encoding/binary"
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
)

// TestNamesNeverChange holds values that were computed outside this package: names
// and marks lie in upstreams, where another release must find them.
func TestNamesNeverChange(t *testing.T) {
	const cluster, uid = "0e7d8c1a-cluster", "5b2f9a60-1c1d-4e5e-8f00-aa0000000001"
	for what, pair := range map[string][2]string{
		"mark":           {string(MarkFor(cluster, uid, nonce)), "0bc85a15cc202d110001020304050607"},
		"owner's half":   {OwnerMark(cluster, uid), "0bc85a15cc202d11"},
		"upstream name":  {UpstreamName(cluster, uid, nonce), "cl-bpefufomeawrc-aaaqeaye"},
		"version Secret": {VersionSecretName("billing", uid, 7), "billing.5b2f9a60.v7"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %s, want %s", what, pair[0], pair[1])
		}
	}
}

func TestMarksAndNamesFitEveryUpstream(t *testing.T) {
	mark, name := regexp.MustCompile(`^[0-9a-f]{32}$`), regexp.MustCompile(`^cl-[a-z2-7]{13}-[a-z2-7]{8}$`)
	marks, names := map[string]string{}, map[string]string{}
	// Neighbours whose concatenation is alike are the ones that a careless hash
	// would take for each other.
	clusters := []string{"", "a", "ab", "c1", "c11", "0e7d8c1a-2b3c"}
	uids := []string{"", "b", "abc", "bc", "1", "11", "5b2f9a60-1c1d-4e5e-8f00-aa0000000001"}
	for _, cluster := range clusters {
		for _, uid := range uids {
			for n := range uint64(50) {
				var nonce [NonceBytes]byte
				binary.BigEndian.PutUint64(nonce[:8], n<<30|n)
				from := fmt.Sprintf("(%q, %q, %d)", cluster, uid, n)
				m, u := string(MarkFor(cluster, uid, nonce)), UpstreamName(cluster, uid, nonce)
				if !mark.MatchString(m) || !strings.HasPrefix(m, OwnerMark(cluster, uid)) {
					t.Fatalf("mark of %s: %s", from, m)
				}
				if len(u) > 32 || !name.MatchString(u) {
					t.Fatalf("upstream name of %s: %s", from, u)
				}
				if other, taken := marks[m]; taken {
					t.Fatalf("%s and %s have one mark", from, other)
				}
				if other, taken := names[u]; taken {
					t.Fatalf("%s and %s have one upstream name", from, other)
				}
				marks[m], names[u] = from, from
			}
		}
	}
}

func TestVersionSecretNamesAreNamesOfSecrets(t *testing.T) {
	longest := strings.Repeat("c", 52)
	for _, uid := range []string{"5b2f9a60-1c1d-4e5e-8f00-aa0000000001", "short", "-"} {
		for _, number := range []int64{1, 42, math.MaxInt64} {
			name := VersionSecretName(longest, uid, number)
			if problems := validation.IsDNS1123Subdomain(name); uid != "-" && len(problems) > 0 {
				t.Errorf("%s: %s", name, problems)
			}
			if len(name) > validation.DNS1123SubdomainMaxLength {
				t.Errorf("%s has %d characters", name, len(name))
			}
			// A dot: no Secret that is named after a workload collides (hazard H13).
			if !strings.HasPrefix(name, longest+".") || !strings.HasSuffix(name, fmt.Sprintf(".v%d", number)) {
				t.Errorf("got %s", name)
			}
		}
	}
}

func TestLabelsFitTheirLimit(t *testing.T) {
	for key, value := range intent().Secret().Labels {
		if problems := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...); len(problems) > 0 {
			t.Errorf("%s=%s: %s", key, value, problems)
		}
	}
	for key := range intent().Secret().Annotations {
		if problems := validation.IsQualifiedName(strings.ToLower(key)); len(problems) > 0 {
			t.Errorf("%s: %s", key, problems)
		}
	}
}

// A place is found again by a credential of the same name, and by nobody else.
func TestPlacesBelongToNames(t *testing.T) {
	billing := types.NamespacedName{Namespace: "payments", Name: "billing"}
	if got := PlaceName("cluster", billing); len(got) > 32 || !strings.HasPrefix(got, "billing-") {
		t.Errorf("the name is %q", got)
	}
	long := types.NamespacedName{Namespace: "payments", Name: strings.Repeat("a", 52)}
	if got := PlaceName("cluster", long); len(got) != 32 {
		t.Errorf("a long name becomes %q", got)
	}
	owners := map[string]bool{}
	for _, other := range []struct {
		cluster    string
		credential types.NamespacedName
	}{
		{"cluster", billing},
		{"clone", billing},
		{"cluster", long},
		{"cluster", types.NamespacedName{Namespace: "payments", Name: "billin"}},
		{"cluster", types.NamespacedName{Namespace: "payment", Name: "s/billing"}},
	} {
		owners[PlaceOwner(other.cluster, other.credential)] = true
	}
	if len(owners) != 5 || len(PlaceOwner("cluster", billing)) != 16 || owners[OwnerMark("cluster", "payments/billing")] {
		t.Errorf("owners: %v", owners)
	}
}
