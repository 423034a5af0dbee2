package app

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// A command that publishes nothing does without the transforms, which may need a file
// or a variable that is there for the service alone; one that would publish refuses.
func TestCommandsDoWithoutTransforms(t *testing.T) {
	for steps, want := range map[string]string{
		"[{validate: {schema: /nowhere/schema.json}}]": "transforms[0].validate.schema",
		"[{route: " + Unset + "}]":                     "a variable that is not set here",
	} {
		file := parse(t, fmt.Sprintf(importConfig, t.TempDir())+"transforms: "+steps+"\n")
		o, err := openOperator(t.Context(), file, toFill, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatalf("%s: %v", steps, err)
		}
		defer o.close()
		if err := o.settled(o.connectors[0].Streams[0], "no service runs", false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: it would publish: %v", steps, err)
		}
		e := explainer{operator: o}
		if traced, why := e.transforms(t.Context(), &foundEvent{}, &Explained{}); traced != nil || !strings.Contains(why, want) {
			t.Errorf("%s: explain shows %+v, and says %q", steps, traced, why)
		}
	}
}
