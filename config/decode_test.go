package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestDecodeByHand(t *testing.T) {
	var got netcore
	SetDefaults(&got)
	err := Decode(map[string]any{
		"app_id": "a", "channels": []string{"1010"}, "enrich_users": "true", "rate": "3/s",
		"sweep": map[string]any{"every": "12h"}, "since": "2026-01-01T00:00:00Z", "requests": 2,
	}, &got)
	if err != nil {
		t.Fatal(err)
	}
	yes := true
	want := netcore{
		shared: shared{
			Since: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Poll: time.Minute, Settle: 30 * time.Second, Overlap: 10 * time.Minute,
			Sweep: sweep{Every: 12 * time.Hour, Back: 24 * time.Hour}, Rate: 3, Requests: 2, MaxBytes: 32 << 20,
		},
		AppID: "a", Channels: []int{1010}, Enrich: &yes, Transcripts: "by_user",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

// TestDecodeOverlay lays a stream's section over a copy of its connector's: lists
// and maps are replaced, and the connector's own are not touched.
func TestDecodeOverlay(t *testing.T) {
	type inner struct {
		A string `mapstructure:"a"`
		B string `mapstructure:"b"`
	}
	type settings struct {
		List    []string          `mapstructure:"list"`
		Map     map[string]string `mapstructure:"map"`
		Flag    *bool             `mapstructure:"flag"`
		Section inner             `mapstructure:"section"`
		Pointer *inner            `mapstructure:"pointer"`
	}
	yes, no := true, false
	make1 := func() settings {
		return settings{[]string{"a", "b"}, map[string]string{"a": "1"}, &yes, inner{"1", "2"}, &inner{"1", "2"}}
	}
	connector := make1()
	stream := connector
	err := Decode(map[string]any{
		"list": []any{"c"}, "map": map[string]any{"b": "2"}, "flag": false,
		"section": map[string]any{"a": "3"}, "pointer": map[string]any{"a": "3"},
	}, &stream)
	if err != nil {
		t.Fatal(err)
	}
	if want := make1(); !reflect.DeepEqual(connector, want) || !yes {
		t.Errorf("the connector's became %+v, want %+v", connector, want)
	}
	want := settings{[]string{"c"}, map[string]string{"b": "2"}, &no, inner{"3", "2"}, &inner{"3", "2"}}
	if !reflect.DeepEqual(stream, want) {
		t.Errorf("the stream's became %+v, want %+v", stream, want)
	}
}

func TestDecodeErrorsHoldNoValues(t *testing.T) {
	for _, tt := range []struct {
		raw  map[string]any
		want string
	}{
		{map[string]any{"poll": "hunter2"}, "'poll': wants a duration"},
		{map[string]any{"poll": 60}, "'poll': wants a duration"},
		{map[string]any{"poll": []any{"hunter2"}}, "'poll': wants a duration"},
		{map[string]any{"app_id": map[string]any{"x": "hunter2"}}, "'app_id': wants a string"},
		{map[string]any{"channels": "hunter2"}, "'channels': wants a list"},
		{map[string]any{"channels": []any{"hunter2"}}, "'channels[0]': wants a whole number"},
		{map[string]any{"sweep": "hunter2"}, "'sweep': wants a map"},
		{map[string]any{"sweep": map[int]any{1: "hunter2"}}, "'sweep': wants a map"},
		{map[string]any{"sweep": map[string]any{"every": "hunter2"}}, "'sweep.every': wants a duration"},
		{map[string]any{"unknown": "hunter2"}, "invalid keys: unknown"},
		{map[string]any{"Poll": "60s"}, "invalid keys: Poll"},
		{map[string]any{"enrich_users": struct{ s string }{"hunter2"}}, "'enrich_users': wants true or false"},
	} {
		err := Decode(tt.raw, &netcore{})
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v: got %v, want %q", tt.raw, err, tt.want)
		}
	}
}
