package node

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/creack/pty"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/utils/exec"
)

// streams is what exec, attach and port-forward of one request do in a container.
type streams struct {
	container *container
	process   *process
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// ExecInContainer runs a command beside the container's process and gives its status as an error.
func (s *streams) ExecInContainer(ctx context.Context, _ string, _ types.UID, _ string, words []string,
	in io.Reader, out, errors io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize, _ time.Duration,
) error {
	if tty {
		return s.container.execTerminal(s.process, words, in, out, resize)
	}
	return s.container.exec(ctx, s.process, words, in, out, errors)
}

// exec runs a command with pipes. Where ctx ends first, the command is killed.
func (c *container) exec(ctx context.Context, process *process, words []string, in io.Reader, out, errors io.WriteCloser) error {
	command, err := c.command(process.environment, words)
	if err != nil {
		return err
	}
	if in != nil {
		// A pipe and a copy of our own: of command.Stdin, Wait would wait for the copy, and so for a client
		// that says nothing more.
		pipe, err := command.StdinPipe()
		if err != nil {
			return err
		}
		go func() {
			_, _ = io.Copy(pipe, in)
			_ = pipe.Close()
		}()
	}
	// As interfaces: a nil of a type would not be nil.
	if out != nil {
		command.Stdout = out
	}
	if errors != nil {
		command.Stderr = errors
	}
	if err := process.startExec(command); err != nil {
		return err
	}
	pid := command.Process.Pid
	stop := context.AfterFunc(ctx, func() { killSessions("", pid) })
	defer stop()
	// With the end of the output, however long the client takes to read it.
	return process.waitExec(command)
}

func (c *container) execTerminal(process *process, words []string, in io.Reader, out io.Writer, resize <-chan remotecommand.TerminalSize) error {
	command, err := c.command(process.environment, words)
	if err != nil {
		return err
	}
	terminal, slave, err := pty.Open()
	if err != nil {
		return err
	}
	defer terminal.Close()
	useTerminal(command, slave)
	err = process.startExec(command)
	_ = slave.Close()
	if err != nil {
		return err
	}
	go follow(terminal, resize)
	if in != nil {
		go func() { _, _ = io.Copy(terminal, in) }()
	}
	copied := make(chan struct{})
	go func() {
		// It ends with an error when nobody has the terminal open any more.
		_, _ = io.Copy(out, terminal)
		close(copied)
	}()
	err = process.waitExec(command)
	select {
	case <-copied:
	case <-time.After(drain):
	}
	return err
}

// follow gives a terminal the size of the client's.
func follow(terminal *os.File, resize <-chan remotecommand.TerminalSize) {
	for size := range resize {
		_ = pty.Setsize(terminal, &pty.Winsize{Rows: size.Height, Cols: size.Width})
	}
}

// startExec starts a command that ends with the container's process.
func (p *process) startExec(command *exec.Cmd) error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	select {
	case <-p.ended:
		return fmt.Errorf("container not running")
	default:
	}
	if err := start(command); err != nil {
		return err
	}
	p.execs[command.Process.Pid] = true
	return nil
}

// waitExec gives nil for status 0, and an error that carries any other.
func (p *process) waitExec(command *exec.Cmd) error {
	_ = command.Wait()
	p.mutex.Lock()
	// What it has left behind ends with the container, by the marker.
	delete(p.execs, command.Process.Pid)
	p.mutex.Unlock()
	if code := exitCode(command); code != 0 {
		return utilexec.CodeExitError{Err: fmt.Errorf("exit status %d", code), Code: code}
	}
	return nil
}

// AttachContainer gives a client what the container's process writes from now on, and that what the client sends.
func (s *streams) AttachContainer(_ context.Context, _ string, _ types.UID, _ string,
	in io.Reader, out, errors io.WriteCloser, _ bool, resize <-chan remotecommand.TerminalSize,
) error {
	one := &attachment{}
	if out != nil {
		one.stdout = out
	}
	if errors != nil {
		one.stderr = errors
	}
	s.process.attached.add(one)
	defer s.process.attached.remove(one)
	if s.process.terminal != nil {
		go follow(s.process.terminal, resize)
	}
	if in != nil && s.process.stdin != nil {
		go func() {
			_, _ = io.Copy(s.process.stdin, in)
			// A terminal is not closed: it is the output too.
			if s.container.spec.StdinOnce && s.process.terminal == nil {
				_ = s.process.stdin.Close()
			}
		}()
	}
	<-s.process.ended
	return nil
}

// PortForward connects a stream with a port of the pod.
func (s *streams) PortForward(ctx context.Context, _ string, _ types.UID, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	var dialer net.Dialer
	number := strconv.Itoa(int(port))
	connection, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(s.container.pod.address, number))
	if err != nil {
		// A forwarded port is the pod's own localhost, where it may listen alone.
		connection, err = dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", number))
	}
	if err != nil {
		return fmt.Errorf("failed to connect to localhost:%d inside the pod: %w", port, err)
	}
	defer connection.Close()
	var copies sync.WaitGroup
	copies.Go(func() {
		_, _ = io.Copy(connection, stream)
		// The other direction may go on.
		_ = connection.(*net.TCPConn).CloseWrite()
	})
	_, err = io.Copy(stream, connection)
	_ = stream.Close()
	_ = connection.Close()
	copies.Wait()
	if err != nil && strings.Contains(err.Error(), "closed") {
		return nil
	}
	return err
}
