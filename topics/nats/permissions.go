package nats

import (
	"fmt"

	"github.com/nats-io/nats-server/v2/server"
)

// Readers of the listener are shut in twice.
//
// They live in an account of their own, which has no topics: only the requests
// that reading needs are let through to ours. A permission alone would not do,
// because it says nothing of a request's reply subject: in our account a reader
// could have the server's answer stored as an event, or as a checkpoint.
//
// And permissions keep them from the requests of our own consumers, which have
// fixed names because a permission cannot deny names by their beginning.

const (
	readersAccount = "READERS"

	// anonymous is whom clients without credentials become.
	anonymous = "anonymous"

	// tailSlots is how many of our own consumers exist at once.
	tailSlots = 16

	// ownInbox is where our own connections get answers. Readers may listen to
	// every _INBOX.
	ownInbox = "_MILLRACE_INBOX"
)

func tailName(slot int) string { return fmt.Sprintf("millrace_tail_%d", slot) }

// readers returns the listener's users, and the one that clients without
// credentials become ("" for none).
func readers(n names, account *server.Account, users []User) ([]*server.User, string) {
	permissions := readerPermissions(n)
	if len(users) == 0 {
		return []*server.User{{Username: anonymous, Account: account, Permissions: permissions}}, anonymous
	}
	list := make([]*server.User, 0, len(users))
	for _, u := range users {
		list = append(list, &server.User{Username: u.Name, Password: u.Password, Account: account, Permissions: permissions})
	}
	return list, ""
}

// requests are what reading through consumers needs.
func readerRequests(n names) []string {
	stream := n.stream()
	return []string{
		"$JS.API.STREAM.NAMES",
		"$JS.API.STREAM.INFO." + stream,
		// Not the form without a name in its subject: that one takes the name
		// from the request, where no permission can see it.
		"$JS.API.CONSUMER.CREATE." + stream + ".>",
		"$JS.API.CONSUMER.INFO." + stream + ".*",
		"$JS.API.CONSUMER.DELETE." + stream + ".*",
		"$JS.ACK." + stream + ".>",
	}
}

// readerPulls is answered with many messages, so it is shared in another way.
func readerPulls(n names) string { return "$JS.API.CONSUMER.MSG.NEXT." + n.stream() + ".*" }

// readerPermissions let a client make those requests and listen to inboxes.
func readerPermissions(n names) *server.Permissions {
	var deny []string
	for slot := 1; slot <= tailSlots; slot++ {
		ours := n.stream() + "." + tailName(slot)
		deny = append(deny,
			"$JS.API.CONSUMER.CREATE."+ours,
			"$JS.API.CONSUMER.CREATE."+ours+".>",
			"$JS.API.CONSUMER.INFO."+ours,
			"$JS.API.CONSUMER.MSG.NEXT."+ours,
			"$JS.API.CONSUMER.DELETE."+ours,
			"$JS.ACK."+ours+".>",
		)
	}
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: append(readerRequests(n), readerPulls(n)), Deny: deny},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
	}
}

// share lets the readers' requests through to our account, and what consumers
// deliver to an inbox back to the readers.
func share(srv *server.Server, n names) error {
	ours := srv.GlobalAccount()
	theirs, err := srv.LookupAccount(readersAccount)
	if err != nil {
		return err
	}
	only := []*server.Account{theirs}
	// Nobody may send this one. That it is ours keeps the server from giving the
	// readers' account JetStream requests of its own, which it would answer with
	// "not enabled", before ours are asked.
	info := "$JS.API.INFO"
	for _, subject := range append(readerRequests(n), info) {
		if err := ours.AddServiceExport(subject, only); err != nil {
			return err
		}
		if err := theirs.AddServiceImport(ours, subject, subject); err != nil {
			return err
		}
	}
	pulls := readerPulls(n)
	if err := ours.AddServiceExportWithResponse(pulls, server.Streamed, only); err != nil {
		return err
	}
	if err := theirs.AddServiceImport(ours, pulls, pulls); err != nil {
		return err
	}
	if err := ours.AddStreamExport("_INBOX.>", only); err != nil {
		return err
	}
	return theirs.AddStreamImport(ours, "_INBOX.>", "")
}
