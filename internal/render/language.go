package render

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template/parse"

	"github.com/claviger-dev/claviger/internal/material"
)

// expression gives a text from the values at hand.
type expression func(values) (string, error)

// values are what a template may show: the fields of a material, the one that the
// innermost "with" is about, and what else a rendering needs.
type values struct {
	fields map[string]string
	dot    string
	input  Input
}

// compiler turns templates into expressions. It goes through the syntax tree once
// and knows a few kinds of nodes; every other kind is refused, also those that a
// later release of Go may bring. text/template itself would have to be narrowed
// down, brings functions that cannot be removed (printf pads to a width of a
// million), and prints values in its errors.
type compiler struct {
	shape material.Shape
	used  map[string]bool // the names of the fields seen so far
	calls int             // function calls seen so far
	asked []string        // fields that a branch has asked for, the innermost last
	dots  int             // how many "with" are around
}

// compile compiles the template of one key.
func (c *compiler) compile(text string) (expression, error) {
	if len(text) > MaxTemplate {
		return nil, fmt.Errorf("%d bytes: at most %d are read", len(text), MaxTemplate)
	}
	const name = "template"
	tree, trees := parse.New(name), map[string]*parse.Tree{}
	tree.Mode = parse.SkipFuncCheck // Unknown functions get an error that lists the known ones.
	if _, err := tree.Parse(text, "", "", trees); err != nil {
		line := strings.TrimPrefix(err.Error(), "template: "+name+":")
		return nil, errors.New("line " + short(line))
	}
	if len(trees) != 1 || trees[name] != tree {
		return nil, notAvailable("define")
	}
	return c.list(tree.Root)
}

// list compiles what stands one after the other; nothing at all is an empty text.
func (c *compiler) list(nodes *parse.ListNode) (expression, error) {
	var parts []expression
	if nodes == nil {
		return concatenated(parts), nil
	}
	for _, node := range nodes.Nodes {
		part, err := c.node(node)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	return concatenated(parts), nil
}

// concatenated is the parts, one after the other.
func concatenated(parts []expression) expression {
	return func(v values) (string, error) {
		var b strings.Builder
		for _, part := range parts {
			text, err := part(v)
			if err != nil {
				return "", err
			}
			if b.Len()+len(text) > MaxOutput {
				return "", fmt.Errorf("more than %d bytes are rendered", MaxOutput)
			}
			b.WriteString(text)
		}
		return b.String(), nil
	}
}

func (c *compiler) node(node parse.Node) (expression, error) {
	switch n := node.(type) {
	case *parse.TextNode:
		return constant(string(n.Text)), nil
	case *parse.ActionNode:
		return c.pipe(n.Pipe)
	case *parse.IfNode:
		return c.branch(n.BranchNode, false)
	case *parse.WithNode:
		return c.branch(n.BranchNode, true)
	case *parse.RangeNode:
		return nil, notAvailable("range")
	case *parse.TemplateNode:
		return nil, notAvailable("template")
	default:
		return nil, notAvailable(short(node.String()))
	}
}

// branch compiles "if .field" and "with .field": one text if there is a value, another or
// none if there is not. Inside of "with" the dot is that value.
func (c *compiler) branch(n parse.BranchNode, dot bool) (expression, error) {
	name, err := c.condition(n)
	if err != nil {
		return nil, err
	}
	c.asked = append(c.asked, name)
	if dot {
		c.dots++
	}
	there, err := c.list(n.List)
	c.asked = c.asked[:len(c.asked)-1]
	if dot {
		c.dots--
	}
	if err != nil {
		return nil, err
	}
	absent, err := c.list(n.ElseList)
	if err != nil {
		return nil, err
	}
	return func(v values) (string, error) {
		value, ok := v.fields[name]
		if !ok {
			return absent(v)
		}
		if dot {
			v.dot = value
		}
		return there(v)
	}, nil
}

// condition is the name of the field that a branch asks for.
func (c *compiler) condition(n parse.BranchNode) (string, error) {
	if len(n.Pipe.Decl) > 0 {
		return "", notAvailable(short(n.Pipe.Decl[0].String()) + " :=")
	}
	if len(n.Pipe.Cmds) == 1 && len(n.Pipe.Cmds[0].Args) == 1 {
		if name, ok := c.fieldName(n.Pipe.Cmds[0].Args[0]); ok {
			return name, c.exists(name)
		}
	}
	return "", fmt.Errorf("with and if ask for one value, as in {{ with .url }}{{ . }}{{ end }}, not for %s", short(n.Pipe.String()))
}

// fieldName is the name in .name, outside of "with", and in $.name everywhere.
func (c *compiler) fieldName(node parse.Node) (string, bool) {
	switch n := node.(type) {
	case *parse.FieldNode:
		return strings.Join(n.Ident, "."), c.dots == 0
	case *parse.VariableNode:
		return strings.Join(n.Ident[1:], "."), n.Ident[0] == "$" && len(n.Ident) > 1
	}
	return "", false
}

func notAvailable(what string) error {
	return fmt.Errorf("%q is not available: a template has only texts, values such as {{ .clientID }}, {{ with .url }}{{ . }}{{ end }} and functions as in {{ .clientID | json }}", what)
}

func constant(text string) expression {
	return func(values) (string, error) { return text, nil }
}

// pipe compiles "command | command ...". Each command gets the value of the one
// before as its last argument.
func (c *compiler) pipe(pipe *parse.PipeNode) (expression, error) {
	if len(pipe.Decl) > 0 {
		return nil, notAvailable(short(pipe.Decl[0].String()) + " :=")
	}
	var value expression
	for _, cmd := range pipe.Cmds {
		var err error
		if value, err = c.command(cmd, value); err != nil {
			return nil, err
		}
	}
	if value == nil {
		return nil, errors.New("an action without a value")
	}
	return value, nil
}

func (c *compiler) command(cmd *parse.CommandNode, piped expression) (expression, error) {
	first, rest := cmd.Args[0], cmd.Args[1:]
	name, isCall := first.(*parse.IdentifierNode)
	if !isCall {
		if len(rest) > 0 || piped != nil {
			return nil, fmt.Errorf("%s is a value and takes no arguments: a function stands first, as in {{ print .clientID }}", short(first.String()))
		}
		return c.operand(first)
	}
	var args []expression
	for _, node := range rest {
		arg, err := c.operand(node)
		if err != nil {
			return nil, err
		}
		args = append(args, arg)
	}
	if piped != nil {
		args = append(args, piped)
	}
	return c.call(name.Ident, args)
}

// operand compiles what can stand as an argument: a field, a text in quotes, or a
// pipeline in parentheses.
func (c *compiler) operand(node parse.Node) (expression, error) {
	if name, ok := c.fieldName(node); ok {
		return c.field(name)
	}
	switch n := node.(type) {
	case *parse.FieldNode:
		return nil, fmt.Errorf("inside of with the dot is its value: use $%s", short(n.String()))
	case *parse.DotNode:
		if c.dots == 0 {
			return nil, errors.New(". is not a value outside of with: use a field such as .clientID")
		}
		return func(v values) (string, error) { return v.dot, nil }, nil
	case *parse.StringNode:
		return constant(n.Text), nil
	case *parse.PipeNode:
		return c.pipe(n)
	case *parse.IdentifierNode:
		return nil, fmt.Errorf("the function %s stands as an argument: put it and its own arguments in parentheses", short(n.Ident))
	default:
		return nil, fmt.Errorf("%s is not a value: use a field such as .clientID or a text in quotes", short(node.String()))
	}
}

// exists refuses a name that no material has.
func (c *compiler) exists(name string) error {
	if !slices.Contains(material.FieldNames(), name) && !slices.Contains(material.AttributeNames(), name) {
		return fmt.Errorf("there is no field .%s: use %s", short(name), names(append(material.FieldNames(), material.AttributeNames()...)))
	}
	return nil
}

func (c *compiler) field(name string) (expression, error) {
	if err := c.exists(name); err != nil {
		return nil, err
	}
	if c.shape.Known() && !c.shape.May(name) && !slices.Contains(c.asked, name) {
		return nil, fmt.Errorf("this credential has no .%s: it has %s", name, names(slices.Concat(c.shape.Always, c.shape.Sometimes)))
	}
	c.used[name] = true
	return func(v values) (string, error) {
		value, ok := v.fields[name]
		if !ok {
			return "", fmt.Errorf("this credential has no .%s: it has %s", name, list(".", v.fields))
		}
		return value, nil
	}, nil
}

func (c *compiler) call(name string, args []expression) (expression, error) {
	f, ok := functions()[name]
	if !ok {
		return nil, fmt.Errorf("there is no function %s: use %s", short(name), list("", functions()))
	}
	if len(args) == 0 {
		return nil, fmt.Errorf("the function %s needs an argument", name)
	}
	if len(args) > 1 && !f.variadic {
		return nil, fmt.Errorf("the function %s takes one argument and has %d", name, len(args))
	}
	// Each call may at most multiply the size of its argument, up to maxValue; the
	// number of calls bounds the work of a whole rendering.
	if c.calls++; c.calls > maxCalls {
		return nil, fmt.Errorf("more than %d function calls", maxCalls)
	}
	return func(v values) (string, error) {
		argument, err := concatenated(args)(v)
		if err != nil {
			return "", err
		}
		if len(argument) > maxValue {
			return "", tooLarge(name)
		}
		result, err := f.apply(argument)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		if len(result) > maxValue {
			return "", tooLarge(name)
		}
		return result, nil
	}, nil
}

func tooLarge(function string) error {
	return fmt.Errorf("%s: a value of more than %d bytes", function, maxValue)
}

// list writes the keys of a map for an error, sorted, each with a prefix.
func list[T any](prefix string, of map[string]T) string {
	keys := slices.Sorted(maps.Keys(of))
	for i := range keys {
		keys[i] = prefix + keys[i]
	}
	if len(keys) == 0 {
		return "nothing"
	}
	return strings.Join(keys, ", ")
}

// short cuts what is repeated in an error of a text that somebody wrote.
func short(text string) string {
	const most = 100
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}
