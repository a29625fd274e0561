package render

import "fmt"

// The presets. Each is only a name for templates that many would write.
const (
	// PresetClientIDSecret renders client_id and client_secret. It is the default.
	PresetClientIDSecret = "ClientIDSecret"
	// PresetEnvironment renders CLIENT_ID and CLIENT_SECRET, for envFrom.
	PresetEnvironment = "Environment"
	// PresetJSON renders one key, credentials.json, with an object of client_id and
	// client_secret.
	PresetJSON = "JSON"
	// PresetBasicAuth renders username and password, as Secrets of the type
	// kubernetes.io/basic-auth hold them.
	PresetBasicAuth = "BasicAuth"
)

// presets returns the templates of each preset, freshly made: a shared map could be
// changed by whoever gets hold of it.
func presets() map[string]map[string]string {
	const id, secret = "{{ .clientID }}", "{{ .clientSecret }}"
	return map[string]map[string]string{
		PresetClientIDSecret: {"client_id": id, "client_secret": secret},
		PresetEnvironment:    {"CLIENT_ID": id, "CLIENT_SECRET": secret},
		PresetJSON:           {"credentials.json": `{"client_id":{{ .clientID | json }},"client_secret":{{ .clientSecret | json }}}`},
		PresetBasicAuth:      {"username": id, "password": secret},
	}
}

func preset(name string) (map[string]string, error) {
	if name == "" {
		name = PresetClientIDSecret
	}
	data, ok := presets()[name]
	if !ok {
		return nil, fmt.Errorf("template: there is no preset %q: choose one of %s", short(name), list("", presets()))
	}
	return data, nil
}
