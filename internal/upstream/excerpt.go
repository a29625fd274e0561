package upstream

import (
	"strings"
	"unicode"
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
