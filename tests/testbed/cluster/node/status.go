package node

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
)

const retryReport = 200 * time.Millisecond

// report tells the API server how the pod is, one state after another and always the newest, until the pod's
// object is gone. It is the only one that does, so that no older state comes after a newer one.
func (p *pod) report() {
	ended := p.ended
	over := false
	for {
		select {
		case <-p.dirty:
		case <-ended:
			over, ended = true, nil
		}
		for !p.patch(over) {
			time.Sleep(retryReport)
		}
		if over && p.object().DeletionTimestamp != nil {
			p.node.deletePod(p.object())
			return
		}
	}
}

// patch reports the state of now. It gives false when it has to be tried again.
func (p *pod) patch(over bool) bool {
	object := p.object()
	patch, err := json.Marshal(map[string]any{
		// The API server refuses it for another pod of the name.
		"metadata": map[string]any{"uid": p.uid},
		"status":   p.status(over),
	})
	if err != nil {
		klog.ErrorS(err, "A status cannot be written", "pod", object.Name)
		return true
	}
	_, err = p.node.client.CoreV1().Pods(object.Namespace).Patch(context.Background(), object.Name,
		types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	switch {
	case err == nil, apierrors.IsNotFound(err), apierrors.IsConflict(err):
		return true
	case apierrors.IsInvalid(err):
		klog.ErrorS(err, "A status was refused", "pod", object.Name)
		return true
	default:
		return p.node.pods.find(object.Namespace, object.Name, "") == nil
	}
}

// deletePod removes the object of a pod of which nothing runs any more.
func (n *Node) deletePod(object *corev1.Pod) {
	for {
		err := n.client.CoreV1().Pods(object.Namespace).Delete(context.Background(), object.Name, metav1.DeleteOptions{
			GracePeriodSeconds: new(int64),
			Preconditions:      metav1.NewUIDPreconditions(string(object.UID)),
		})
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return
		}
		time.Sleep(retryReport)
	}
}

// status is that of now. `over`: no process runs and none will be.
func (p *pod) status(over bool) map[string]any {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	phase := p.phase(over)
	initialized, ready := p.initialized, phase == corev1.PodRunning
	statuses := func(containers []*container) []corev1.ContainerStatus {
		list := []corev1.ContainerStatus{}
		for _, c := range containers {
			list = append(list, c.status(p.initialized))
		}
		return list
	}
	for _, c := range p.containers {
		ready = ready && c.ready
	}
	reason := ""
	if !ready {
		reason = "ContainersNotReady"
	}
	if phase == corev1.PodSucceeded {
		reason = "PodCompleted"
	}
	conditions := []corev1.PodCondition{
		p.condition(corev1.PodScheduled, true, ""),
		p.condition(corev1.PodReadyToStartContainers, !over, ""),
		p.condition(corev1.PodInitialized, initialized, map[bool]string{false: "ContainersNotInitialized"}[initialized]),
		p.condition(corev1.ContainersReady, ready, reason),
		p.condition(corev1.PodReady, ready, reason),
	}
	// Those of others stay (why it was evicted, for example).
	for _, other := range p.current.Status.Conditions {
		if !slices.ContainsFunc(conditions, func(own corev1.PodCondition) bool { return own.Type == other.Type }) {
			conditions = append(conditions, other)
		}
	}
	status := map[string]any{
		"phase":             phase,
		"conditions":        conditions,
		"hostIP":            nodeIP,
		"hostIPs":           []corev1.HostIP{{IP: nodeIP}},
		"podIP":             p.address,
		"podIPs":            []corev1.PodIP{{IP: p.address}},
		"startTime":         metav1.NewTime(p.began),
		"containerStatuses": statuses(p.containers),
	}
	if len(p.inits) > 0 {
		status["initContainerStatuses"] = statuses(p.inits)
	}
	if p.failed != "" {
		status["reason"], status["message"] = p.failed, p.failedMessage
	}
	return status
}

// phase sums up the containers.
func (p *pod) phase(over bool) corev1.PodPhase {
	if over {
		for _, c := range append(slices.Clone(p.inits), p.containers...) {
			if c.state.Terminated == nil || c.state.Terminated.ExitCode != 0 {
				return corev1.PodFailed
			}
		}
		if p.failed != "" {
			return corev1.PodFailed
		}
		return corev1.PodSucceeded
	}
	for _, c := range p.containers {
		// One that was never started.
		if c.state.Waiting != nil && c.lastState.Terminated == nil {
			return corev1.PodPending
		}
	}
	return corev1.PodRunning
}

// condition keeps the moment of the last change.
func (p *pod) condition(kind corev1.PodConditionType, holds bool, reason string) corev1.PodCondition {
	status := corev1.ConditionFalse
	if holds {
		status = corev1.ConditionTrue
	}
	condition := corev1.PodCondition{Type: kind, Status: status, Reason: reason, LastTransitionTime: metav1.Now()}
	if before, known := p.conditionSince[kind]; known && before.Status == status {
		condition.LastTransitionTime = before.LastTransitionTime
	}
	p.conditionSince[kind] = condition
	return condition
}

func (c *container) status(initialized bool) corev1.ContainerStatus {
	state := c.state
	if waiting := state.Waiting; waiting != nil && waiting.Reason == "PodInitializing" && (initialized || len(c.pod.inits) == 0) {
		state = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}
	}
	started := c.started
	ready := c.ready
	if c.init {
		// An init container is ready when it has done its work.
		ready = state.Terminated != nil && state.Terminated.ExitCode == 0
	}
	return corev1.ContainerStatus{
		Name:                 c.spec.Name,
		State:                state,
		LastTerminationState: c.lastState,
		Ready:                ready,
		Started:              &started,
		RestartCount:         c.restarts,
		Image:                c.spec.Image,
		ImageID:              "rota://" + c.spec.Image,
		ContainerID:          c.id,
	}
}
