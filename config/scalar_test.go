package config

import (
	"reflect"
	"testing"
	"time"
)

func TestScalars(t *testing.T) {
	type mode string
	for _, tt := range []struct {
		text string
		want any // of the type that is asked for
		bad  bool
	}{
		{text: "60s", want: time.Minute},
		{text: "1h30m", want: 90 * time.Minute},
		{text: "0s", want: time.Duration(0)},
		{text: "7d", want: 7 * 24 * time.Hour},
		{text: "1d12h", want: 36 * time.Hour},
		{text: "106751d", want: 106751 * 24 * time.Hour},
		{text: "106752d", want: time.Duration(0), bad: true},
		{text: "106751d24h", want: time.Duration(0), bad: true},
		{text: "1.5d", want: time.Duration(0), bad: true},
		{text: "1d-1h", want: time.Duration(0), bad: true},
		{text: "-1s", want: time.Duration(0), bad: true},
		{text: "60", want: time.Duration(0), bad: true},
		{text: "", want: time.Duration(0), bad: true},
		{text: "2026-01-01T00:00:00Z", want: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)},
		{text: "2026-01-01", want: time.Time{}, bad: true},
		{text: "3/s", want: Rate(3)},
		{text: "0.5/s", want: Rate(0.5)},
		{text: "90/m", want: Rate(1.5)},
		{text: "1800/h", want: Rate(0.5)},
		{text: "3", want: Rate(0), bad: true},
		{text: "3/d", want: Rate(0), bad: true},
		{text: "0/s", want: Rate(0), bad: true},
		{text: "-1/s", want: Rate(0), bad: true},
		{text: "inf/s", want: Rate(0), bad: true},
		{text: "nan/s", want: Rate(0), bad: true},
		{text: "32MiB", want: Bytes(32 << 20)},
		{text: "1 GiB", want: Bytes(1 << 30)},
		{text: "5KB", want: Bytes(5000)},
		{text: "7B", want: Bytes(7)},
		{text: "32", want: Bytes(0), bad: true},
		{text: "1.5MiB", want: Bytes(0), bad: true},
		{text: "8589934592GiB", want: Bytes(0), bad: true},
		{text: "99999999999999999999B", want: Bytes(0), bad: true},
		{text: "true", want: true},
		{text: "False", want: false},
		{text: "yes", want: false, bad: true},
		{text: "-3", want: -3},
		{text: "3.0", want: 0, bad: true},
		{text: "0x10", want: 0, bad: true},
		{text: "256", want: uint8(0), bad: true},
		{text: "255", want: uint8(255)},
		{text: "0.25", want: 0.25},
		{text: "NaN", want: 0.0, bad: true},
		{text: "a", want: mode("a")},
	} {
		got, ok := scalarOf(reflect.TypeOf(tt.want)).parse(tt.text)
		if ok == tt.bad || ok && got != tt.want {
			t.Errorf("%q as a %T: got %v, %v, want %v", tt.text, tt.want, got, ok, tt.want)
		}
	}
}

func TestNearest(t *testing.T) {
	valid := []string{"poll", "settle", "overlap", "function_key", "type"}
	for _, tt := range []struct{ word, want string }{
		{"pol", "poll"}, {"Settle", "settle"}, {"functionkey", "function_key"}, {"function-keys", "function_key"},
		{"typ", "type"}, {"xyz", ""}, {"", ""}, {"app_secret", ""},
	} {
		if got := nearest(tt.word, valid); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.word, got, tt.want)
		}
	}
}
