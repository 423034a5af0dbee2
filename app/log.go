package app

import (
	"context"
	"io"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// shortestSecret is how long a secret must be to be looked for in texts: shorter
// ones would black out words that have nothing to do with them.
const shortestSecret = 4

// NewRedactor replaces configured secrets wherever they stand in a text, also as
// addresses hold them. It is the last line of defence: nothing should have put
// them there (invariant 10).
func NewRedactor(secrets []string) *strings.Replacer {
	var forms, pairs []string
	for _, s := range secrets {
		if len(s) >= shortestSecret {
			query, path := url.QueryEscape(s), url.PathEscape(s)
			forms = append(forms, s, query, path, lowerEscapes(query), lowerEscapes(path))
		}
	}
	longestFirst := func(a, b string) int { return len(b) - len(a) } // one may begin with another
	for _, form := range slices.SortedFunc(slices.Values(forms), longestFirst) {
		pairs = append(pairs, form, "***")
	}
	return strings.NewReplacer(pairs...)
}

var percentEscape = regexp.MustCompile(`%[0-9A-F]{2}`)

func lowerEscapes(s string) string { return percentEscape.ReplaceAllStringFunc(s, strings.ToLower) }

// NewLogger logs as text, with secrets replaced.
func NewLogger(w io.Writer, level slog.Level, redact *strings.Replacer) *slog.Logger {
	return slog.New(&redacting{slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}), redact})
}

// redacting is a handler that replaces secrets in messages and attributes.
type redacting struct {
	slog.Handler
	redact *strings.Replacer
}

func (h *redacting) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, h.redact.Replace(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(h.attr(a))
		return true
	})
	return h.Handler.Handle(ctx, clean)
}

func (h *redacting) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = h.attr(a)
	}
	return &redacting{h.Handler.WithAttrs(clean), h.redact}
}

func (h *redacting) WithGroup(name string) slog.Handler {
	return &redacting{h.Handler.WithGroup(name), h.redact}
}

func (h *redacting) attr(a slog.Attr) slog.Attr {
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindString, slog.KindAny:
		return slog.String(a.Key, h.redact.Replace(v.String()))
	case slog.KindGroup:
		var clean []any
		for _, inner := range v.Group() {
			clean = append(clean, h.attr(inner))
		}
		return slog.Group(a.Key, clean...)
	}
	return a
}
