package operatortest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/client-go/rest"
)

// requestTotal is a line of the API server's metrics that counts requests.
var requestTotal = regexp.MustCompile(`(?m)^apiserver_request_total\{([^}]*)\} ([0-9.e+]+)$`)

// ours are the resources that nobody but an operator and the people whose credentials it
// keeps write in a world: they are all that an operator ever writes, leases apart.
var ours = []string{"secrets", "events", "apiclientcredentials", "credentialissuers", "clustercredentialissuers", "rotationpolicies", "clusterrotationpolicies"}

// Figures are the API server's own count of the writes that it was asked for, by verb and
// resource, of those resources that operators write. Who asked they do not say: they are for
// times in which nobody else writes. Dry runs are left out.
func (w *World) Figures(ctx context.Context) (map[string]int, error) {
	text, err := w.ServerMetrics(ctx)
	if err != nil {
		return nil, err
	}
	return figures(text)
}

// ServerMetrics are the API server's own.
func (w *World) ServerMetrics(ctx context.Context) (string, error) {
	config := w.Plane.Config()
	c, err := rest.HTTPClientFor(config)
	if err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(config.Host, "/")+"/metrics", nil)
	if err != nil {
		return "", err
	}
	response, err := c.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the API server's metrics: %s", response.Status)
	}
	return string(text), nil
}

func figures(text string) (map[string]int, error) {
	counts := map[string]int{}
	lines := requestTotal.FindAllStringSubmatch(text, -1)
	if len(lines) == 0 {
		return nil, fmt.Errorf("the API server counts no requests")
	}
	for _, line := range lines {
		labels := map[string]string{}
		for pair := range strings.SplitSeq(line[1], ",") {
			name, value, _ := strings.Cut(pair, "=")
			labels[name] = strings.Trim(value, `"`)
		}
		if !slices.Contains([]string{"POST", "PUT", "PATCH", "DELETE", "APPLY", "DELETECOLLECTION"}, labels["verb"]) || !slices.Contains(ours, labels["resource"]) || labels["dry_run"] != "" {
			continue
		}
		n, err := strconv.ParseFloat(line[2], 64)
		if err != nil {
			return nil, err
		}
		resource := labels["resource"]
		if labels["subresource"] != "" {
			resource += "/" + labels["subresource"]
		}
		counts[labels["verb"]+" "+resource] += int(n)
	}
	return counts, nil
}
