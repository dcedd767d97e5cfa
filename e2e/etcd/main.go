// The etcd server as a command of its own: the module go.etcd.io/etcd/v3, which holds etcd's own
// main package, cannot be required (it replaces its parts), so this calls the server's entry point.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
