package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// probe runs a container's probes as long as the process runs: the startup probe first, then the others.
func (c *container) probe(process *process) {
	if startup := c.spec.StartupProbe; startup != nil {
		passed := false
		c.probeUntil(process, startup, func(healthy bool) bool {
			passed = healthy
			return true
		})
		if !passed {
			c.unhealthy(process, "startup")
			return
		}
		c.pod.change(func() {
			if c.process == process {
				c.started, c.ready = true, c.spec.ReadinessProbe == nil
			}
		})
	}
	if liveness := c.spec.LivenessProbe; liveness != nil {
		go c.probeUntil(process, liveness, func(healthy bool) bool {
			if !healthy {
				c.unhealthy(process, "liveness")
			}
			return !healthy
		})
	}
	if readiness := c.spec.ReadinessProbe; readiness != nil {
		c.probeUntil(process, readiness, func(healthy bool) bool {
			c.pod.change(func() {
				if c.process == process {
					c.ready = healthy
				}
			})
			return false
		})
	}
}

// probeUntil probes until `judge`, which is told each time that a threshold is reached, gives true.
func (c *container) probeUntil(process *process, probe *corev1.Probe, judge func(healthy bool) bool) {
	wait := time.Duration(probe.InitialDelaySeconds) * time.Second
	passed, missed := int32(0), int32(0)
	for {
		select {
		case <-process.ended:
			return
		case <-time.After(wait):
		}
		wait = time.Duration(max(probe.PeriodSeconds, 1)) * time.Second
		err := c.probeOnce(process, probe)
		if err == nil {
			passed, missed = passed+1, 0
		} else {
			passed, missed = 0, missed+1
			c.pod.event(corev1.EventTypeWarning, "Unhealthy", "Probe of container %s failed: %v", c.spec.Name, err)
		}
		if (passed >= max(probe.SuccessThreshold, 1) && judge(true)) || (missed >= max(probe.FailureThreshold, 1) && judge(false)) {
			return
		}
	}
}

// unhealthy ends a process that its probe has given up; it is started again after the pod's restart policy.
func (c *container) unhealthy(process *process, probe string) {
	select {
	case <-process.ended:
		return
	default:
	}
	c.pod.event(corev1.EventTypeNormal, "Killing", "Container %s failed %s probe, will be restarted", c.spec.Name, probe)
	_ = syscall.Kill(process.command.Process.Pid, syscall.SIGTERM)
	select {
	case <-process.ended:
	case <-time.After(graceOf(c.pod.object())):
		process.killRest(c.marker())
	}
}

func (c *container) probeOnce(process *process, probe *corev1.Probe) error {
	limit := time.Duration(max(probe.TimeoutSeconds, 1)) * time.Second
	switch {
	case probe.Exec != nil:
		return c.check(process, probe.Exec.Command, limit)
	case probe.TCPSocket != nil:
		address, err := c.dialAddress(probe.TCPSocket.Host, probe.TCPSocket.Port)
		if err != nil {
			return err
		}
		connection, err := net.DialTimeout("tcp", address, limit)
		if err != nil {
			return err
		}
		return connection.Close()
	case probe.HTTPGet != nil:
		return c.get(probe.HTTPGet, limit)
	default:
		return errors.New("this node knows no probe of the kind")
	}
}

// check runs a command in the container whose status says whether all is well.
func (c *container) check(process *process, words []string, limit time.Duration) error {
	var output strings.Builder
	ctx, stop := context.WithTimeout(context.Background(), limit)
	defer stop()
	err := c.exec(ctx, process, words, nil, nopCloser{&output}, nopCloser{&output})
	if ctx.Err() != nil {
		return fmt.Errorf("command timed out after %s", limit)
	}
	if err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(output.String()))
	}
	return nil
}

func (c *container) get(get *corev1.HTTPGetAction, limit time.Duration) error {
	address, err := c.dialAddress(get.Host, get.Port)
	if err != nil {
		return err
	}
	scheme := strings.ToLower(string(get.Scheme))
	if scheme == "" {
		scheme = "http"
	}
	request, err := http.NewRequest(http.MethodGet, scheme+"://"+address+"/"+strings.TrimPrefix(get.Path, "/"), nil)
	if err != nil {
		return err
	}
	for _, header := range get.HTTPHeaders {
		request.Header.Add(header.Name, header.Value)
	}
	client := http.Client{
		Timeout: limit,
		// A probe asks whether a server answers, not who it is.
		Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode < 200 || answer.StatusCode >= 400 {
		return fmt.Errorf("HTTP probe failed with statuscode: %d", answer.StatusCode)
	}
	return nil
}

// dialAddress is where a port of the container is, by its number or its name.
func (c *container) dialAddress(host string, port intstr.IntOrString) (string, error) {
	if host == "" {
		host = c.pod.address
	}
	number := port.IntValue()
	if port.Type == intstr.String && number == 0 {
		for _, named := range c.spec.Ports {
			if named.Name == port.StrVal {
				number = int(named.ContainerPort)
			}
		}
	}
	if number == 0 {
		return "", fmt.Errorf("container %s has no port %s", c.spec.Name, port.String())
	}
	return net.JoinHostPort(host, strconv.Itoa(number)), nil
}
