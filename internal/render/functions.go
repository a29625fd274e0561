package render

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// function maps a text to a text. The arguments of a variadic one reach it as one
// text, one after the other.
type function struct {
	variadic bool
	apply    func(string) (string, error)
}

// functions is the closed set that the package comment documents. All are pure.
func functions() map[string]function {
	return map[string]function{
		"b64enc":     always(func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }),
		"json":       {apply: jsonString},
		"lower":      always(strings.ToLower),
		"print":      {variadic: true, apply: func(s string) (string, error) { return s, nil }},
		"quote":      always(strconv.Quote),
		"shellquote": {apply: shellQuote},
		"trim":       always(strings.TrimSpace),
		"upper":      always(strings.ToUpper),
		"urlquery":   always(urlQuery),
	}
}

func always(f func(string) string) function {
	return function{apply: func(s string) (string, error) { return f(s), nil }}
}

// jsonString encodes a JSON string. What is not UTF-8 is refused, since the encoder
// would replace it without a word and the workload would hold another secret. HTML
// escapes are left out: the result is no part of a page, and "&" in a secret is
// easier to compare by eye as it is.
func jsonString(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", errors.New("the value is not UTF-8 text: use b64enc")
	}
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(s); err != nil {
		return "", errors.New("the value cannot be encoded")
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// shellQuote makes one word for a POSIX shell. Single quotes switch everything off
// but themselves. No shell variable can hold the byte zero.
func shellQuote(s string) (string, error) {
	if strings.ContainsRune(s, 0) {
		return "", errors.New("the value holds a zero byte, which no shell can hold: use b64enc")
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'", nil
}

// urlQuery encodes for every part of a URL and for form values. A blank becomes
// %20, since a plus sign is a blank only in a query.
func urlQuery(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}
