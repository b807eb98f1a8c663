// Command kubernetes is one program for the parts of a cluster that share most of their code. Linked
// apart, each would be a hundred megabytes. The name that it is called by says which part it is.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"

	"rota.invalid/cluster/keys"
	"rota.invalid/cluster/node"
)

func main() {
	parts := map[string]func() *cobra.Command{
		"kube-apiserver":          apiserver.NewAPIServerCommand,
		"kube-controller-manager": controllers.NewControllerManagerCommand,
		"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
		"rota-node":               node.NewCommand,
		"rota-keys":               keys.NewCommand,
	}
	name := filepath.Base(os.Args[0])
	part, known := parts[name]
	if !known {
		fmt.Fprintf(os.Stderr, "%q is no part of a cluster; they are called by a link of their name\n", name)
		os.Exit(2)
	}
	os.Exit(cli.Run(part()))
}
