package node

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// What was missed is seen again this often.
const resync = 5 * time.Second

// pods are those of this node.
type pods struct {
	node  *Node
	mutex sync.Mutex
	all   map[types.UID]*pod
}

func newPods(node *Node) *pods { return &pods{node: node, all: map[types.UID]*pod{}} }

// watch follows the pods that are bound to this node, until ctx ends.
func (p *pods) watch(ctx context.Context) {
	factory := informers.NewSharedInformerFactoryWithOptions(p.node.client, resync,
		informers.WithTweakListOptions(func(options *metav1.ListOptions) {
			options.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", p.node.Name).String()
		}))
	informer := factory.Core().V1().Pods().Informer()
	// An error means that the informer was stopped.
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { p.see(object.(*corev1.Pod)) },
		UpdateFunc: func(_, object any) { p.see(object.(*corev1.Pod)) },
		DeleteFunc: func(object any) {
			if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = unknown.Obj
			}
			if pod, ok := object.(*corev1.Pod); ok {
				p.gone(pod.UID)
			}
		},
	})
	factory.Start(ctx.Done())
}

// see takes note of a pod as it is now.
func (p *pods) see(object *corev1.Pod) {
	p.mutex.Lock()
	pod, known := p.all[object.UID]
	over := object.Status.Phase == corev1.PodSucceeded || object.Status.Phase == corev1.PodFailed
	if !known && !over {
		pod = newPod(p.node, object)
		p.all[object.UID] = pod
	}
	p.mutex.Unlock()
	switch {
	case pod == nil:
		if object.DeletionTimestamp != nil {
			go p.node.deletePod(object)
		}
		return
	case known:
		pod.mutex.Lock()
		pod.current = object
		pod.mutex.Unlock()
	default:
		p.node.events.Eventf(object, corev1.EventTypeNormal, "Scheduling", "Pod is on node %s", p.node.Name)
		go pod.run()
	}
	if object.DeletionTimestamp != nil {
		pod.end(graceOf(object))
		// Where it has ended already, only its object is left to go.
		pod.change(func() {})
	}
}

// gone ends a pod whose object is no more, by a delete that did not wait for the node, too.
func (p *pods) gone(uid types.UID) {
	p.mutex.Lock()
	pod := p.all[uid]
	delete(p.all, uid)
	p.mutex.Unlock()
	if pod != nil {
		go pod.forget()
	}
}

// find gives a container of a pod by its names; that of the only one may be left out.
func (p *pods) find(namespace, name, container string) *container {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for _, pod := range p.all {
		if object := pod.object(); object.Namespace != namespace || object.Name != name {
			continue
		}
		for _, c := range pod.all() {
			if c.spec.Name == container || (container == "" && !c.init) {
				return c
			}
		}
	}
	return nil
}

func (p *pods) killAll() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for _, pod := range p.all {
		pod.kill()
		removeSegments(pod.folder)
	}
}

// removeSegments removes the memory by which a PostgreSQL keeps others off its data, which stays after a SIGKILL:
// the seventh line of a postmaster.pid names it.
func removeSegments(folder string) {
	files, _ := filepath.Glob(filepath.Join(folder, "*", "*", "postmaster.pid"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		lines := strings.Split(string(text), "\n")
		if err != nil || len(lines) < 7 {
			continue
		}
		if words := strings.Fields(lines[6]); len(words) == 2 {
			if id, err := strconv.Atoi(words[1]); err == nil {
				_, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil)
			}
		}
	}
}
