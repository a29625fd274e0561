package interval

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	_ "time/tzdata" // A static image has no zone files; without this every zone but UTC would be refused there.

	"github.com/robfig/cron/v3"
)

// SchedulePattern is the outer form of a window's schedule, five fields separated
// by blanks, as a regular expression (RE2, anchored). It shuts out a field for
// seconds, macros such as @every, and TZ= prefixes, which would say a second time
// and differently what the time zone of the window says.
const SchedulePattern = `^[0-9A-Za-z*?/,-]+( +[0-9A-Za-z*?/,-]+){4}$`

// MaxScheduleLength is the longest schedule that is read, in bytes.
const MaxScheduleLength = 128

// Bounds of a window's length. A shorter window could pass between two looks at
// it; a longer one is no window any more.
const (
	MinWindow = time.Minute
	MaxWindow = 7 * day
)

var (
	scheduleForm = regexp.MustCompile(SchedulePattern)
	cronFields   = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)
)

// Window is a span of time that comes again and again: it opens when the wall
// clock of its zone shows a minute of its schedule, and closes a fixed, real time
// later. Only ParseWindow makes one; the zero value is never open.
//
// The clock of a zone jumps. A window that would open in an hour which a jump
// skips opens at the jump; one that would open in an hour which comes twice opens
// the first time only. So a nightly window opens once every night. The rule in one
// sentence: a window opens at the first moment at which the clock shows its minute
// or a later one.
type Window struct {
	text     string
	fires    cron.Schedule
	duration time.Duration
	location *time.Location
}

// ParseWindow reads a window. The schedule has the five fields of cron (minute,
// hour, day of month, month, day of week; names of months and days as in SAT are
// understood), the duration is one of Go's, such as "4h", and the time zone is a
// name of the IANA database, such as Europe/Berlin; empty means UTC.
func ParseWindow(schedule, duration, timeZone string) (Window, error) {
	fires, err := parseSchedule(schedule)
	if err != nil {
		return Window{}, fmt.Errorf("window: schedule %s %w", quoted(schedule), err)
	}
	length, err := time.ParseDuration(duration)
	if err != nil {
		return Window{}, fmt.Errorf(`window: duration %s cannot be read: write hours and minutes, such as "4h" or "1h30m"`, quoted(duration))
	}
	if length < MinWindow || length > MaxWindow {
		return Window{}, fmt.Errorf("window: duration %s is not between 1m and 168h (a week)", quoted(duration))
	}
	location, err := parseZone(timeZone)
	if err != nil {
		return Window{}, fmt.Errorf("window: time zone %s %w", quoted(timeZone), err)
	}
	return Window{text: strings.Join(strings.Fields(schedule), " "), fires: fires, duration: length, location: location}, nil
}

func parseSchedule(schedule string) (cron.Schedule, error) {
	switch {
	case len(schedule) > MaxScheduleLength:
		return nil, fmt.Errorf("has %d characters: at most %d are read", len(schedule), MaxScheduleLength)
	case strings.HasPrefix(schedule, "@"):
		return nil, errors.New(`is a macro: write five fields, such as "0 2 * * SAT"`)
	case strings.Contains(schedule, "TZ="):
		return nil, errors.New("names a time zone: use the window's own field for it")
	case !scheduleForm.MatchString(schedule):
		return nil, errors.New(`does not have five fields (minute hour day-of-month month day-of-week): write for example "0 2 * * SAT"`)
	}
	fires, err := cronFields.Parse(schedule)
	if err != nil {
		return nil, fmt.Errorf("is not valid: %w", err)
	}
	// A fixed time: whether a schedule ever fires must not depend on today.
	if nextFire(fires, time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, errors.New("never comes: there is no such day in any year")
	}
	return fires, nil
}

func parseZone(name string) (*time.Location, error) {
	if name == "Local" {
		return nil, errors.New("is the zone of whichever machine runs the operator: name one, such as Europe/Berlin")
	}
	location, err := time.LoadLocation(name)
	if err != nil {
		return nil, errors.New("is not known: write a name of the IANA database, such as Europe/Berlin or UTC")
	}
	return location, nil
}

// String writes the window for messages.
func (w Window) String() string {
	if w.fires == nil {
		return "never"
	}
	return fmt.Sprintf("%q for %s in %s", w.text, w.duration, w.location)
}

// Equal reports whether both windows were written alike.
func (w Window) Equal(other Window) bool { return w.String() == other.String() }

// Open reports whether the window is open at a time.
func (w Window) Open(now time.Time) bool {
	if w.fires == nil {
		return false
	}
	// Openings are in order, so if the first one that has not closed yet lies in
	// the future, then so do all others.
	opening, ok := w.openingAfter(now.Add(-w.duration))
	return ok && !opening.After(now)
}

// Next returns the first time from now on at which the window is open: now itself
// if it is open now. It reports false for a window that never opens.
func (w Window) Next(now time.Time) (time.Time, bool) {
	if w.fires == nil {
		return time.Time{}, false
	}
	if w.Open(now) {
		return now, true
	}
	return w.openingAfter(now)
}

// openingAfter returns the first opening after t.
//
// The schedule is asked in wall-clock time, carried in values of UTC, where every
// minute exists once; what the clock of the zone does is decided by instant alone.
func (w Window) openingAfter(t time.Time) (time.Time, bool) {
	for wall := wallClock(t.In(w.location)); ; {
		if wall = nextFire(w.fires, wall); wall.IsZero() {
			return time.Time{}, false
		}
		// In an hour that comes twice the next minute on the wall may be past.
		if opening := instant(wall, w.location); opening.After(t) {
			return opening, true
		}
	}
}

// nextFire returns the first wall-clock time after wall at which the schedule
// fires, or zero. The cron library looks five years ahead; 29 February may be eight
// years away, so it is asked twice.
func nextFire(fires cron.Schedule, wall time.Time) time.Time {
	if next := fires.Next(wall); !next.IsZero() {
		return next
	}
	return fires.Next(wall.AddDate(5, 0, 0))
}

// wallClock returns what the clock shows at t in t's zone, as a value in UTC.
func wallClock(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.Add(time.Duration(offset) * time.Second).UTC()
}

// instant returns the first moment at which the clock of a zone shows wall or
// later. It walks the periods of constant offset that can hold it, because
// time.Date does not promise which of two moments it returns, nor what it does
// with one that does not exist.
func instant(wall time.Time, location *time.Location) time.Time {
	// No offset reaches a day, so two days earlier the clock shows an earlier time.
	for at := wall.Add(-2 * day).In(location); ; {
		begin, end := at.ZoneBounds()
		_, offset := at.Zone()
		moment := wall.Add(-time.Duration(offset) * time.Second).In(location)
		if !begin.IsZero() && moment.Before(begin) {
			return begin // Skipped: the clock jumped over wall at begin.
		}
		if end.IsZero() || moment.Before(end) {
			return moment
		}
		at = end
	}
}

// Windows are the windows of a policy. None means always open.
type Windows []Window

// Open reports whether any window is open at a time, or there are none.
func (ws Windows) Open(now time.Time) bool {
	if len(ws) == 0 {
		return true
	}
	for _, w := range ws {
		if w.Open(now) {
			return true
		}
	}
	return false
}

// Next returns the first time from now on at which a window is open: now itself if
// one is open or there are none. It reports false if no window ever opens.
func (ws Windows) Next(now time.Time) (start time.Time, ok bool) {
	if ws.Open(now) {
		return now, true
	}
	for _, w := range ws {
		if next, opens := w.Next(now); opens && (!ok || next.Before(start)) {
			start, ok = next, true
		}
	}
	return start, ok
}
