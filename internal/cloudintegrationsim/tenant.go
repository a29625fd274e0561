package cloudintegrationsim

import (
	"archive/zip"
	"bytes"
	"fmt"
	"html"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/claviger-dev/claviger/internal/simkit"
)

// Role is a role template.
type Role string

// The roles that the simulator asks for.
const (
	MonitoringDataRead    Role = "MonitoringDataRead"
	WorkspacePackagesRead Role = "WorkspacePackagesRead"
	CredentialsEdit       Role = "CredentialsEdit"
	SecurityMaterialEdit  Role = "SecurityMaterialEdit"
	AccessAllArtifacts    Role = "AccessAllAccessPoliciesArtifacts"
)

// Tenant is what there is.
type Tenant struct {
	Clients []Client
	Flows   []Flow
	// UserCredentials, OAuth2Credentials and KeyPairs are the aliases of security
	// material.
	UserCredentials   []string
	OAuth2Credentials []string
	KeyPairs          []string
	// Entries are those of which more is known, and what clients have written.
	Entries []Entry
}

// Client is an OAuth client of the tenant.
type Client struct {
	ID string
	// Secret of a key with a secret; Subject is the common name that the certificate of a key
	// with one bears.
	Secret, Subject string
	// Roles are what it has; nil means all.
	Roles []Role
}

func (c Client) has(role Role) bool { return c.Roles == nil || slices.Contains(c.Roles, role) }

// Flow is an integration flow.
type Flow struct {
	ID      string
	Package string
	// Version is that of the design, Deployed that of what runs; empty means that it has
	// no design any more, or does not run.
	Version, Deployed string
	// Status of what runs; default STARTED. Type defaults to INTEGRATION_FLOW.
	Status, Type string
	// Protected flows are under an access policy; ConfigureOnly ones are refused for
	// download.
	Protected, ConfigureOnly bool
	// Steps are the adapters and steps of the flow, by their properties.
	Steps []map[string]string
	// Defaults are the defaults of its parameters, Configured what is set otherwise.
	Defaults, Configured map[string]string
	// Labels tie parameters to fields, by the field's label.
	Labels map[string]string
	// Scripts by name.
	Scripts map[string]string
}

// Behaviour is how this tenant behaves where tenants differ.
type Behaviour struct {
	// TokenLife of access tokens.
	TokenLife simkit.Duration
	// HiddenAre says what becomes of protected flows for who may not see them: "missing"
	// from the lists of designs, or "forbidden" when they are read.
	HiddenAre string
	// DownloadRefusal is the status of a refused download: 400, 403, 404 or 500.
	DownloadRefusal int
	// MaxPage caps $top, silently; 0 caps nothing. NoCount leaves __count out.
	MaxPage int
	NoCount bool
	// DesignLimit is the limit of calls about designs; StateRetryAfter sends Retry-After.
	DesignLimit     simkit.Limit
	StateRetryAfter bool
	// SecurityLimit is the limit of calls about security material.
	SecurityLimit simkit.Limit
	// AsksForToken refuses writes without a token against forgery; SessionLife is how long one
	// is taken.
	AsksForToken bool
	SessionLife  simkit.Duration
	// MissingIs is the status of a PUT on an alias that does not exist: 404 or 409.
	MissingIs int
	// DeployTakes is how long what was accepted is only stored; DeployFails: it never is more.
	DeployTakes simkit.Duration
	DeployFails bool
	// KeystoreLocked and KeystoreFull refuse what is written there.
	KeystoreLocked, KeystoreFull bool
	// BrokenZIP makes every download unreadable.
	BrokenZIP bool
}

// Usual is the behaviour as far as it is known.
func Usual() Behaviour {
	return Behaviour{TokenLife: simkit.Duration(time.Hour), HiddenAre: "missing", DownloadRefusal: 403, MissingIs: 409, SessionLife: simkit.Duration(30 * time.Minute)}
}

func (b Behaviour) check() error {
	if b.HiddenAre != "missing" && b.HiddenAre != "forbidden" {
		return fmt.Errorf("hiddenAre is missing or forbidden, not %q", b.HiddenAre)
	}
	if b.MissingIs != 404 && b.MissingIs != 409 || b.SessionLife <= 0 || b.DeployTakes < 0 {
		return fmt.Errorf("missingIs is 404 or 409, sessionLife above 0, deployTakes at least 0")
	}
	if !slices.Contains([]int{400, 403, 404, 500}, b.DownloadRefusal) || b.MaxPage < 0 || b.TokenLife <= 0 {
		return fmt.Errorf("downloadRefusal is 400, 403, 404 or 500, maxPage at least 0, tokenLife above 0")
	}
	return nil
}

// parameters are those of a flow by name, as they are set.
func (f Flow) parameters() []string {
	names := []string{}
	for name := range f.Defaults {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func (f Flow) set(parameter string) string {
	if value, ok := f.Configured[parameter]; ok {
		return value
	}
	return f.Defaults[parameter]
}

// archive is the design as it is downloaded.
func (f Flow) archive() ([]byte, error) {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	files := map[string]string{
		"META-INF/MANIFEST.MF": "Manifest-Version: 1.0\r\nBundle-SymbolicName: " + f.ID + "; singleton:=true\r\n",
		"src/main/resources/scenarioflows/integrationflow/" + f.ID + ".iflw": f.bpmn(),
		"src/main/resources/parameters.prop":                                 f.properties(),
		"src/main/resources/parameters.propdef":                              f.definitions(),
	}
	for name, text := range f.Scripts {
		files["src/main/resources/script/"+name] = text
	}
	for name, text := range files {
		w, err := z.Create(name)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write([]byte(text)); err != nil {
			return nil, err
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func (f Flow) bpmn() string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?><bpmn2:definitions xmlns:bpmn2="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:ifl="http:///com.sap.ifl.model/Ifl.xsd"><bpmn2:collaboration>`)
	for i, step := range f.Steps {
		fmt.Fprintf(&b, `<bpmn2:messageFlow id="m%d"><bpmn2:extensionElements>`, i)
		for key, value := range step {
			fmt.Fprintf(&b, `<ifl:property><key>%s</key><value>%s</value></ifl:property>`, html.EscapeString(key), html.EscapeString(value))
		}
		b.WriteString(`</bpmn2:extensionElements></bpmn2:messageFlow>`)
	}
	b.WriteString(`</bpmn2:collaboration></bpmn2:definitions>`)
	return b.String()
}

// properties are the defaults in Java's form.
func (f Flow) properties() string {
	var b strings.Builder
	b.WriteString("#Store parameters\n")
	escape := strings.NewReplacer(`\`, `\\`, " ", `\ `, ":", `\:`, "=", `\=`)
	for _, name := range f.parameters() {
		b.WriteString(escape.Replace(name) + "=" + strings.NewReplacer(`\`, `\\`, ":", `\:`).Replace(f.Defaults[name]) + "\n")
	}
	return b.String()
}

func (f Flow) definitions() string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?><parameters><param_references>`)
	for name, label := range f.Labels {
		fmt.Fprintf(&b, `<reference attribute_id="ctype::AdapterVariant/attrId::x" attribute_uilabel="%s" param_key="%s"/>`, html.EscapeString(label), html.EscapeString(name))
	}
	b.WriteString(`</param_references></parameters>`)
	return b.String()
}
