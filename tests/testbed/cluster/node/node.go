// Package node is a node of a Kubernetes cluster without containers: it runs the command of each container
// of its pods as a process of this machine. To the control plane it is a node like any other.
//
// What it does is what tests of a client of Kubernetes can see: phases, conditions and events, restarts
// with back-off, environment, logs, exec, attach, port-forward, probes, graceful ends. What it does not
// do: images (their names say which of the tools folder's programs are on the PATH), volumes, limits of
// resources, isolation of any kind.
package node

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/record"
	"k8s.io/component-base/version"
	"k8s.io/component-helpers/apimachinery/lease"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

const (
	// As the kubelet has it: the node-lifecycle controller takes a node for lost when its lease is over.
	leaseSeconds  = 40
	leaseRenewal  = 10 * time.Second
	statusRenewal = time.Minute
	// Fewer than the network has addresses.
	maximumPods = 200
)

// Options are the node's flags.
type Options struct {
	Name       string
	Kubeconfig string
	Folder     string
	Tools      string
	Keys       string
	Port       int
	ReadyFile  string
}

// Node is the running node.
type Node struct {
	Options
	client  kubernetes.Interface
	config  *rest.Config
	events  record.EventRecorder
	network *network
	pods    *pods
}

// NewCommand is `rota-node`.
func NewCommand() *cobra.Command {
	var options Options
	command := &cobra.Command{
		Use:          "rota-node",
		Short:        "Run the pods of a cluster as processes of this machine",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(*cobra.Command, []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return Run(ctx, options)
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.Name, "name", "rota-node", "the node's name")
	flags.StringVar(&options.Kubeconfig, "kubeconfig", "", "how to reach the API server")
	flags.StringVar(&options.Folder, "folder", "", "where the folders and logs of pods are made")
	flags.StringVar(&options.Tools, "tools", "", "the folder with the programs that images are taken for")
	flags.StringVar(&options.Keys, "keys", "", "the folder that rota-keys has filled")
	flags.IntVar(&options.Port, "port", 0, "the port on 127.0.0.1 for the API server's calls")
	flags.StringVar(&options.ReadyFile, "ready-file", "", "a file to make when the cluster runs pods")
	return command
}

// Run is the node, until ctx ends; then all its processes are killed.
func Run(ctx context.Context, options Options) error {
	config, err := clientcmd.BuildConfigFromFlags("", options.Kubeconfig)
	if err != nil {
		return err
	}
	// Its own limit of requests would make a burst of pods slow.
	config.QPS, config.Burst = 500, 1000
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(options.Folder, "pods"), 0o755); err != nil {
		return err
	}
	network, err := newNetwork(ctx)
	if err != nil {
		return err
	}
	broadcaster := record.NewBroadcaster()
	defer broadcaster.Shutdown()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	node := &Node{
		Options: options,
		client:  client,
		config:  config,
		events:  broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "kubelet", Host: options.Name}),
		network: network,
	}
	node.pods = newPods(node)
	defer node.pods.killAll()

	// It listens before it is known: the first thing that is asked of a node may come at once.
	failed := make(chan error, 1)
	listening, err := node.listen()
	if err != nil {
		return err
	}
	go func() { failed <- listening() }()
	if err := node.register(ctx); err != nil {
		return fmt.Errorf("the node cannot register: %w", err)
	}
	go lease.NewController(clock.RealClock{}, client, options.Name, leaseSeconds, nil, leaseRenewal,
		options.Name, corev1.NamespaceNodeLease, nil).Run(ctx)
	go node.renewStatus(ctx)
	go node.pods.watch(ctx)
	go node.tellReady(ctx)
	klog.InfoS("The node is up", "name", options.Name, "pods", network.String())
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// register makes the node's object, or takes over the one of an earlier process.
func (n *Node) register(ctx context.Context) error {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: n.Name,
		Labels: map[string]string{
			corev1.LabelHostname:   n.Name,
			corev1.LabelOSStable:   runtime.GOOS,
			corev1.LabelArchStable: runtime.GOARCH,
		},
	}}
	if _, err := n.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return n.updateStatus(ctx)
}

func (n *Node) updateStatus(ctx context.Context) error {
	node, err := n.client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	resources := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("64"),
		corev1.ResourceMemory:           resource.MustParse("256Gi"),
		corev1.ResourceEphemeralStorage: resource.MustParse("1Ti"),
		corev1.ResourcePods:             *resource.NewQuantity(maximumPods, resource.DecimalSI),
	}
	now := metav1.Now()
	since := now
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
			since = condition.LastTransitionTime
		}
	}
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason string) corev1.NodeCondition {
		return corev1.NodeCondition{Type: kind, Status: status, Reason: reason, LastHeartbeatTime: now, LastTransitionTime: since}
	}
	node.Status.Capacity = resources
	node.Status.Allocatable = resources
	node.Status.Conditions = []corev1.NodeCondition{
		condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory"),
		condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure"),
		condition(corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID"),
		condition(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady"),
	}
	node.Status.Addresses = []corev1.NodeAddress{
		{Type: corev1.NodeInternalIP, Address: nodeIP},
		{Type: corev1.NodeHostName, Address: n.Name},
	}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(n.Port)
	node.Status.NodeInfo.KubeletVersion = version.Get().GitVersion
	node.Status.NodeInfo.ContainerRuntimeVersion = "rota-node://1"
	node.Status.NodeInfo.OperatingSystem = runtime.GOOS
	node.Status.NodeInfo.Architecture = runtime.GOARCH
	_, err = n.client.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{})
	return err
}

// tellReady makes the file that says that the cluster runs pods: the API server has all that it starts with, the
// scheduler may use this node, and pods find the service account that they have by default.
func (n *Node) tellReady(ctx context.Context) {
	if n.ReadyFile == "" {
		return
	}
	ready := func() bool {
		if n.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() != nil {
			return false
		}
		node, err := n.client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
		if err != nil || len(node.Spec.Taints) > 0 {
			return false
		}
		_, err = n.client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err == nil
	}
	for !ready() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
	if err := os.WriteFile(n.ReadyFile, nil, 0o644); err != nil {
		klog.ErrorS(err, "The file that says that the cluster is ready was not made")
	}
}

func (n *Node) renewStatus(ctx context.Context) {
	every(ctx, statusRenewal, func() {
		if err := n.updateStatus(ctx); err != nil {
			klog.ErrorS(err, "The node's status was not renewed")
		}
	})
}

// every does something again and again until ctx ends, for the first time after one period.
func every(ctx context.Context, period time.Duration, do func()) {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			do()
		}
	}
}
