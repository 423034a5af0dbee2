package nats

import (
	"fmt"
	"reflect"
	"time"
	"unsafe"

	"github.com/nats-io/nats-server/v2/server"
)

// The embedded server keeps what is written in memory for ten seconds, in blocks
// of 8 MiB, whatever is read of it. At the speed at which a backlog is committed
// that is a gigabyte, which no option of the server bounds. So its store is told
// to hold on for cacheLife, in blocks of cacheBlock.
const (
	cacheLife = 50 * time.Millisecond
	// cacheBlock is also what a reader who comes back loads at once. With what
	// the last message adds it must fit the server's pool of 1 MiB buffers.
	cacheBlock = 1_000_000
)

// boundCache shortens the write cache of a stream's store, right after it was
// opened and before anything is written. The server has no option for it: the
// two fields are reached by their names (decision 0006). The error says that a
// newer server calls them otherwise; nothing was changed then.
func boundCache(srv *server.Server, stream string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the embedded NATS server's store is not built as expected: %v", r)
		}
	}()
	account, err := srv.LookupAccount(server.DEFAULT_GLOBAL_ACCOUNT)
	if err != nil {
		return err
	}
	jetStream := unsealed(reflect.ValueOf(account).Elem().FieldByName("js"))
	mset := unsealed(jetStream.Elem().FieldByName("streams")).MapIndex(reflect.ValueOf(stream))
	store := unsealed(mset.Elem().FieldByName("store")).Elem()
	config := unsealed(store.Elem().FieldByName("fcfg")).Addr().Interface().(*server.FileStoreConfig)
	config.CacheExpire, config.BlockSize = cacheLife, cacheBlock
	return nil
}

// unsealed returns a field that its package keeps to itself, to be used.
func unsealed(field reflect.Value) reflect.Value {
	return reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem()
}
