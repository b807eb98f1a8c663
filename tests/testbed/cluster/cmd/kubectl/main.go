// Command kubectl is the command line of the kubectl module, as it is.
package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"

	// The sign-in methods that a kubeconfig may name.
	_ "k8s.io/client-go/plugin/pkg/client/auth"
)

func main() {
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		// It ends with the command's own status, which `kubectl exec` has from the container.
		util.CheckErr(err)
		os.Exit(1)
	}
}
