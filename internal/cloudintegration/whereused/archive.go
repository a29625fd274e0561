package whereused

import (
	"archive/zip"
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"path"
	"strconv"
	"strings"
)

const (
	// maxFile and maxArchive bound what is unpacked: a small archive can hold gigabytes of
	// zeros.
	maxFile    = 8 << 20
	maxArchive = 32 << 20
	maxFiles   = 2000
)

// ErrUnreadable stands for every design that is not what it should be.
var ErrUnreadable = errors.New("the design cannot be read")

// ReadDesign reads a flow's design as it is downloaded.
func ReadDesign(archive []byte) (Design, error) {
	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil || len(z.File) > maxFiles {
		return Design{}, ErrUnreadable
	}
	d := Design{Defaults: map[string]string{}, Labels: map[string][]string{}, Scripts: map[string]string{}}
	left, flows := int64(maxArchive), 0
	for _, file := range z.File {
		kind := path.Ext(file.Name)
		script := kind == ".groovy" || kind == ".gsh" || kind == ".js"
		if !script && kind != ".iflw" && kind != ".prop" && kind != ".propdef" {
			continue
		}
		content, err := unpack(file, min(left, maxFile))
		if err != nil {
			return Design{}, err
		}
		left -= int64(len(content))
		switch {
		case script:
			d.Scripts[path.Base(file.Name)] = string(content)
		case kind == ".iflw":
			flows++
			if d.Steps, err = readSteps(d.Steps, content); err != nil {
				return Design{}, err
			}
		case path.Base(file.Name) == "parameters.prop":
			readProperties(string(content), d.Defaults)
		case path.Base(file.Name) == "parameters.propdef":
			if err := readLabels(content, d.Labels); err != nil {
				return Design{}, err
			}
		}
	}
	if flows == 0 {
		return Design{}, ErrUnreadable // an archive of something else says nothing about a flow
	}
	return d, nil
}

func unpack(file *zip.File, most int64) ([]byte, error) {
	r, err := file.Open()
	if err != nil {
		return nil, ErrUnreadable
	}
	defer r.Close()
	content, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil || int64(len(content)) > most {
		return nil, ErrUnreadable
	}
	return content, nil
}

// readSteps gathers properties by the element that they belong to.
func readSteps(steps []map[string]string, content []byte) ([]map[string]string, error) {
	decoder := xml.NewDecoder(bytes.NewReader(content))
	var open []map[string]string // the properties of each open extensionElements
	var key, text strings.Builder
	var value string
	into := (*strings.Builder)(nil)
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return steps, nil
		}
		if err != nil {
			return nil, ErrUnreadable
		}
		switch t := token.(type) {
		case xml.StartElement:
			switch t.Name.Local {
			case "extensionElements":
				open = append(open, map[string]string{})
			case "property":
				key.Reset()
				value = ""
			case "key":
				into = &key
			case "value":
				text.Reset()
				into = &text
			}
		case xml.CharData:
			if into != nil {
				into.Write(t)
			}
		case xml.EndElement:
			switch t.Name.Local {
			case "key":
				into = nil
			case "value":
				into, value = nil, text.String()
			case "property":
				if len(open) > 0 && key.Len() > 0 {
					open[len(open)-1][key.String()] = strings.TrimSpace(value)
				}
			case "extensionElements":
				if last := len(open) - 1; last >= 0 {
					steps, open = append(steps, open[last]), open[:last]
				}
			}
		}
	}
}

// readLabels ties parameters to the labels of the fields that they stand in.
func readLabels(content []byte, labels map[string][]string) error {
	decoder := xml.NewDecoder(bytes.NewReader(content))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return ErrUnreadable
		}
		start, ok := token.(xml.StartElement)
		if !ok || start.Name.Local != "reference" {
			continue
		}
		var name, label string
		for _, a := range start.Attr {
			switch a.Name.Local {
			case "param_key":
				name = a.Value
			case "attribute_uilabel":
				label = a.Value
			}
		}
		if name != "" {
			labels[name] = append(labels[name], label)
		}
	}
}

// readProperties reads a Java properties file: escapes, comments, lines that go on.
func readProperties(content string, into map[string]string) {
	content = strings.ReplaceAll(strings.ReplaceAll(content, "\r\n", "\n"), "\r", "\n")
	lines := strings.Split(content, "\n")
	for i := 0; i < len(lines); i++ {
		line := strings.TrimLeft(lines[i], " \t\f")
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		for goesOn(line) && i+1 < len(lines) {
			i++
			line = line[:len(line)-1] + strings.TrimLeft(lines[i], " \t\f")
		}
		name, value := cutProperty(line)
		into[unescape(name)] = unescape(value)
	}
}

// goesOn: an odd number of backslashes ends the line.
func goesOn(line string) bool {
	n := len(line) - len(strings.TrimRight(line, `\`))
	return n%2 == 1
}

// cutProperty cuts at the first separator that is not escaped.
func cutProperty(line string) (name, value string) {
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case '\\':
			i++
		case '=', ':', ' ', '\t', '\f':
			rest := strings.TrimLeft(line[i:], " \t\f")
			if rest != "" && (rest[0] == '=' || rest[0] == ':') {
				rest = rest[1:]
			}
			return line[:i], strings.TrimLeft(rest, " \t\f")
		}
	}
	return line, ""
}

// unicodeDigits is the length of an escape by number, \u and four digits.
const unicodeDigits = 4

func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		i++
		switch text[i] {
		case 't':
			b.WriteByte('\t')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 'f':
			b.WriteByte('\f')
		case 'u':
			if i+unicodeDigits < len(text) {
				if code, err := strconv.ParseUint(text[i+1:i+1+unicodeDigits], 16, 16); err == nil {
					b.WriteRune(rune(code))
					i += unicodeDigits
					continue
				}
			}
			b.WriteByte('u')
		default:
			b.WriteByte(text[i])
		}
	}
	return b.String()
}
