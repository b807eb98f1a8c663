package node

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// A line longer than this is written in pieces, as container runtimes do.
const longestRecord = 16 << 10

// log is the output of one process, a file of records `TIME STREAM TAG TEXT`, as container runtimes write it
// (tag P: the line goes on in the next record of the stream).
type log struct {
	path  string
	mutex sync.Mutex
	file  *os.File
	size  int64
	ended bool
	// Closed and replaced with each change.
	changed chan struct{}
}

func newLog(path string) (*log, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &log{path: path, file: file, changed: make(chan struct{})}, nil
}

// write adds records that are complete.
func (l *log) write(records []byte) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.ended {
		return
	}
	// A full disk loses lines of the log, and does not stop the container.
	written, _ := l.file.Write(records)
	l.size += int64(written)
	close(l.changed)
	l.changed = make(chan struct{})
}

// end is the end of the process: those who follow get what there is and end too.
func (l *log) end() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if !l.ended {
		l.ended = true
		_ = l.file.Close()
		close(l.changed)
	}
}

func (l *log) state() (size int64, ended bool, changed <-chan struct{}) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.size, l.ended, l.changed
}

// pump reads a stream of the process to its end, into the log and to those who are attached.
func (l *log) pump(stream string, from io.Reader, attached *attached) {
	reader := bufio.NewReaderSize(from, 64<<10)
	var records, line []byte
	record := func(tag byte) {
		records = fmt.Appendf(records, "%s %s %c ", time.Now().UTC().Format(time.RFC3339Nano), stream, tag)
		records = append(append(records, line...), '\n')
		line = line[:0]
	}
	for {
		// What has come is handed on at once.
		_, err := reader.Peek(1)
		chunk, _ := reader.Peek(reader.Buffered())
		attached.write(stream, chunk)
		for rest := chunk; len(rest) > 0; {
			piece := rest
			newline := bytes.IndexByte(rest, '\n')
			if newline >= 0 {
				piece = rest[:newline]
			}
			piece = piece[:min(len(piece), longestRecord-len(line))]
			line = append(line, piece...)
			rest = rest[len(piece):]
			switch {
			case newline == len(piece):
				rest = rest[1:]
				record('F')
			case len(line) == longestRecord:
				record('P')
			}
		}
		_, _ = reader.Discard(len(chunk))
		if err != nil && len(line) > 0 {
			record('P')
		}
		if len(records) > 0 {
			l.write(records)
			records = records[:0]
		}
		if err != nil {
			return
		}
	}
}

// logOptions are what a reader of a log asks for.
type logOptions struct {
	follow, timestamps bool
	// -1: all.
	tail, limit int64
	since       time.Time
	// Empty: both.
	stream string
}

// copyTo writes what a reader asks for, and with follow what comes, until the process ends.
func (l *log) copyTo(ctx context.Context, to io.Writer, flush func(), options logOptions) error {
	file, err := os.Open(l.path)
	if err != nil {
		return err
	}
	defer file.Close()
	out := bufio.NewWriterSize(&limited{to, options.limit}, 64<<10)
	var offset, skip int64
	if options.tail >= 0 {
		size, _, _ := l.state()
		total := int64(0)
		if err := records(io.NewSectionReader(file, 0, size), options, func(_, _ string, full bool) error {
			if full {
				total++
			}
			return nil
		}); err != nil {
			return err
		}
		skip = total - options.tail
	}
	begin := true
	for {
		size, ended, changed := l.state()
		if err := records(io.NewSectionReader(file, offset, size-offset), options, func(moment, text string, full bool) error {
			if skip > 0 {
				if full {
					skip--
				}
				return nil
			}
			if options.timestamps && begin {
				text = moment + " " + text
			}
			begin = full
			if full {
				text += "\n"
			}
			_, err := out.WriteString(text)
			return err
		}); err != nil {
			return ignoreLimit(err)
		}
		offset = size
		if err := out.Flush(); err != nil {
			return ignoreLimit(err)
		}
		flush()
		if ended || !options.follow {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// records calls `each` for every record that the options do not leave out.
func records(from io.Reader, options logOptions, each func(moment, text string, full bool) error) error {
	reader := bufio.NewReaderSize(from, 64<<10)
	for {
		line, err := reader.ReadString('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)
		if len(fields) < 4 || (options.stream != "" && fields[1] != options.stream) {
			continue
		}
		if !options.since.IsZero() {
			moment, err := time.Parse(time.RFC3339Nano, fields[0])
			if err != nil || moment.Before(options.since) {
				continue
			}
		}
		if err := each(fields[0], fields[3], fields[2] == "F"); err != nil {
			return err
		}
	}
}

// limited takes so many bytes (-1: any number), then fails with errLimit.
type limited struct {
	to   io.Writer
	left int64
}

var errLimit = fmt.Errorf("the limit of bytes is reached")

func (l *limited) Write(bytes []byte) (int, error) {
	if l.left < 0 {
		return l.to.Write(bytes)
	}
	part := bytes[:min(int64(len(bytes)), l.left)]
	written, err := l.to.Write(part)
	l.left -= int64(written)
	if err == nil && written < len(bytes) {
		err = errLimit
	}
	return written, err
}

func ignoreLimit(err error) error {
	if err == errLimit {
		return nil
	}
	return err
}

// last is the end of the log, for a container's termination message: 80 lines and 2048 bytes at most.
func (l *log) last() string {
	var text strings.Builder
	_ = l.copyTo(context.Background(), &text, func() {}, logOptions{tail: 80, limit: -1})
	return text.String()[max(0, text.Len()-2048):]
}

// attached are those who see a container's output as it comes.
type attached struct {
	mutex sync.Mutex
	to    map[*attachment]bool
}

type attachment struct{ stdout, stderr io.Writer }

func (a *attached) add(one *attachment) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if a.to == nil {
		a.to = map[*attachment]bool{}
	}
	a.to[one] = true
}

func (a *attached) remove(one *attachment) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	delete(a.to, one)
}

func (a *attached) write(stream string, chunk []byte) {
	if len(chunk) == 0 {
		return
	}
	a.mutex.Lock()
	defer a.mutex.Unlock()
	for one := range a.to {
		to := one.stdout
		if stream == "stderr" {
			to = one.stderr
		}
		if to == nil {
			continue
		}
		if _, err := to.Write(chunk); err != nil {
			delete(a.to, one)
		}
	}
}
