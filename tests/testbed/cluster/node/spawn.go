package node

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// The user and group `nobody`.
const nobody = 65534

// spawner starts every process of pods. A process is killed when its parent *thread* ends
// (PR_SET_PDEATHSIG), and Go ends threads as it likes; so one thread, which never ends, starts them all.
var spawner = func() chan<- func() {
	requests := make(chan func())
	go func() {
		runtime.LockOSThread()
		for request := range requests {
			request()
		}
	}()
	return requests
}()

// start is command.Start, in a session of its own, so that its end and the node's can be made known to all
// that it starts.
func start(command *exec.Cmd) error {
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{}
	}
	command.SysProcAttr.Setsid = true
	command.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started := make(chan error)
	spawner <- func() { started <- command.Start() }
	return <-started
}

// exitCode is what a shell calls the end of a process: its status, or 128 and the signal.
func exitCode(command *exec.Cmd) int {
	status, ok := command.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case !ok:
		return 255
	case status.Signaled():
		return 128 + int(status.Signal())
	default:
		return status.ExitStatus()
	}
}

// signalGroup signals a process and what it has started in its group. One that has ended is no error.
func signalGroup(pid int, signal syscall.Signal) {
	_ = syscall.Kill(-pid, signal)
}

// killSessions kills what is left of sessions that these processes lead or led: what they started may have
// made groups of their own. What made a session of its own is found by the marker in its environment.
func killSessions(marker string, leaders ...int) {
	wanted := map[int]bool{}
	for _, leader := range leaders {
		wanted[leader] = true
		signalGroup(leader, syscall.SIGKILL)
	}
	for {
		found := false
		processes, _ := filepath.Glob("/proc/[0-9]*")
		for _, folder := range processes {
			pid, err := strconv.Atoi(filepath.Base(folder))
			if err != nil {
				continue
			}
			session, alive := sessionOf(pid)
			if !alive || (!wanted[session] && !hasMarker(pid, marker)) {
				continue
			}
			if pid == os.Getpid() {
				continue
			}
			// A kill that is refused is not tried for ever.
			found = syscall.Kill(pid, syscall.SIGKILL) == nil || found
		}
		if !found {
			return
		}
	}
}

func sessionOf(pid int) (session int, alive bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	// After the name in parentheses: state, parent, group, session.
	_, rest, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')')+1:]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 4 || fields[0] == "Z" || fields[0] == "X" {
		return 0, false
	}
	session, err = strconv.Atoi(fields[3])
	return session, err == nil
}

func hasMarker(pid int, marker string) bool {
	// Nothing would be found in every environment.
	if marker == "" {
		return false
	}
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && strings.Contains("\x00"+string(environment)+"\x00", "\x00"+marker+"\x00")
}

var errNotFound = errors.New("executable file not found in $PATH")

// lookPath finds a program on the PATH of a container, not on the node's.
func lookPath(name, path string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, folder := range filepath.SplitList(path) {
		candidate := filepath.Join(folder, name)
		if info, err := os.Stat(candidate); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("exec: %q: %w", name, errNotFound)
}
