package ports

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// A port whose server is away is nobody else's, in no process, until it is let go.
func TestKeep(t *testing.T) {
	if port, err := strconv.Atoi(os.Getenv("PORTS_TEST_TRY")); err == nil {
		if _, ok := keep(port, 3); ok {
			os.Exit(1)
		}
		os.Exit(0)
	}
	port, release, err := Keep(3)
	if err != nil {
		t.Fatal(err)
	}
	for _, overlapping := range []int{port - 2, port, port + 2} {
		if _, ok := keep(overlapping, 3); ok {
			t.Errorf("%d is given out while %d to %d are kept", overlapping, port, port+2)
		}
	}
	other := exec.Command(os.Args[0], "-test.run=^TestKeep$")
	other.Env = append(os.Environ(), "PORTS_TEST_TRY="+strconv.Itoa(port))
	if err := other.Run(); err != nil {
		t.Errorf("another process: %v", err)
	}
	l, err := net.Listen("tcp", Loopback(port+1)) // the server comes back
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	release()
	if _, ok := keep(port, 3); ok {
		t.Error("a port is given out that somebody listens on")
	}
	l.Close()
	release, ok := keep(port, 3)
	if !ok {
		t.Fatal("what was let go of is not given out again")
	}
	release()
}
