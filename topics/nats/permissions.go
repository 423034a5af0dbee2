package nats

import (
	"fmt"

	"github.com/nats-io/nats-server/v2/server"
)

// tailSlots is how many of our own consumers exist at once. They have fixed
// names because a permission cannot deny names by their beginning.
const tailSlots = 16

func tailName(slot int) string { return fmt.Sprintf("millrace_tail_%d", slot) }

// anonymous is whom clients without credentials become.
const anonymous = "anonymous"

// readers returns the listener's users, and the one that clients without
// credentials become ("" for none).
func readers(n names, users []User) ([]*server.User, string) {
	permissions := readerPermissions(n)
	if len(users) == 0 {
		return []*server.User{{Username: anonymous, Permissions: permissions}}, anonymous
	}
	list := make([]*server.User, 0, len(users))
	for _, u := range users {
		list = append(list, &server.User{Username: u.Name, Password: u.Password, Permissions: permissions})
	}
	return list, ""
}

// readerPermissions let a client read through consumers of its own and nothing
// else. A plain subscription to topics would show batches before they are
// committed, so only inboxes can be subscribed to.
func readerPermissions(n names) *server.Permissions {
	stream := n.stream()
	allow := []string{
		"$JS.API.STREAM.NAMES",
		"$JS.API.STREAM.INFO." + stream,
		// Not the form without a name in its subject: that one takes the name
		// from the request, where no permission can see it.
		"$JS.API.CONSUMER.CREATE." + stream + ".>",
		"$JS.API.CONSUMER.INFO." + stream + ".*",
		"$JS.API.CONSUMER.MSG.NEXT." + stream + ".*",
		"$JS.API.CONSUMER.DELETE." + stream + ".*",
		"$JS.ACK." + stream + ".>",
	}
	var deny []string
	for slot := 1; slot <= tailSlots; slot++ {
		ours := stream + "." + tailName(slot)
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
		Publish:   &server.SubjectPermission{Allow: allow, Deny: deny},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
	}
}
