package render

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template/parse"
)

// expression gives a text from the fields of a material.
type expression func(fields map[string]string) (string, error)

// compiler turns templates into expressions. It goes through the syntax tree once
// and knows a few kinds of nodes; every other kind is refused, also those that a
// later release of Go may bring. text/template itself would have to be narrowed
// down, brings functions that cannot be removed (printf pads to a width of a
// million), and prints values in its errors.
type compiler struct {
	known map[string]string // the names of the fields that there are
	used  map[string]bool   // the names of the fields seen so far
	calls int               // function calls seen so far
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
	var parts []expression
	for _, node := range tree.Root.Nodes {
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
	return func(fields map[string]string) (string, error) {
		var b strings.Builder
		for _, part := range parts {
			text, err := part(fields)
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
		return nil, notAvailable("if")
	case *parse.WithNode:
		return nil, notAvailable("with")
	case *parse.RangeNode:
		return nil, notAvailable("range")
	case *parse.TemplateNode:
		return nil, notAvailable("template")
	default:
		return nil, notAvailable(short(node.String()))
	}
}

func notAvailable(what string) error {
	return fmt.Errorf("%q is not available: a template has only texts, values such as {{ .clientID }} and functions as in {{ .clientID | json }}", what)
}

func constant(text string) expression {
	return func(map[string]string) (string, error) { return text, nil }
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
	switch n := node.(type) {
	case *parse.FieldNode:
		return c.field(strings.Join(n.Ident, "."))
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

func (c *compiler) field(name string) (expression, error) {
	if _, ok := c.known[name]; !ok {
		return nil, fmt.Errorf("there is no field .%s: use %s", short(name), list(".", c.known))
	}
	c.used[name] = true
	return func(fields map[string]string) (string, error) {
		value, ok := fields[name]
		if !ok {
			return "", fmt.Errorf("this credential has no .%s: it has %s", name, list(".", fields))
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
	return func(fields map[string]string) (string, error) {
		argument, err := concatenated(args)(fields)
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
