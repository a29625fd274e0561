package admission

import "testing"

// TestApprovalDemandRules: the four kinds that can demand approval refuse the same.
func TestApprovalDemandRules(t *testing.T) {
	demands := []ruleCase{
		{"an empty demand is accepted", `{}`, ""},
		{"renewals alone are accepted", `{operations: [Renew]}`, ""},
		{"no operation is refused", `{operations: []}`, "operations"},
		{"an operation that does not wait is refused", `{operations: [Retire]}`, "operations"},
		{"deletion alone is accepted", `{operations: [Delete]}`, ""},
		{"all three are accepted", `{operations: [Issue, Renew, Delete]}`, ""},
		{"one operation twice is refused", `{operations: [Renew, Renew]}`, "operations"},
		{"a quorum that nobody knows is refused", `{quorum: Most}`, "quorum"},
		{"all of a list are accepted", `{quorum: All, approvers: [alice@example.com, carol@example.com]}`, ""},
		{"all of nobody are refused", `{quorum: All}`, "quorum All needs approvers"},
		{"all of a group are refused, because nobody knows them", `{quorum: All, approvers: [alice@example.com], groups: [leads]}`, "Over groups the quorum is EachGroup"},
		{"one of each group is accepted", `{quorum: EachGroup, groups: [leads, audit]}`, ""},
		{"one of each of no group is refused", `{quorum: EachGroup}`, "quorum EachGroup needs groups"},
		{"users beside each group are refused", `{quorum: EachGroup, groups: [leads], approvers: [alice@example.com]}`, "quorum EachGroup needs groups, and no approvers"},
		{"a user without a name is refused", `{approvers: [""]}`, "approvers"},
		{"a request that never expires is refused", `{expiry: Unlimited}`, "nobody would be asked again"},
		{"a time to answer that is no interval is refused", `{expiry: soon}`, "expiry"},
		{"a record that is kept for ever is accepted", `{retain: Unlimited}`, ""},
	}
	wrap := func() []ruleCase {
		var cases []ruleCase
		for _, c := range demands {
			cases = append(cases, ruleCase{c.name, "spec: {approval: " + c.change + "}", c.refusal})
		}
		return cases
	}
	t.Run("RotationPolicy", func(t *testing.T) { testCreate(t, policies, policy, wrap()) })
	t.Run("CredentialIssuer", func(t *testing.T) { testCreate(t, issuers, issuer, wrap()) })
	t.Run("ClusterRotationPolicy", func(t *testing.T) { testRules(t, clusterPolicies, clusterPolicy, creating, wrap()) })
	t.Run("ClusterCredentialIssuer", func(t *testing.T) { testRules(t, clusterIssuers, clusterIssuer, creating, wrap()) })
}
