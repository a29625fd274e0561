// Package interval holds the ages and the windows of a rotation policy. The one
// idea: time is always an argument. Nothing here reads a clock or draws a random
// number, so that the answer to "when is this due?" is the same in the reconciler,
// in a preview and in a test, and does not move between two calls.
//
// An Interval is an age as people write it, "1y 4w 3d 5h 30m". Years and months
// have no fixed length: AddTo counts them on the calendar, while Min and Max bound
// them for comparisons. A Window is a time of the week in which routine work may
// be done, and Jitter spreads many credentials of one policy over a span.
package interval

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// unit is one of the units of the grammar, in the order in which they are written.
type unit int

const (
	years unit = iota
	months
	weeks
	days
	hours
	minutes
	seconds
	unitCount
)

// names are the spellings of the units in the canonical form.
var names = [unitCount]string{"y", "mo", "w", "d", "h", "min", "s"}

const day = 24 * time.Hour

// shortest and longest bound each unit. A month has 28 to 31 days, a year 365 or
// 366; a week and a day are multiples of 24 hours, because ages are counted in UTC.
var (
	shortest = [unitCount]time.Duration{365 * day, 28 * day, 7 * day, day, time.Hour, time.Minute, time.Second}
	longest  = [unitCount]time.Duration{366 * day, 31 * day, 7 * day, day, time.Hour, time.Minute, time.Second}
)

// limit is the longest interval that is accepted, a hundred years by Max. It leaves
// every sum of durations far from the 292 years at which time.Duration overflows.
const limit = 100 * 366 * day

// Interval is an age: a count for each unit, or Unlimited. The zero value is the
// zero interval. Intervals compare with == by what was written, so 7d and 1w
// differ although they are equally long.
type Interval struct {
	counts    [unitCount]int32
	unlimited bool
}

// Unlimited returns the interval that never ends.
func Unlimited() Interval { return Interval{unlimited: true} }

// FromDuration returns the interval of d in days, hours, minutes and seconds.
// Fractions of a second are dropped, a negative d counts as zero, and what is
// longer than the hundred years that Parse accepts is Unlimited.
func FromDuration(d time.Duration) Interval {
	if d > limit {
		return Unlimited()
	}
	var i Interval
	for u := days; u < unitCount && d > 0; u++ {
		i.counts[u] = int32(d / longest[u])
		d %= longest[u]
	}
	return i
}

// IsUnlimited reports whether the interval never ends.
func (i Interval) IsUnlimited() bool { return i.unlimited }

// IsZero reports whether the interval has no length. "0d" parses, since the grammar
// has no reason to refuse it; whoever needs a positive age asks here.
func (i Interval) IsZero() bool { return i == Interval{} }

// Equal is ==. It exists for comparison libraries that do not look into
// unexported fields.
func (i Interval) Equal(other Interval) bool { return i == other }

// Never is what AddTo returns for Unlimited: the last second that RFC 3339 can
// write. It is later than every real time, so that a caller that forgets to ask
// IsUnlimited finds nothing due, instead of everything.
func Never() time.Time { return time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC) }

// AddTo returns the time at which something that began at t has this age, and
// Never if the interval is Unlimited.
//
// Years and months are counted on the calendar in UTC. A day that the month does
// not have becomes the month's last day: 31 January and one month is 28 or 29
// February, not a day in March, which would let a "1mo" take 31 days in February.
// All other units are fixed multiples of a second and are added afterwards.
func (i Interval) AddTo(t time.Time) time.Time {
	if i.unlimited {
		return Never()
	}
	sum := addMonths(t.UTC(), 12*int(i.counts[years])+int(i.counts[months]))
	for u := weeks; u < unitCount; u++ {
		sum = sum.Add(time.Duration(i.counts[u]) * shortest[u])
	}
	if sum.After(Never()) {
		return Never() // A later year has five digits, which no API object can hold.
	}
	return sum.In(t.Location())
}

// addMonths adds n months to t, which is in UTC, and keeps the day within the month.
func addMonths(t time.Time, n int) time.Time {
	if n == 0 {
		return t
	}
	first := time.Date(t.Year(), t.Month()+time.Month(n), 1, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
	last := first.AddDate(0, 1, -1).Day()
	return first.AddDate(0, 0, min(t.Day(), last)-1)
}

// Max is the longest time that the interval can take: months of 31 days, years of
// 366. Unlimited gives the longest time.Duration.
func (i Interval) Max() time.Duration { return i.sum(longest) }

// Min is the shortest time that the interval can take: months of 28 days, years of
// 365. Unlimited gives the longest time.Duration.
func (i Interval) Min() time.Duration { return i.sum(shortest) }

func (i Interval) sum(lengths [unitCount]time.Duration) time.Duration {
	if i.unlimited {
		return math.MaxInt64
	}
	var sum time.Duration
	for u, n := range i.counts {
		sum += time.Duration(n) * lengths[u]
	}
	return sum
}

// DefinitelyLess reports whether a is shorter than b from whichever day both are
// counted: Max(a) < Min(b). "1mo" is not definitely less than "30d", nor the
// reverse. Every interval but Unlimited is less than Unlimited.
func DefinitelyLess(a, b Interval) bool { return a.Max() < b.Min() }

// String writes the canonical form: one blank between the terms, units without a
// count left out, months always "mo" and minutes always "min", so that no reader
// has to resolve a bare m. Parse gives the same Interval back.
func (i Interval) String() string {
	if i.unlimited {
		return unlimited
	}
	var terms []string
	for u, n := range i.counts {
		if n != 0 {
			terms = append(terms, strconv.Itoa(int(n))+names[u])
		}
	}
	if len(terms) == 0 {
		return "0s"
	}
	return strings.Join(terms, " ")
}

// MarshalText implements encoding.TextMarshaler with String.
func (i Interval) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler with Parse.
func (i *Interval) UnmarshalText(text []byte) error {
	parsed, err := Parse(string(text))
	if err != nil {
		return fmt.Errorf("unmarshal: %w", err)
	}
	*i = parsed
	return nil
}
