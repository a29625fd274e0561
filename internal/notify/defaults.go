package notify

const defaultSubject = `[Claviger] {{.Title}}`

const defaultText = `{{.Title}}.

{{if eq .Event "ApprovalRequested"}}Nothing is done until it is approved.
{{else if eq .Event "Rejected"}}It is not done, and not asked again until something changes or a person asks.
{{else if eq .Event "Approved"}}{{if eq .Approval.Operation "Delete"}}The credential can be deleted now.{{else}}It is done now.{{end}}
{{else if eq .Event "Issued"}}The Secret {{.Secret}} of the namespace {{.Namespace}} holds it.
{{else if eq .Event "Renewed"}}The Secret {{.Secret}} of the namespace {{.Namespace}} holds it. The version before stays valid until
its overlap has passed: let what uses the credential read the Secret anew.
{{else if eq .Event "Revoked"}}Whoever still uses this version is refused.
{{else if eq .Event "Expiring"}}Its end: {{.Expires}}.{{if .Approval}} A successor is made when people have agreed.{{end}}
{{else if eq .Event "OrphanSuspected"}}Nothing breaks. Look in the upstream whether it is there, and end it or let it expire.
{{end}}{{if .Detail}}{{.Detail}}
{{end}}{{with .Approval}}
Operation: {{.Operation}}
Request: {{.Name}}{{if .RequestedBy}}
Asked for by: {{.RequestedBy}}{{end}}{{if .Cause}}
Why now: {{.Cause}}{{end}}{{if .Consequence}}
If nobody answers: {{.Consequence}}{{end}}
Time to answer: until {{date .ExpiresAt}}{{if .Approvers}}
Asked: {{join .Approvers ", "}}{{end}}{{if .Groups}}
Asked groups: {{join .Groups ", "}}{{end}}{{range .Decisions}}
{{.Decision}} by {{.Approver}} at {{date .At}}{{if .Reason}}: {{.Reason}}{{end}}{{end}}
{{end}}
Credential: {{.Name}}{{if .Version}}
Version: {{.Version}}{{end}}
Issuer: {{.Issuer}} ({{.Upstream}})
Policy: {{.Policy}}{{if .Rotates}}
Next renewal: {{.Rotates}}{{end}}{{if .Expires}}
Ends by itself: {{.Expires}}{{end}}
Time: {{date .At}}
`

const defaultHTML = `<!DOCTYPE html>
<html><body style="font-family: sans-serif">
<h2>{{.Title}}</h2>
{{if eq .Event "ApprovalRequested"}}<p>Nothing is done until it is approved.</p>
{{else if eq .Event "Rejected"}}<p>It is not done, and not asked again until something changes or a person asks.</p>
{{else if eq .Event "Approved"}}<p>{{if eq .Approval.Operation "Delete"}}The credential can be deleted now.{{else}}It is done now.{{end}}</p>
{{else if eq .Event "Issued"}}<p>The Secret <b>{{.Secret}}</b> of the namespace {{.Namespace}} holds it.</p>
{{else if eq .Event "Renewed"}}<p>The Secret <b>{{.Secret}}</b> of the namespace {{.Namespace}} holds it. The version before stays valid until
its overlap has passed: let what uses the credential read the Secret anew.</p>
{{else if eq .Event "Revoked"}}<p>Whoever still uses this version is refused.</p>
{{else if eq .Event "Expiring"}}<p>Its end: {{.Expires}}.{{if .Approval}} A successor is made when people have agreed.{{end}}</p>
{{else if eq .Event "OrphanSuspected"}}<p>Nothing breaks. Look in the upstream whether it is there, and end it or let it expire.</p>
{{end}}{{if .Detail}}<p>{{.Detail}}</p>
{{end}}<table cellpadding="4">
{{with .Approval}}<tr><td>Operation</td><td>{{.Operation}}</td></tr>
<tr><td>Request</td><td>{{.Name}}</td></tr>
{{if .RequestedBy}}<tr><td>Asked for by</td><td>{{.RequestedBy}}</td></tr>
{{end}}{{if .Cause}}<tr><td>Why now</td><td>{{.Cause}}</td></tr>
{{end}}{{if .Consequence}}<tr><td>If nobody answers</td><td>{{.Consequence}}</td></tr>
{{end}}<tr><td>Time to answer</td><td>until {{date .ExpiresAt}}</td></tr>
{{range .Decisions}}<tr><td>{{.Decision}}</td><td>by {{.Approver}} at {{date .At}}{{if .Reason}}: {{.Reason}}{{end}}</td></tr>
{{end}}{{end}}<tr><td>Credential</td><td>{{.Name}}</td></tr>
{{if .Version}}<tr><td>Version</td><td>{{.Version}}</td></tr>
{{end}}<tr><td>Issuer</td><td>{{.Issuer}} ({{.Upstream}})</td></tr>
<tr><td>Policy</td><td>{{.Policy}}</td></tr>
{{if .Rotates}}<tr><td>Next renewal</td><td>{{.Rotates}}</td></tr>
{{end}}{{if .Expires}}<tr><td>Ends by itself</td><td>{{.Expires}}</td></tr>
{{end}}<tr><td>Time</td><td>{{date .At}}</td></tr>
</table>
</body></html>
`
