package nats

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
	"github.com/nats-io/nkeys"
)

// Files of ours beside the embedded server's own folder.
const (
	lockFile    = "lock"         // held while the directory is open
	serviceFile = "service.json" // who holds it, and where it listens
	keyFile     = "service.nk"   // the seed that operating commands log in with
)

// directory is the embedded server's directory, locked. nats-server does not
// lock its store: two servers on one would both acknowledge the same sequences.
type directory struct {
	path    string
	lock    *flock.Flock
	command bool // we are an operating command
}

// service is what who holds a directory tells of itself there.
type service struct {
	PID     int    `json:"pid"`
	Command bool   `json:"command,omitempty"` // it is an operating command, and soon gone
	Open    bool   `json:"open"`              // it has started
	Listen  string `json:"listen"`            // "": nowhere
}

// inUseError says that another process holds the directory.
type inUseError struct {
	path string
	service
}

func (e *inUseError) Error() string {
	return fmt.Sprintf("directory %s is in use by another millrace (pid %d): stop it, or give this one a broker.nats.dir of its own or connect it as a client with broker.nats.url", e.path, e.PID)
}

func lockDirectory(path string, command bool) (*directory, error) {
	if path == "" {
		return nil, errors.New("broker.nats.dir is empty: name a directory that millrace may write to")
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("broker.nats.dir: cannot make directory %s: %w: name one that millrace may write to", path, err)
	}
	d := &directory{path: path, command: command}
	d.lock = flock.New(filepath.Join(path, lockFile), flock.SetPermissions(0o600))
	locked, err := d.lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("broker.nats.dir: cannot write to directory %s: %w: name one that millrace may write to", path, err)
	}
	if !locked {
		running, _ := readService(path)
		return nil, errors.Join(&inUseError{path: path, service: running}, d.lock.Close())
	}
	if err := d.announce("", false); err != nil {
		return nil, errors.Join(err, d.unlock())
	}
	return d, nil
}

// announce writes down who holds the directory, and where it listens once it is
// open.
func (d *directory) announce(listen string, open bool) error {
	text, err := json.Marshal(service{PID: os.Getpid(), Command: d.command, Open: open, Listen: listen})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(d.path, serviceFile), text, 0o600); err != nil {
		return fmt.Errorf("broker.nats.dir: cannot write to directory %s: %w: name one that millrace may write to", d.path, err)
	}
	return nil
}

func readService(path string) (s service, err error) {
	text, err := os.ReadFile(filepath.Join(path, serviceFile))
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(text, &s)
}

func (d *directory) unlock() error {
	return errors.Join(removeQuietly(filepath.Join(d.path, serviceFile)), d.lock.Close())
}

// key reads the service's key, and makes one the first time.
func (d *directory) key() (nkeys.KeyPair, string, error) {
	path := filepath.Join(d.path, keyFile)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := makeKey(path); err != nil {
			return nil, "", fmt.Errorf("make the service's key %s: %w", path, err)
		}
	}
	return readKey(path)
}

func makeKey(path string) error {
	key, err := nkeys.CreateUser()
	if err != nil {
		return err
	}
	seed, err := key.Seed()
	if err != nil {
		return err
	}
	// Written whole or not at all: half a key would lock everybody out.
	part := path + ".part"
	if err := os.WriteFile(part, seed, 0o600); err != nil {
		return err
	}
	return os.Rename(part, path)
}

func readKey(path string) (nkeys.KeyPair, string, error) {
	seed, err := os.ReadFile(path)
	if err != nil {
		return nil, "", fmt.Errorf("read the service's key: %w", err)
	}
	key, err := nkeys.FromSeed(seed)
	if err != nil {
		return nil, "", fmt.Errorf("the service's key %s is damaged (%w): stop millrace and delete that file, it will be made anew", path, err)
	}
	public, err := key.PublicKey()
	return key, public, err
}
