package topics

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestPublishErrorTellsMessagesApart(t *testing.T) {
	full := errors.New("it is full")
	err := error(&PublishError{Topic: "orders", Of: 10, Failed: []MessageError{
		{Index: 1, UUID: "a", Err: full}, {Index: 2, UUID: "b\n", Err: fmt.Errorf("cut: %w", io.EOF)}, {Index: 7, UUID: "c", Err: full},
	}})
	if want := `publish to orders: 3 of 10 messages failed: message "a" and 1 more: it is full; message "b\n": cut: EOF`; err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	var m *MessageError
	if !errors.Is(err, full) || !errors.Is(err, io.EOF) || !errors.As(err, &m) || m.UUID != "a" || m.Error() != `message "a": it is full` {
		t.Errorf("%v does not hold its causes", err)
	}
}

func TestPublishErrorIsShort(t *testing.T) {
	e := &PublishError{Topic: "t", Of: 8}
	for i := range 8 {
		e.Failed = append(e.Failed, MessageError{Index: i, UUID: fmt.Sprint(i), Err: fmt.Errorf("cause %d", i)})
	}
	if want := `publish to t: 8 of 8 messages failed: message "0": cause 0; message "1": cause 1; message "2": cause 2; message "3": cause 3; message "4": cause 4; and 3 more causes`; e.Error() != want {
		t.Errorf("got  %s\nwant %s", e, want)
	}
}
