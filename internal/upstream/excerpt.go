package upstream

import (
	"strings"
	"unicode"

	"github.com/claviger-dev/claviger/internal/material"
)

// maxExcerpt is how many characters of foreign text a message holds: enough to
// understand it, too few to fill a status.
const maxExcerpt = 300

// Excerpt makes text that an upstream or a library wrote fit to stand in a message:
// one line, printable characters only, at most 300 of them.
func Excerpt(text string) string {
	// Bytes first, so that a body of megabytes is not walked rune by rune.
	if len(text) > 8*maxExcerpt {
		text = text[:8*maxExcerpt]
	}
	var out strings.Builder
	length, gap := 0, false
	for _, r := range text {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			gap = length > 0
			continue
		}
		if length >= maxExcerpt {
			out.WriteString("...")
			break
		}
		if gap {
			out.WriteByte(' ')
			length++
			gap = false
		}
		out.WriteRune(r)
		length++
	}
	return out.String()
}

// Redact takes known secrets out of foreign text and then makes an Excerpt of it; a secret
// that was cut in two would not be found any more.
func Redact(foreign string, secrets []material.Secret) string {
	for _, secret := range secrets {
		if !secret.Empty() {
			foreign = strings.ReplaceAll(foreign, secret.Reveal(), "[redacted]")
		}
	}
	return Excerpt(foreign)
}
