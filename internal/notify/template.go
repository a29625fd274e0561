package notify

import (
	"errors"
	"fmt"
	htmltemplate "html/template"
	"maps"
	"slices"
	"strings"
	texttemplate "text/template"
	"text/template/parse"
	"time"
)

const (
	// maxTemplate and maxRendered bound what a ConfigMap can cost.
	maxTemplate  = 32 << 10
	maxRendered  = 256 << 10
	maxSeparator = 8
	// maxSubject is what mail programs show, several times over.
	maxSubject = 200
)

// Parts of a message.
const (
	PartSubject = "subject"
	PartText    = "text"
	PartHTML    = "html"
)

// Rendered is a message as people read it.
type Rendered struct{ Subject, Text, HTML string }

// functions are all that a template can call. Each is pure, and none makes its result much
// longer than its arguments: text/template's own print functions, which do, are refused.
var functions = map[string]any{
	"upper": strings.ToUpper,
	"lower": strings.ToLower,
	// A separator of any length would multiply a text by itself again and again.
	"join": func(list []string, separator string) (string, error) {
		if len(separator) > maxSeparator {
			return "", fmt.Errorf("a separator has at most %d bytes", maxSeparator)
		}
		return strings.Join(list, separator), nil
	},
	"date": func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format("2006-01-02 15:04 UTC")
	},
	"otherwise": func(value, otherwise string) string {
		if value == "" {
			return otherwise
		}
		return value
	},
}

// builtin are the functions of text/template that remain.
var builtin = []string{"and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len"}

// lists are the only fields that range takes: over a number it may never end.
var lists = []string{"Approvers", "Groups", "Decisions"}

// check refuses what could cost more than its text is worth.
func check(name, text string) error {
	if len(text) > maxTemplate {
		return fmt.Errorf("%s has %d bytes, the limit is %d", name, len(text), maxTemplate)
	}
	tree, err := texttemplate.New(name).Funcs(functions).Parse(text)
	if err != nil {
		return err
	}
	if len(tree.Templates()) > 1 {
		return fmt.Errorf("%s: define and block are refused", name)
	}
	if tree.Tree == nil || tree.Root == nil {
		return nil
	}
	return walk(name, tree.Root, 0)
}

func walk(name string, node parse.Node, depth int) error {
	switch n := node.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		for _, child := range n.Nodes {
			if err := walk(name, child, depth); err != nil {
				return err
			}
		}
	case *parse.ActionNode:
		return walk(name, n.Pipe, depth)
	case *parse.IfNode:
		return walkBranch(name, n.BranchNode, depth)
	case *parse.WithNode:
		return walkBranch(name, n.BranchNode, depth)
	case *parse.RangeNode:
		if depth > 0 {
			return fmt.Errorf("%s: a range in a range is refused", name)
		}
		if !overList(n.Pipe) {
			return fmt.Errorf("%s: range takes one of the lists .Approval.%s", name, strings.Join(lists, ", .Approval."))
		}
		return walkBranch(name, n.BranchNode, depth+1)
	case *parse.PipeNode:
		if n == nil {
			return nil
		}
		for i, command := range n.Cmds {
			// A method with an argument, such as a time's Format, can make two characters of one.
			if _, function := command.Args[0].(*parse.IdentifierNode); !function && (len(command.Args) > 1 || i > 0) {
				return fmt.Errorf("%s: %s takes no argument", name, command.Args[0])
			}
			for _, argument := range command.Args {
				if err := walk(name, argument, depth); err != nil {
					return err
				}
			}
		}
	case *parse.ChainNode:
		return walk(name, n.Node, depth)
	case *parse.IdentifierNode:
		if _, ours := functions[n.Ident]; !ours && !slices.Contains(builtin, n.Ident) {
			return fmt.Errorf("%s: there is no function %s", name, n.Ident)
		}
	case *parse.TemplateNode:
		return fmt.Errorf("%s: template is refused", name)
	}
	return nil
}

func walkBranch(name string, n parse.BranchNode, depth int) error {
	return errors.Join(walk(name, n.Pipe, depth), walk(name, n.List, depth), walk(name, n.ElseList, depth))
}

func overList(pipe *parse.PipeNode) bool {
	if len(pipe.Cmds) != 1 || len(pipe.Cmds[0].Args) != 1 {
		return false
	}
	var path []string
	switch n := pipe.Cmds[0].Args[0].(type) {
	case *parse.FieldNode:
		path = n.Ident
	case *parse.VariableNode:
		path = n.Ident
	}
	return len(path) > 0 && slices.Contains(lists, path[len(path)-1])
}

// bounded ends a template that writes too much.
type bounded struct{ strings.Builder }

var errTooLong = errors.New("the result is too long")

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxRendered {
		return 0, errTooLong
	}
	return b.Builder.Write(p)
}

// execute renders one part.
func execute(part, text string, m Message) (string, error) {
	if err := check(part, text); err != nil {
		return "", err
	}
	var out bounded
	if part == PartHTML {
		t, err := htmltemplate.New(part).Funcs(functions).Parse(text)
		if err != nil {
			return "", err
		}
		err = t.Execute(&out, m)
		return out.String(), err
	}
	t, err := texttemplate.New(part).Funcs(functions).Parse(text)
	if err != nil {
		return "", err
	}
	err = t.Execute(&out, m)
	return out.String(), err
}

// CheckTemplates says what of a ConfigMap cannot be used; nil if all can.
func CheckTemplates(templates map[string]string) error {
	var problems []error
	for _, key := range slices.Sorted(maps.Keys(templates)) {
		event, part, _ := strings.Cut(key, ".")
		if !slices.Contains(Events(), Event(event)) || !slices.Contains([]string{PartSubject, PartText, PartHTML}, part) {
			problems = append(problems, fmt.Errorf("the key %s is no event and part such as Issued.subject", Oneline(key, 80)))
			continue
		}
		if err := check(key, templates[key]); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// Render makes a message of templates, whose keys are event and part: Issued.subject. What is
// missing has the default, and so has what cannot be used; the error says what that was.
func Render(m Message, templates map[string]string) (Rendered, error) {
	var problems []error
	render := func(part, standard string) string {
		key := string(m.Event) + "." + part
		if own, ok := templates[key]; ok {
			text, err := execute(part, own, m)
			if err == nil {
				return text
			}
			problems = append(problems, fmt.Errorf("template %s: %w", key, err))
		}
		text, err := execute(part, standard, m)
		if err != nil { // a test renders all of them
			problems = append(problems, fmt.Errorf("the default %s: %w", part, err))
		}
		return text
	}
	r := Rendered{
		Subject: Oneline(render(PartSubject, defaultSubject), maxSubject),
		Text:    render(PartText, defaultText),
		HTML:    render(PartHTML, defaultHTML),
	}
	return r, errors.Join(problems...)
}

// maxListed bounds a digest.
const maxListed = 200

// RenderDigest makes one message of many.
func RenderDigest(deliveries []Delivery) Rendered {
	d := digest{Count: len(deliveries)}
	for _, one := range deliveries[:min(len(deliveries), maxListed)] {
		d.Messages = append(d.Messages, one.Message)
	}
	d.More = d.Count - len(d.Messages)
	var text, html strings.Builder
	// Both are constants that a test renders; what fails would be short, not wrong.
	_ = digestText.Execute(&text, d)
	_ = digestHTML.Execute(&html, d)
	return Rendered{Subject: fmt.Sprintf("%d messages about credentials", d.Count), Text: text.String(), HTML: html.String()}
}

type digest struct {
	Count, More int
	Messages    []Message
}

var (
	digestText = texttemplate.Must(texttemplate.New("digest").Funcs(functions).Parse(
		`Much happened at once, so here is one message instead of {{.Count}}:
{{range .Messages}}
- {{date .At}}  {{.Title}}{{end}}
{{if .More}}
and {{.More}} more.
{{end}}`))
	digestHTML = htmltemplate.Must(htmltemplate.New("digest").Funcs(functions).Parse(
		`<p>Much happened at once, so here is one message instead of {{.Count}}:</p>
<ul>{{range .Messages}}<li>{{date .At}} {{.Title}}</li>
{{end}}</ul>{{if .More}}<p>and {{.More}} more.</p>{{end}}
`))
)
