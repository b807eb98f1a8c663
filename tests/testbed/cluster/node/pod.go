package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
)

const (
	// A container that ends is started again at once the first time, then after 10 s, 20 s ... 5 min; one
	// that had run for 10 min has a clean record. As the kubelet has it.
	firstBackOff = 10 * time.Second
	longBackOff  = 5 * time.Minute
	cleanRecord  = 10 * time.Minute
	// How often something is tried that has failed for a reason outside the pod (a secret that is missing).
	retryStart = time.Second
)

// pod is a pod of this node from when it is first seen to when its object is gone.
type pod struct {
	node    *Node
	uid     types.UID
	folder  string
	address string
	began   time.Time

	// Ends when the pod is to end: no container is started any more.
	stopping context.Context
	stop     context.CancelFunc
	// Whether processes that are started nevertheless are to be killed at once.
	killed atomic.Bool
	// Closed when no process is left and none will be.
	ended chan struct{}
	// Holds one element when there is something to report.
	dirty chan struct{}

	mutex          sync.Mutex
	current        *corev1.Pod
	inits          []*container
	containers     []*container
	conditionSince map[corev1.PodConditionType]corev1.PodCondition
	// The shortest time that its end was given, once it has to end.
	grace *time.Duration
	// Why the pod as a whole has failed, where it is not its containers' doing.
	failed, failedMessage string
	initialized           bool
}

func newPod(node *Node, object *corev1.Pod) *pod {
	p := &pod{
		node:           node,
		uid:            object.UID,
		folder:         filepath.Join(node.Folder, "pods", string(object.UID)),
		address:        nodeIP,
		began:          time.Now(),
		ended:          make(chan struct{}),
		dirty:          make(chan struct{}, 1),
		current:        object,
		conditionSince: map[corev1.PodConditionType]corev1.PodCondition{},
	}
	p.stopping, p.stop = context.WithCancel(context.Background())
	list := func(specs []corev1.Container, init bool) []*container {
		var all []*container
		for i := range specs {
			all = append(all, &container{
				pod:    p,
				spec:   &specs[i],
				init:   init,
				folder: filepath.Join(p.folder, specs[i].Name),
				state:  corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "PodInitializing"}},
			})
		}
		return all
	}
	p.inits = list(object.Spec.InitContainers, true)
	p.containers = list(object.Spec.Containers, false)
	return p
}

// object is the pod as the API server has it, as far as is known.
func (p *pod) object() *corev1.Pod {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.current
}

// change changes what is guarded by the mutex, and has it reported.
func (p *pod) change(do func()) {
	p.mutex.Lock()
	do()
	p.mutex.Unlock()
	select {
	case p.dirty <- struct{}{}:
	default:
	}
}

func (p *pod) event(kind, reason, format string, values ...any) {
	p.node.events.Eventf(p.object(), kind, reason, format, values...)
}

// run is the pod's life: its init containers one after another, then the others together.
func (p *pod) run() {
	go p.report()
	defer close(p.ended)
	if !p.prepare() {
		return
	}
	for _, c := range p.inits {
		if !p.live(c) {
			return
		}
	}
	p.change(func() { p.initialized = true })
	var living sync.WaitGroup
	for _, c := range p.containers {
		living.Go(func() { p.live(c) })
	}
	living.Wait()
}

// prepare gives the pod what it needs, and refuses one that cannot be what it asks for.
func (p *pod) prepare() bool {
	refuse := func(reason, message string) bool {
		p.event(corev1.EventTypeWarning, reason, "%s", message)
		p.change(func() { p.failed, p.failedMessage = reason, message })
		return false
	}
	spec := p.object().Spec
	for _, c := range spec.InitContainers {
		if c.RestartPolicy != nil {
			return refuse("Unsupported", "this node runs no sidecars (init containers with a restart policy)")
		}
	}
	if !spec.HostNetwork {
		address, err := p.node.network.take()
		if err != nil {
			return refuse("OutOfAddresses", err.Error())
		}
		p.address = address
	}
	if err := os.MkdirAll(p.folder, 0o755); err != nil {
		return refuse("OutOfDisk", err.Error())
	}
	if seconds := spec.ActiveDeadlineSeconds; seconds != nil {
		timer := time.AfterFunc(time.Duration(*seconds)*time.Second, func() {
			p.change(func() {
				p.failed, p.failedMessage = "DeadlineExceeded", "Pod was active on the node longer than the specified deadline"
			})
			p.end(graceOf(p.object()))
		})
		context.AfterFunc(p.stopping, func() { timer.Stop() })
	}
	p.change(func() {})
	return true
}

// live starts a container again and again, as the pod's restart policy says. It gives true when the container
// has done what it is for.
func (p *pod) live(c *container) bool {
	policy := p.object().Spec.RestartPolicy
	backOff := time.Duration(0)
	for p.stopping.Err() == nil {
		process, err := c.begin(p.stopping)
		var wait *waiting
		if errors.As(err, &wait) {
			state := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: wait.reason, Message: wait.message}}
			never := wait.final && policy == corev1.RestartPolicyNever
			if never {
				state = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
					ExitCode: 128, Reason: "StartError", Message: wait.message,
				}}
			}
			p.change(func() { c.state = state })
			if never {
				return false
			}
			p.sleep(retryStart)
			continue
		}
		p.change(func() {})
		if p.stopping.Err() != nil {
			// Whoever ended the pod may have looked before there was a process.
			go c.finish(graceOf(p.object()))
			if p.killed.Load() {
				process.killRest(c.marker())
			}
		}
		go c.probe(process)
		<-process.ended
		state := c.terminated(process)
		p.change(func() {
			c.state = corev1.ContainerState{Terminated: state}
			c.ready, c.started, c.process = false, false, nil
		})
		done := state.ExitCode == 0
		if policy == corev1.RestartPolicyNever || (done && (c.init || policy == corev1.RestartPolicyOnFailure)) {
			return done
		}
		if time.Since(process.began) > cleanRecord {
			backOff = 0
		}
		p.pause(c, backOff)
		backOff = min(max(2*backOff, firstBackOff), longBackOff)
	}
	return false
}

// pause is the wait before a container's next start, which does not come when the pod is to end.
func (p *pod) pause(c *container, backOff time.Duration) {
	state := c.state
	if backOff > 0 && p.stopping.Err() == nil {
		name := p.object().Name
		p.event(corev1.EventTypeWarning, "BackOff", "Back-off restarting failed container %s in pod %s", c.spec.Name, name)
		p.change(func() {
			c.lastState = state
			c.state = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{
				Reason:  "CrashLoopBackOff",
				Message: fmt.Sprintf("back-off %s restarting failed container=%s pod=%s", backOff, c.spec.Name, name),
			}}
		})
		p.sleep(backOff)
	}
	p.change(func() {
		if p.stopping.Err() != nil {
			// What it was is what it stays.
			c.state = state
			return
		}
		c.lastState = state
		c.restarts++
	})
}

// sleep waits, or less when the pod is to end.
func (p *pod) sleep(long time.Duration) {
	timer := time.NewTimer(long)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.stopping.Done():
	}
}

// end ends the pod's processes: SIGTERM, and SIGKILL when the grace is over. It returns at once. Called
// again it can make the grace shorter, not longer.
func (p *pod) end(grace time.Duration) {
	p.mutex.Lock()
	first := p.grace == nil
	if !first && grace >= *p.grace {
		p.mutex.Unlock()
		return
	}
	p.grace = &grace
	p.mutex.Unlock()
	p.stop()
	if first {
		for _, c := range p.all() {
			go c.finish(grace)
		}
	}
	time.AfterFunc(grace, p.kill)
}

// finish asks a container's process to end, after its preStop command.
func (c *container) finish(grace time.Duration) {
	process := c.running()
	if process == nil {
		return
	}
	c.pod.event(corev1.EventTypeNormal, "Killing", "Stopping container %s", c.spec.Name)
	if hooks := c.spec.Lifecycle; hooks != nil && hooks.PreStop != nil && hooks.PreStop.Exec != nil {
		if err := c.check(process, hooks.PreStop.Exec.Command, grace); err != nil {
			c.pod.event(corev1.EventTypeWarning, "FailedPreStopHook", "PreStopHook failed: %v", err)
		}
	}
	// The process alone is asked: it may want to end its own children in an order of its own.
	_ = syscall.Kill(process.command.Process.Pid, syscall.SIGTERM)
}

// kill ends the pod's processes now.
func (p *pod) kill() {
	p.stop()
	p.killed.Store(true)
	for _, c := range p.all() {
		if process := c.running(); process != nil {
			process.killRest(c.marker())
		}
	}
}

func (p *pod) all() []*container {
	return append(append([]*container(nil), p.inits...), p.containers...)
}

// running is the container's process, or nil.
func (c *container) running() *process {
	c.pod.mutex.Lock()
	defer c.pod.mutex.Unlock()
	return c.process
}

// forget removes what the pod leaves on the machine.
func (p *pod) forget() {
	p.kill()
	<-p.ended
	if p.address != nodeIP {
		p.node.network.giveBack(p.address)
	}
	removeSegments(p.folder)
	if err := os.RemoveAll(p.folder); err != nil {
		klog.ErrorS(err, "The folder of a pod was not removed", "pod", p.uid)
	}
}

func graceOf(object *corev1.Pod) time.Duration {
	seconds := int64(30)
	if object.DeletionGracePeriodSeconds != nil {
		seconds = *object.DeletionGracePeriodSeconds
	} else if object.Spec.TerminationGracePeriodSeconds != nil {
		seconds = *object.Spec.TerminationGracePeriodSeconds
	}
	return time.Duration(seconds) * time.Second
}
