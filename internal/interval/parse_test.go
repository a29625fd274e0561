package interval

import (
	"errors"
	"regexp"
	"strings"
	"testing"
)

var form = regexp.MustCompile(Pattern)

func TestParseReadsTheGrammar(t *testing.T) {
	for text, want := range map[string]string{
		"90d":                     "90d",
		"1y 4w 3d 5h 30m":         "1y 4w 3d 5h 30min",
		"1y4w3d5h30m":             "1y 4w 3d 5h 30min",
		"1y   4w":                 "1y 4w",
		"1y 2mo 3w 4d 5h 6min 7s": "1y 2mo 3w 4d 5h 6min 7s",
		"6mo":                     "6mo",
		"1y 6mo":                  "1y 6mo",
		"12mo":                    "12mo",
		"30min":                   "30min",
		"20s":                     "20s",
		"0d":                      "0s",
		"0y 0s":                   "0s",
		"007d":                    "7d",
		"100y":                    "100y",
		"36600d":                  "36600d",
		"Unlimited":               "Unlimited",
		"6m 3d":                   "6mo 3d", // days follow: months
		"6m1w":                    "6mo 1w",
		"6m 30min":                "6mo 30min",
		"1y 6m 12h":               "1y 6mo 12h",
		"5h 30m":                  "5h 30min", // hours precede: minutes
		"3d 30m":                  "3d 30min",
		"1w 30m 5s":               "1w 30min 5s",
		"6m 3d 30m":               "6mo 3d 30min", // each by its own position
		"1mo 3d 30m":              "1mo 3d 30min",
	} {
		t.Run(text, func(t *testing.T) {
			got, err := Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != want {
				t.Errorf("got %s, want %s", got, want)
			}
			again, err := Parse(got.String())
			if err != nil || again != got {
				t.Errorf("%s does not parse back: %v, %v", got, again, err)
			}
			if !form.MatchString(text) {
				t.Error("Pattern refuses it")
			}
		})
	}
}

func TestParseRefusesWithAHint(t *testing.T) {
	for text, hint := range map[string]string{
		"":                                  `is empty: write whole numbers`,
		"  ":                                `is empty: write whole numbers`,
		" 5d":                               `begins or ends with a blank`,
		"5d ":                               `begins or ends with a blank`,
		"6m":                                `write "6mo" or "6min"`,
		"1y 6m":                             `write "6mo" or "6min"`,
		"1mo 6m":                            `write "6mo" or "6min"`,
		"6m 30s":                            `write "6mo" or "6min"`,
		"6m 30m":                            `write "6mo" or "6min"`,
		"-1d":                               `is negative`,
		"1d -2h":                            `is negative`,
		"1.5d":                              `has a fraction: use a smaller unit`,
		"1,5d":                              `has a fraction: use a smaller unit`,
		"9999999y":                          `longer than a hundred years; write Unlimited for never`,
		"101y":                              `longer than a hundred years`,
		"100y 1s":                           `longer than a hundred years`,
		"999999999y 999999999mo 999999999w": `longer than a hundred years`,
		"1000000000s":                       `a number of 10 digits`,
		"90":                                `write "90d" for days`,
		"1y 90":                             `write "90d" for days`,
		"5 d":                               `without a unit directly behind it`,
		"d":                                 `has no number at "d"`,
		"never":                             `has no number at "never"`,
		"unlimited":                         `wrong case: write "Unlimited"`,
		"UNLIMITED":                         `wrong case: write "Unlimited"`,
		"5q":                                `unknown unit "q"`,
		"5D":                                `unknown unit "D": write "5d"`,
		"5days":                             `unknown unit "days": write "5d"`,
		"5weeks":                            `write "5w"`,
		"5hrs":                              `write "5h"`,
		"5months":                           `write "5mo"`,
		"5Mo":                               `write "5mo"`,
		"5minutes":                          `write "5min"`,
		"5sec":                              `write "5s"`,
		"1yr":                               `write "1y"`,
		"5M":                                `write "5mo" for months or "5min" for minutes`,
		"500ms":                             `the smallest unit is s`,
		"1d 2d":                             `has the unit d twice`,
		"3d 5m 6m":                          `has the unit min twice`,
		"5m 6m 3d":                          `has the unit mo twice`,
		"1mo 5m 3d":                         `has the unit mo twice`,
		"5h 1d":                             `has d after h: the order is y mo w d h min s`,
		"1d 3m 5h":                          `has mo after d`,
		"1d1y":                              `has y after d`,
		"1d,2h":                             `has no number at ",2h"`,
		"1d\t2h":                            `has no number at "\t2h"`,
		"５d":                                `has no number`,
		"P1D":                               `has no number`,
		strings.Repeat("1d", 40):            `has 80 characters: at most 64 are read`,
	} {
		t.Run(text, func(t *testing.T) {
			got, err := Parse(text)
			if err == nil {
				t.Fatalf("was read as %s", got)
			}
			if !strings.Contains(err.Error(), hint) {
				t.Errorf("error %q does not say %q", err, hint)
			}
			if !strings.HasPrefix(err.Error(), "interval "+quoted(text)) {
				t.Errorf("error %q does not quote the input", err)
			}
			if got != (Interval{}) {
				t.Errorf("an error came with the interval %s", got)
			}
			if form.MatchString(text) && !errors.Is(err, errTooLong) {
				t.Error("Pattern accepts it")
			}
		})
	}
}

func TestAnErrorDoesNotRepeatAHugeInput(t *testing.T) {
	_, err := Parse(strings.Repeat("9", 1<<20))
	if err == nil || len(err.Error()) > 300 {
		t.Errorf("error of %d bytes", len(err.Error()))
	}
}

func TestZeroAndUnlimitedAreRecognised(t *testing.T) {
	for text, want := range map[string][2]bool{
		"0d": {true, false}, "0mo 0h": {true, false}, "1s": {false, false}, "Unlimited": {false, true},
	} {
		i := mustParse(t, text)
		if got := [2]bool{i.IsZero(), i.IsUnlimited()}; got != want {
			t.Errorf("%s: IsZero, IsUnlimited = %v, want %v", text, got, want)
		}
	}
}

// FuzzParse holds the parser against the pattern and against its own output.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "Unlimited", "0d", "6m", "-1d", "9999999y", "1y 4w 3d 5h 30m", "1y2mo3w4d5h6min7s", "6m3d", "3d6m", "6m 30s",
		"3d 5m 10s", "1mo5m", "6m 3d 30m", "5m 30min", "1h 5m 10min", " 1d", "1d ", "1d  2h", "1000000000s", "999999999s", "1d\n", "１d",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		i, err := Parse(text)
		matches := form.MatchString(text)
		if err != nil {
			if matches && !errors.Is(err, errTooLong) && len(text) <= MaxLength {
				t.Errorf("Pattern accepts %q, Parse says %v", text, err)
			}
			return
		}
		if !matches {
			t.Errorf("Parse accepts %q, Pattern does not", text)
		}
		if again, err := Parse(i.String()); err != nil || again != i {
			t.Errorf("%q reads as %s, which reads as %s, %v", text, i, again, err)
		}
		if !i.IsUnlimited() && (i.Min() < 0 || i.Max() < i.Min() || i.Max() > limit) {
			t.Errorf("%q has the bounds %s and %s", text, i.Min(), i.Max())
		}
	})
}

// TestPatternAndParserAgreeOnEveryOrderOfUnits enumerates what a fuzzer may miss:
// all texts of up to four terms, with every unit in every place.
func TestPatternAndParserAgreeOnEveryOrderOfUnits(t *testing.T) {
	units := append([]string{"m"}, names[:]...)
	texts := []string{""}
	for range 4 {
		var longer []string
		for _, text := range texts {
			_, err := Parse(text)
			if text != "" && (err == nil) != form.MatchString(text) {
				t.Errorf("%q: Parse says %v, Pattern %v", text, err, form.MatchString(text))
			}
			for _, u := range units {
				longer = append(longer, text+"1"+u)
			}
		}
		texts = longer
	}
	for _, text := range texts {
		if _, err := Parse(text); (err == nil) != form.MatchString(text) {
			t.Errorf("%q: Parse says %v, Pattern %v", text, err, form.MatchString(text))
		}
	}
}
