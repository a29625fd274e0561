package interval

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Pattern is the grammar as a regular expression (RE2 and ECMA 262, anchored), for
// validation where no code of ours runs. It accepts exactly what Parse accepts, but
// for two things that a pattern cannot count: intervals longer than a hundred years
// and texts longer than MaxLength.
//
// Its three alternatives are the three ways to write months and minutes: neither
// with a bare m; a bare m that minutes follow; and either with one, around at least
// one of weeks, days and hours. The boundaries \b refuse the empty text and blanks
// at the ends. It is one literal so that it can be copied into a schema as it is.
const Pattern = `^\b(Unlimited|(\d{1,9}y *)?((\d{1,9}mo *)?(\d{1,9}min *)?|\d{1,9}m *\d{1,9}min *|(\d{1,9}mo? *)?(\d{1,9}w *(\d{1,9}d *)?(\d{1,9}h *)?|\d{1,9}d *(\d{1,9}h *)?|\d{1,9}h *)(\d{1,9}m(in)? *)?)(\d{1,9}s)?)\b$`

// MaxLength is the longest text that Parse reads, in bytes. A CEL rule over an
// interval fits its cost budget only with a length limit.
const MaxLength = 64

// Usage is the grammar in one sentence, for messages of validation rules.
const Usage = `write whole numbers with the units y mo w d h min s, largest first, such as "90d", "6mo" or "1y 4w 3d 5h 30min", or "Unlimited" for never`

const (
	unlimited = "Unlimited"
	maxDigits = 9
	// bareM is the unit of a term "3m" until its position has told what it is.
	bareM unit = -1
)

// errTooLong marks intervals that are well formed and beyond the limit.
var errTooLong = errors.New("is longer than a hundred years; write Unlimited for never")

// term is a number with its unit.
type term struct {
	n    int32
	unit unit
}

// Parse reads an interval: terms of a whole number and a unit, each unit at most
// once, the largest first, with or without blanks between the terms.
//
//	y  years     mo months     w  weeks     d  days
//	h  hours     min minutes   s  seconds
//
// "m" alone is taken from its position: months if weeks, days, hours or minutes
// follow ("6m 3d"), minutes if weeks, days or hours stand before it ("5h 30m");
// anywhere else ("6m", "1y 6m") it is refused. Policies of CentraSite use one letter
// for both, and a rotation after six minutes instead of six months would be no
// small mistake. "Unlimited" means never. Errors quote the text and say what to
// write instead.
func Parse(text string) (Interval, error) {
	i, err := parse(text)
	if err != nil {
		return Interval{}, fmt.Errorf("interval %s %w", quoted(text), err)
	}
	return i, nil
}

// quoted cuts what is printed of a text that may be of any size.
func quoted(text string) string {
	if len(text) > MaxLength {
		return strconv.Quote(text[:MaxLength]) + "..."
	}
	return strconv.Quote(text)
}

func parse(text string) (Interval, error) {
	switch {
	case text == unlimited:
		return Unlimited(), nil
	case strings.EqualFold(text, unlimited):
		return Interval{}, errors.New(`has the wrong case: write "Unlimited"`)
	case strings.Trim(text, " ") == "":
		return Interval{}, errors.New("is empty: " + Usage)
	case len(text) > MaxLength:
		return Interval{}, fmt.Errorf("has %d characters: at most %d are read", len(text), MaxLength)
	case strings.Trim(text, " ") != text:
		return Interval{}, errors.New("begins or ends with a blank: remove it")
	}
	var terms []term
	for rest := text; rest != ""; rest = strings.TrimLeft(rest, " ") {
		t, after, err := scan(rest)
		if err != nil {
			return Interval{}, err
		}
		terms, rest = append(terms, t), after
	}
	return assemble(terms)
}

// scan reads one term from the beginning of text and returns what is left.
func scan(text string) (term, string, error) {
	digits := prefix(text, func(c byte) bool { return c >= '0' && c <= '9' })
	letters := prefix(text[len(digits):], func(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' })
	rest := text[len(digits)+len(letters):]
	switch {
	case digits == "" && strings.HasPrefix(text, "-"):
		return term{}, "", errors.New("is negative: " + Usage)
	case digits == "":
		return term{}, "", fmt.Errorf("has no number at %q: %s", text, Usage)
	case letters == "" && (strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, ",")):
		return term{}, "", errors.New(`has a fraction: use a smaller unit, such as "36h" for a day and a half`)
	case letters == "":
		return term{}, "", fmt.Errorf(`has the number %s without a unit directly behind it: write "%sd" for days`, digits, digits)
	case len(digits) > maxDigits:
		return term{}, "", fmt.Errorf("has a number of %d digits: at most %d are read; write Unlimited for never", len(digits), maxDigits)
	}
	u, err := unitOf(digits, letters)
	if err != nil {
		return term{}, "", err
	}
	n, err := strconv.ParseInt(digits, 10, 32) // Nine digits always fit.
	if err != nil {
		return term{}, "", fmt.Errorf("has the number %s, which cannot be read", digits)
	}
	return term{int32(n), u}, rest, nil
}

// prefix returns the longest beginning of text whose bytes are all accepted.
func prefix(text string, accept func(byte) bool) string {
	for i := range len(text) {
		if !accept(text[i]) {
			return text[:i]
		}
	}
	return text
}

// unitOf finds the unit that letters name, and tells a near miss what was meant.
func unitOf(digits, letters string) (unit, error) {
	if letters == "m" {
		return bareM, nil
	}
	for u, name := range names {
		if letters == name {
			return unit(u), nil
		}
	}
	var meant string
	switch lower := strings.ToLower(letters); {
	case lower == "m":
		return 0, fmt.Errorf(`has the unit %q: write "%smo" for months or "%smin" for minutes`, letters, digits, digits)
	case lower == "ms" || lower == "us" || lower == "ns":
		return 0, fmt.Errorf("has the unit %q: the smallest unit is s", letters)
	case strings.HasPrefix(lower, "mo"):
		meant = "mo"
	case strings.HasPrefix(lower, "mi"):
		meant = "min"
	case strings.ContainsAny(lower[:1], "ywdhs"):
		meant = lower[:1]
	default:
		return 0, fmt.Errorf("has the unknown unit %q: %s", letters, Usage)
	}
	return 0, fmt.Errorf(`has the unknown unit %q: write "%s%s"`, letters, digits, meant)
}

// assemble resolves every bare m and adds the terms up, if they are in order and
// within the limit.
func assemble(terms []term) (Interval, error) {
	var i Interval
	last := unit(-1)
	for at, t := range terms {
		u := t.unit
		if u == bareM {
			var err error
			if u, err = resolve(terms, at); err != nil {
				return Interval{}, err
			}
		}
		if u == last {
			return Interval{}, fmt.Errorf("has the unit %s twice: add the two numbers up", names[u])
		}
		if u < last {
			return Interval{}, fmt.Errorf("has %s after %s: the order is y mo w d h min s", names[u], names[last])
		}
		last, i.counts[u] = u, t.n
	}
	// No overflow before this check: seven numbers of nine digits would need more
	// than 64 bits in nanoseconds, so the bound is taken in seconds first.
	if i.maxSeconds() > int64(limit/longest[seconds]) {
		return Interval{}, errTooLong
	}
	return i, nil
}

// maxSeconds is Max in seconds. Its largest possible value, nine nines for every
// unit, is below 2^55.
func (i Interval) maxSeconds() int64 {
	var sum int64
	for u, n := range i.counts {
		sum += int64(n) * int64(longest[u]/longest[seconds])
	}
	return sum
}

// resolve decides by its neighbours whether the bare m at a position is a month or
// a minute.
func resolve(terms []term, at int) (unit, error) {
	for _, t := range terms[at+1:] {
		if t.unit >= weeks && t.unit <= minutes {
			return months, nil
		}
	}
	for _, t := range terms[:at] {
		if t.unit >= weeks && t.unit <= hours {
			return minutes, nil
		}
	}
	n := terms[at].n
	return 0, fmt.Errorf(`has an m that may mean months or minutes: write "%dmo" or "%dmin"`, n, n)
}
