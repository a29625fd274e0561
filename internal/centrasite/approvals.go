package centrasite

import (
	"context"
	"net/http"

	"github.com/claviger-dev/claviger/internal/upstream"
)

// ask makes one call of the Approval Service.
func (a *account) ask(ctx context.Context, operation, argument string, values ...string) ([]approvalRequest, error) {
	c := call{
		operation: "approval." + map[string]string{getApprovalRequests: "requests", getApprovalActions: "actions"}[operation],
		method:    http.MethodPost, body: envelope(a.parameters.Approvals.Namespace, operation, argument, values...),
		contentType: "text/xml; charset=utf-8", header: http.Header{"Accept": {"text/xml"}, "Soapaction": {`"` + operation + `"`}}, authorize: a.login.authorize,
	}
	r, err := a.approvals.exchange(ctx, c)
	if err != nil {
		return nil, err
	}
	requests, fault, err := readRequests(r.body)
	switch {
	case err == nil && fault != "":
		// SOAP says everything with 500: that it is a fault says that the service has spoken.
		return nil, upstream.Errorf(upstream.Retryable, "%s: %s", r.words(), upstream.Redact(fault, r.secrets))
	case r.status != http.StatusOK:
		return nil, r.refusal()
	case err != nil:
		return nil, r.unreadable(err)
	}
	return requests, nil
}

// decision finds the approval request about an access token; nil if there is none. What
// still waits is looked for first, since a second request may be about the same one.
func (a *account) decision(ctx context.Context, uuid string) (*approvalRequest, error) {
	for _, status := range []string{statusInProgress, statusRejected, statusApproved, statusNoAction} {
		requests, err := a.ask(ctx, getApprovalRequests, "status", status)
		if err != nil {
			return nil, err
		}
		for i := range requests {
			if requests[i].object != uuid {
				continue
			}
			found := requests[i]
			// A list may hold other statuses than were asked for.
			if found.status == statusRejected && found.remarks == "" {
				found.remarks, err = a.remarks(ctx, found.key)
			}
			return &found, err
		}
	}
	return nil, nil
}

// remarks are the words of whoever has rejected a request.
func (a *account) remarks(ctx context.Context, key string) (string, error) {
	actions, err := a.ask(ctx, getApprovalActions, "approvalRequestKeys", key)
	if err != nil {
		return "", err
	}
	for _, action := range actions {
		if action.status == statusRejected && action.remarks != "" {
			return action.remarks, nil
		}
	}
	return "", nil
}

// verdict words a decision as the error of a version that is not there yet.
func (d *approvalRequest) verdict() *upstream.Error {
	switch d.status {
	case statusInProgress:
		return upstream.Errorf(upstream.AwaitingUpstreamApproval, "an approval in CentraSite is awaited: approval request %s", upstream.Excerpt(d.key))
	case statusRejected:
		said := "without remarks"
		if d.remarks != "" {
			said = "with the remarks: " + upstream.Excerpt(d.remarks)
		}
		return upstream.Errorf(upstream.Declined, "approval request %s was rejected in CentraSite, %s", upstream.Excerpt(d.key), said)
	case statusNoAction:
		return upstream.Errorf(upstream.Pending, "no approval was needed, and CentraSite works on it")
	}
	return upstream.Errorf(upstream.Pending, "approval request %s has the status %s, and CentraSite works on it", upstream.Excerpt(d.key), upstream.Excerpt(d.status))
}
