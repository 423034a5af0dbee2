package kafkatest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/millrace-io/millrace/topics/topictest/ports"
)

// starting bounds how long a broker may take until it serves; 3 s are usual.
const starting = 90 * time.Second

// errPortTaken says that somebody else listens where the broker should.
var errPortTaken = errors.New("the port is taken")

// process is a broker as a child process. No goroutine belongs to it: whether it
// lives shows in a pipe that it holds open.
type process struct {
	in      installation
	version string
	folder  string
	args    []string // for formatting
	port    int
	letGo   func() // of the ports

	cmd   *exec.Cmd
	hold  *os.File // its stdin: when this process ends in any way, so does the broker
	alive *os.File // ends when the broker has ended
}

// launch starts a broker on ports that stay its own while it is dead, with its
// data and its log in a folder, which prepare, where given, may furnish with
// more.properties before.
func (in installation) launch(version, folder string, args []string, prepare func(port int) error) (*process, error) {
	for attempt := 1; ; attempt++ {
		// The first is for clients; see controllerPort and adminPort.
		port, letGo, err := ports.Keep(3)
		if err != nil {
			return nil, err
		}
		if prepare != nil {
			if err := prepare(port); err != nil {
				letGo()
				return nil, err
			}
		}
		p := &process{in: in, version: version, folder: folder, args: args, port: port, letGo: letGo}
		if err = p.start(); err == nil {
			return p, nil
		}
		letGo()
		if !errors.Is(err, errPortTaken) || attempt == 5 {
			return nil, err
		}
		// What was formatted belongs to the ports that it did not get.
		if err := os.RemoveAll(filepath.Join(folder, "data")); err != nil {
			return nil, err
		}
	}
}

func (p *process) addr() string { return ports.Loopback(p.port) }

// Of a broker's ports the first is for clients.
func controllerPort(port int) int { return port + 1 }
func adminPort(port int) int      { return port + 2 }

func (p *process) logFile() string { return filepath.Join(p.folder, "broker.log") }

// start runs the broker and returns when it serves.
func (p *process) start() error {
	log, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	before, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	stdin, hold, err := os.Pipe()
	if err != nil {
		return err
	}
	defer stdin.Close()
	alive, ends, err := os.Pipe()
	if err != nil {
		hold.Close()
		return err
	}
	defer ends.Close()
	p.hold, p.alive = hold, alive
	p.cmd = exec.Command(filepath.Join(p.in.dir, "serve.sh"),
		append([]string{p.version, strconv.Itoa(p.port), p.folder}, p.args...)...)
	p.cmd.Env = append(os.Environ(), "KAFKA_UNTIL_EOF=1")
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = stdin, log, log
	p.cmd.ExtraFiles = []*os.File{ends} // descriptor 3
	if err := p.cmd.Start(); err != nil {
		p.cmd = nil
		p.release()
		return fmt.Errorf("starting Apache Kafka %s: %w", p.version, err)
	}
	ends.Close()
	return p.ready(before)
}

// ready waits until the broker serves, reading its log from an offset on. A
// broker that does not get so far is ended.
func (p *process) ready(from int64) error {
	deadline := time.Now().Add(starting)
	for {
		ended := p.endedWithin(20 * time.Millisecond)
		text, err := os.ReadFile(p.logFile())
		if err != nil {
			p.kill()
			return err
		}
		said := text[min(int(from), len(text)):]
		switch {
		case ended || time.Now().After(deadline):
			p.kill()
			err := fmt.Errorf("starting Apache Kafka %s on %s: it does not serve; it said:\n%s", p.version, p.addr(), said)
			if bytes.Contains(said, []byte("Address already in use")) {
				err = fmt.Errorf("%w: %w", errPortTaken, err)
			}
			return err
		case bytes.Contains(said, []byte("Kafka Server started")):
			conn, err := net.DialTimeout("tcp", p.addr(), time.Second)
			if err == nil {
				conn.Close()
				return nil
			}
		}
	}
}

// endedWithin waits for the broker's end, at most for some time.
func (p *process) endedWithin(d time.Duration) bool {
	if p.cmd == nil {
		return true
	}
	p.alive.SetReadDeadline(time.Now().Add(d))
	_, err := p.alive.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}

// kill ends the broker as a power switch would, and waits for it.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	p.cmd.Process.Kill()
	p.cmd.Wait()
	p.cmd = nil
	p.release()
}

// stop has the broker end in order.
func (p *process) stop(within time.Duration) error {
	if p.cmd == nil {
		return nil
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	ended := p.endedWithin(within)
	p.kill()
	if !ended {
		return fmt.Errorf("stopping Apache Kafka on %s: killed, as it had not ended after %v", p.addr(), within)
	}
	return nil
}

// release lets go of a broker that has ended.
func (p *process) release() {
	p.hold.WriteString("ended\n") // whoever waits for our end need not kill it any more
	p.hold.Close()
	p.alive.Close()
}
