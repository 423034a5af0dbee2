package topictest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
)

// restartWord is the argument with which a test binary asks for a restart.
const restartWord = "topictest-restart-server"

// AskToRestart is for TestMain, before anything else: Watermill's suite restarts
// a server by running a command, and the command is the test binary once more.
// Where is true, it was started for that, and has to end with the code.
func AskToRestart() (code int, is bool) {
	if len(os.Args) != 3 || os.Args[1] != restartWord {
		return 0, false
	}
	conn, err := net.Dial("tcp", os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1, true
	}
	defer conn.Close()
	// The answer comes when the server is there again.
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1, true
	}
	return 0, true
}

// restartCommand is a command that calls restart in this process, and ends when
// it has returned.
func restartCommand(t *testing.T, restart func(*testing.T)) []string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen for requests to restart: %v", err)
	}
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			restart(t)
			w := bufio.NewWriter(conn)
			w.WriteByte('.')
			w.Flush()
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return []string{binary, restartWord, l.Addr().String()}
}
