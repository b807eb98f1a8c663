package node

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	remotecommandconsts "k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/kubelet/pkg/cri/streaming/portforward"
	"k8s.io/kubelet/pkg/cri/streaming/remotecommand"
)

const (
	// A client that neither sends nor receives for so long is cut off.
	streamIdle = 4 * time.Hour
	// How long the streams of a request may take to come.
	streamCreation = 30 * time.Second
)

// The versions of the protocol of exec and attach that the streaming package speaks. Not those that the
// client names in its header: they say what it would like.
var execProtocols = remotecommandconsts.SupportedStreamingProtocols

// listen opens the port that the API server calls for logs, exec, attach and port-forward. Only who has the
// cluster's certificate is heard: exec as root is not for everybody on this machine.
func (n *Node) listen() (func() error, error) {
	certificate, err := tls.LoadX509KeyPair(filepath.Join(n.Keys, "server.crt"), filepath.Join(n.Keys, "server.key"))
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(n.Keys, "ca.crt"))
	if err != nil {
		return nil, err
	}
	authority := x509.NewCertPool()
	authority.AppendCertsFromPEM(text)
	listener, err := net.Listen("tcp", net.JoinHostPort(nodeIP, strconv.Itoa(n.Port)))
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", n.serveLogs)
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", n.serveExec)
	mux.HandleFunc("/attach/{namespace}/{pod}/{container}", n.serveAttach)
	mux.HandleFunc("/portForward/{namespace}/{pod}", n.servePortForward)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	server := &http.Server{
		Handler: mux,
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{certificate},
			ClientCAs:    authority,
			ClientAuth:   tls.RequireAndVerifyClientCert,
			// Exec takes over the connection, which HTTP/2 does not allow.
			NextProtos: []string{"http/1.1"},
		},
		ErrorLog: stdlog.New(io.Discard, "", 0),
	}
	return func() error { return server.ServeTLS(listener, "", "") }, nil
}

// lookUp finds the container of a request, or answers that there is none.
func (n *Node) lookUp(w http.ResponseWriter, r *http.Request) *container {
	c := n.pods.find(r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container"))
	if c == nil {
		http.Error(w, fmt.Sprintf("container %s not found in pod %s/%s", r.PathValue("container"), r.PathValue("namespace"), r.PathValue("pod")), http.StatusNotFound)
	}
	return c
}

// lookUpRunning finds the container and its process.
func (n *Node) lookUpRunning(w http.ResponseWriter, r *http.Request) *streams {
	c := n.lookUp(w, r)
	if c == nil {
		return nil
	}
	process := c.running()
	if process == nil {
		http.Error(w, fmt.Sprintf("container %s is not running", c.spec.Name), http.StatusInternalServerError)
		return nil
	}
	return &streams{container: c, process: process}
}

func (n *Node) serveExec(w http.ResponseWriter, r *http.Request) {
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if s := n.lookUpRunning(w, r); s != nil {
		remotecommand.ServeExec(w, r, s, r.PathValue("pod"), s.container.pod.uid, s.container.spec.Name,
			r.URL.Query()["command"], options, streamIdle, streamCreation, execProtocols)
	}
}

func (n *Node) serveAttach(w http.ResponseWriter, r *http.Request) {
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if s := n.lookUpRunning(w, r); s != nil {
		remotecommand.ServeAttach(w, r, s, r.PathValue("pod"), s.container.pod.uid, s.container.spec.Name,
			options, streamIdle, streamCreation, execProtocols)
	}
}

func (n *Node) servePortForward(w http.ResponseWriter, r *http.Request) {
	options, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if s := n.lookUpRunning(w, r); s != nil {
		portforward.ServePortForward(w, r, s, r.PathValue("pod"), s.container.pod.uid, options,
			streamIdle, streamCreation, portforward.SupportedProtocols)
	}
}

func (n *Node) serveLogs(w http.ResponseWriter, r *http.Request) {
	c := n.lookUp(w, r)
	if c == nil {
		return
	}
	query := r.URL.Query()
	options := logOptions{
		follow:     query.Get("follow") == "true",
		timestamps: query.Get("timestamps") == "true",
		tail:       -1,
		limit:      -1,
		stream:     map[string]string{"Stdout": "stdout", "Stderr": "stderr"}[query.Get("stream")],
	}
	if text := query.Get("sinceTime"); text != "" {
		options.since, _ = time.Parse(time.RFC3339, text)
	}
	for name, set := range map[string]func(int64){
		"tailLines":    func(number int64) { options.tail = number },
		"limitBytes":   func(number int64) { options.limit = number },
		"sinceSeconds": func(number int64) { options.since = time.Now().Add(-time.Duration(number) * time.Second) },
	} {
		if text := query.Get(name); text != "" {
			number, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				http.Error(w, fmt.Sprintf("%s is no number: %q", name, text), http.StatusBadRequest)
				return
			}
			set(number)
		}
	}
	c.pod.mutex.Lock()
	log := c.log
	if query.Get("previous") == "true" {
		log = c.previousLog
	}
	status := c.status(c.pod.initialized)
	c.pod.mutex.Unlock()
	if log == nil {
		why := fmt.Sprintf("previous terminated container %q in pod %q not found", c.spec.Name, r.PathValue("pod"))
		if waiting := status.State.Waiting; waiting != nil && query.Get("previous") != "true" {
			why = fmt.Sprintf("container %q in pod %q is waiting to start: %s", c.spec.Name, r.PathValue("pod"), waiting.Reason)
		}
		http.Error(w, why, http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	flush := func() {}
	if flusher, ok := w.(http.Flusher); ok {
		flush = flusher.Flush
	}
	// A client that has gone needs no answer.
	_ = log.copyTo(r.Context(), w, flush, options)
}
