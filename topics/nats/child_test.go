package nats

import (
	"context"
	"fmt"
	"os"
)

// The test binary runs itself as another process where a test needs one.
const (
	childMode = "MILLRACE_TEST_CHILD"
	childDir  = "MILLRACE_TEST_CHILD_DIR"
)

// asChild does the work of a child process.
func asChild() (code int, is bool) {
	switch os.Getenv(childMode) {
	case "":
		return 0, false
	case "open":
		b, err := Open(context.Background(), Options{Dir: os.Getenv(childDir)})
		if err != nil {
			fmt.Println(err)
			return 1, true
		}
		if err := b.Close(); err != nil {
			fmt.Println(err)
			return 2, true
		}
		return 0, true
	}
	return 3, true
}
