package admission

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	manifests "github.com/claviger-dev/claviger/config/admission"
)

// readShipped reads the policies and bindings that are installed with this version.
func readShipped() ([]client.Object, error) {
	files, err := fs.Glob(manifests.Manifests, "*.yaml")
	if err != nil {
		return nil, err
	}
	var all []client.Object
	for _, file := range files {
		content, err := manifests.Manifests.ReadFile(file)
		if err != nil {
			return nil, err
		}
		documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
		for {
			document, err := documents.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			o, err := decode(document)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			all = append(all, o)
		}
	}
	return all, nil
}

func decode(document []byte) (client.Object, error) {
	var meta metav1.TypeMeta
	if err := yaml.Unmarshal(document, &meta); err != nil {
		return nil, err
	}
	o, err := emptyOf(meta.Kind)
	if err != nil {
		return nil, err
	}
	return o, yaml.UnmarshalStrict(document, o)
}

func emptyOf(kind string) (client.Object, error) {
	switch kind {
	case "ValidatingAdmissionPolicy":
		return &admissionv1.ValidatingAdmissionPolicy{}, nil
	case "ValidatingAdmissionPolicyBinding":
		return &admissionv1.ValidatingAdmissionPolicyBinding{}, nil
	default:
		return nil, fmt.Errorf("a %q is neither a policy nor a binding", kind)
	}
}

func specOf(o client.Object) any {
	switch o := o.(type) {
	case *admissionv1.ValidatingAdmissionPolicy:
		return o.Spec
	case *admissionv1.ValidatingAdmissionPolicyBinding:
		return o.Spec
	default:
		return nil
	}
}

// compare reads the live policies and bindings and returns what is wrong with the first
// that is not as shipped, or nothing. The manifests state every default, so that equal
// means equal.
func (g *Guard) compare(ctx context.Context) string {
	for _, want := range g.shipped {
		if _, doubt := g.same(ctx, want); doubt != "" {
			return doubt
		}
	}
	return ""
}

// same reads one of them and returns what is wrong with it, or nothing.
func (g *Guard) same(ctx context.Context, want client.Object) (live client.Object, doubt string) {
	kind := want.GetObjectKind().GroupVersionKind().Kind
	live, err := emptyOf(kind)
	if err == nil {
		err = g.live.Get(ctx, client.ObjectKeyFromObject(want), live)
	}
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Sprintf("%s %s does not exist: apply config/admission of this version", kind, want.GetName())
	case err != nil:
		return nil, fmt.Sprintf("%s %s cannot be read: %s", kind, want.GetName(), cause(err))
	case !equality.Semantic.DeepEqual(specOf(live), specOf(want)):
		return nil, fmt.Sprintf("%s %s is not as this version of Claviger ships it: apply config/admission of this version", kind, want.GetName())
	}
	return live, ""
}
