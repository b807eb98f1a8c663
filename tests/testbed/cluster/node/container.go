package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/klog/v2"
)

// How long what a process has written is waited for after its end, when something that it has started and
// that could not be killed still holds its output.
const drain = 5 * time.Second

// container is one container of a pod, over all its restarts.
type container struct {
	pod    *pod
	spec   *corev1.Container
	init   bool
	folder string

	// Guarded by the pod's mutex.
	state, lastState corev1.ContainerState
	id               string
	ready, started   bool
	restarts         int32
	process          *process
	log, previousLog *log
}

// process is one run of a container.
type process struct {
	command *exec.Cmd
	// What exec needs to run beside it.
	environment *environment
	began       time.Time
	// Closed when it has ended and all its output is in the log.
	ended    chan struct{}
	attached attached
	stdin    io.WriteCloser
	terminal *os.File

	mutex sync.Mutex
	// The processes of execs, which end with it.
	execs map[int]bool
}

// marker is in the environment of the container's processes. By its beginning those who clear up after the
// node find all processes of all its containers.
func (c *container) marker() string { return "ROTA_CONTAINER=" + c.folder }

// waiting is why a container cannot be started now.
type waiting struct {
	reason, message string
	// Whether it is worth trying again.
	final bool
}

func (w *waiting) Error() string { return w.reason + ": " + w.message }

// begin starts the container's command. An error is a *waiting.
func (c *container) begin(ctx context.Context) (*process, error) {
	image, found := imageOf(c.spec.Image, c.pod.node.Tools)
	if !found {
		message := fmt.Sprintf("failed to pull image %q: no such host", c.spec.Image)
		c.pod.event(corev1.EventTypeWarning, "Failed", "Failed to pull image: %s", message)
		return nil, &waiting{reason: "ImagePullBackOff", message: message}
	}
	if err := c.makeFolder(image); err != nil {
		return nil, &waiting{reason: "CreateContainerError", message: err.Error()}
	}
	environment, err := c.environment(ctx, image)
	if err != nil {
		c.pod.event(corev1.EventTypeWarning, "Failed", "Error: %v", err)
		return nil, &waiting{reason: "CreateContainerConfigError", message: err.Error()}
	}
	var words []string
	for _, word := range slices.Concat(c.spec.Command, c.spec.Args) {
		words = append(words, environment.expand(word))
	}
	if len(c.spec.Command) == 0 {
		words = slices.Concat(image.entrypoint, words)
	}
	log, err := newLog(filepath.Join(c.folder+".logs", strconv.Itoa(int(c.restarts))+".log"))
	if err != nil {
		return nil, &waiting{reason: "CreateContainerError", message: err.Error()}
	}
	process := &process{environment: environment, ended: make(chan struct{}), execs: map[int]bool{}}
	if err := c.run(process, log, words); err != nil {
		log.end()
		c.pod.event(corev1.EventTypeWarning, "Failed", "Error: %v", err)
		return nil, &waiting{reason: "RunContainerError", message: err.Error(), final: true}
	}
	c.pod.event(corev1.EventTypeNormal, "Started", "Started container %s", c.spec.Name)

	c.pod.mutex.Lock()
	defer c.pod.mutex.Unlock()
	if c.previousLog != nil {
		_ = os.Remove(c.previousLog.path)
	}
	c.previousLog, c.log = c.log, log
	c.process = process
	c.id = "rota://" + string(uuid.NewUUID())
	c.started = c.spec.StartupProbe == nil
	c.ready = c.started && c.spec.ReadinessProbe == nil
	c.state = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(process.began)}}
	return process, nil
}

// run starts the process with its output going to the log.
func (c *container) run(process *process, log *log, words []string) error {
	command, err := c.command(process.environment, words)
	if err != nil {
		return err
	}
	process.command = command
	var ours, theirs []*os.File
	streams := map[string]*os.File{}
	defer func() {
		for _, file := range theirs {
			_ = file.Close()
		}
	}()
	if c.spec.TTY {
		terminal, slave, err := pty.Open()
		if err != nil {
			return err
		}
		ours, theirs = append(ours, terminal), append(theirs, slave)
		useTerminal(command, slave)
		process.terminal, process.stdin = terminal, terminal
		streams["stdout"] = terminal
	} else {
		for _, stream := range []string{"stdout", "stderr"} {
			reader, writer, err := os.Pipe()
			if err != nil {
				return err
			}
			ours, theirs = append(ours, reader), append(theirs, writer)
			streams[stream] = reader
		}
		command.Stdout, command.Stderr = theirs[0], theirs[1]
		if c.spec.Stdin {
			reader, writer, err := os.Pipe()
			if err != nil {
				return err
			}
			ours, theirs = append(ours, writer), append(theirs, reader)
			command.Stdin, process.stdin = reader, writer
		}
	}
	process.began = time.Now()
	if err := start(command); err != nil {
		for _, file := range ours {
			_ = file.Close()
		}
		return err
	}
	var pumps sync.WaitGroup
	for stream, reader := range streams {
		pumps.Go(func() { log.pump(stream, reader, &process.attached) })
	}
	go func() {
		_ = command.Wait()
		// The container ends with its first process, whatever that has left behind.
		process.killRest(c.marker())
		done := make(chan struct{})
		go func() {
			pumps.Wait()
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(drain):
			klog.InfoS("The output of a container is still held", "container", c.marker())
		}
		for _, file := range ours {
			_ = file.Close()
		}
		log.end()
		close(process.ended)
	}()
	return nil
}

// command is a process of the container that is not started yet, with the container's user, folder and
// environment.
func (c *container) command(environment *environment, words []string) (*exec.Cmd, error) {
	if len(words) == 0 {
		return nil, errors.New("no command specified")
	}
	program, err := lookPath(words[0], environment.values["PATH"])
	if err != nil {
		return nil, err
	}
	command := exec.Command(program)
	command.Args = words
	command.Env = environment.list()
	command.Dir = c.folder
	if c.spec.WorkingDir != "" {
		command.Dir = c.spec.WorkingDir
	}
	command.SysProcAttr = &syscall.SysProcAttr{}
	image, _ := imageOf(c.spec.Image, c.pod.node.Tools)
	if os.Geteuid() == 0 && c.unprivileged(image) {
		command.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return command, nil
}

// unprivileged says whether the container is run as nobody when the node is root. Whichever user the pod asks
// for, it is nobody: a number would be some person of this machine.
func (c *container) unprivileged(image image) bool {
	user, notRoot := (*int64)(nil), (*bool)(nil)
	if context := c.pod.object().Spec.SecurityContext; context != nil {
		user, notRoot = context.RunAsUser, context.RunAsNonRoot
	}
	if context := c.spec.SecurityContext; context != nil {
		if context.RunAsUser != nil {
			user = context.RunAsUser
		}
		if context.RunAsNonRoot != nil {
			notRoot = context.RunAsNonRoot
		}
	}
	if user != nil {
		return *user != 0
	}
	return isTrue(notRoot) || (image.notRoot && len(c.spec.Command) == 0)
}

// makeFolder makes the container's own folder, which stays over its restarts, and beside it that of its logs.
func (c *container) makeFolder(image image) error {
	if err := os.MkdirAll(c.folder, 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll(c.folder+".logs", 0o755); err != nil {
		return err
	}
	if os.Geteuid() == 0 && c.unprivileged(image) {
		return os.Chown(c.folder, nobody, nobody)
	}
	return nil
}

// terminated is the state of a process that has ended.
func (c *container) terminated(process *process) *corev1.ContainerStateTerminated {
	state := &corev1.ContainerStateTerminated{
		ExitCode:    int32(exitCode(process.command)),
		Reason:      "Completed",
		StartedAt:   metav1.NewTime(process.began),
		FinishedAt:  metav1.Now(),
		ContainerID: c.id,
	}
	if state.ExitCode != 0 {
		state.Reason = "Error"
		if c.spec.TerminationMessagePolicy == corev1.TerminationMessageFallbackToLogsOnError {
			state.Message = c.log.last()
		}
	}
	return state
}

// killRest kills what the process has left behind, and its execs.
func (p *process) killRest(marker string) {
	leaders := []int{p.command.Process.Pid}
	p.mutex.Lock()
	for pid := range p.execs {
		leaders = append(leaders, pid)
	}
	p.mutex.Unlock()
	killSessions(marker, leaders...)
}

// useTerminal makes a terminal the command's own.
func useTerminal(command *exec.Cmd, slave *os.File) {
	command.Stdin, command.Stdout, command.Stderr = slave, slave, slave
	command.SysProcAttr.Setctty = true
	command.Env = append(command.Env, "TERM=xterm")
}
