package node

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/pkg/api/v1/resource"
	"k8s.io/kubernetes/pkg/fieldpath"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

// environment keeps variables in the order in which they were set.
type environment struct {
	names  []string
	values map[string]string
}

func (e *environment) set(name, value string) {
	if _, known := e.values[name]; !known {
		e.names = append(e.names, name)
	}
	e.values[name] = value
}

func (e *environment) expand(text string) string {
	return expansion.Expand(text, expansion.MappingFuncFor(e.values))
}

func (e *environment) list() []string {
	list := make([]string, 0, len(e.names))
	for _, name := range e.names {
		list = append(list, name+"="+e.values[name])
	}
	return list
}

// sources reads the objects that variables come from, each once for one start of a container.
type sources struct {
	ctx        context.Context
	node       *Node
	namespace  string
	secrets    map[string]map[string]string
	configMaps map[string]map[string]string
}

func (s *sources) secret(name string) (map[string]string, error) {
	if data, known := s.secrets[name]; known {
		return data, nil
	}
	object, err := s.node.client.CoreV1().Secrets(s.namespace).Get(s.ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	data := map[string]string{}
	for key, value := range object.Data {
		data[key] = string(value)
	}
	s.secrets[name] = data
	return data, nil
}

func (s *sources) configMap(name string) (map[string]string, error) {
	if data, known := s.configMaps[name]; known {
		return data, nil
	}
	object, err := s.node.client.CoreV1().ConfigMaps(s.namespace).Get(s.ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	s.configMaps[name] = object.Data
	return object.Data, nil
}

// environment is what a container's processes get: what every container has, then `envFrom`, then `env`.
func (c *container) environment(ctx context.Context, image image) (*environment, error) {
	pod, node := c.pod.object(), c.pod.node
	e := &environment{values: map[string]string{}}
	e.set("PATH", image.path)
	e.set("HOME", c.folder)
	e.set("TMPDIR", c.folder)
	e.set("HOSTNAME", pod.Name)
	// For the node's own scripts.
	e.set("ROTA_POD_IP", c.pod.address)
	// By it processes are found that left their session.
	marker, value, _ := strings.Cut(c.marker(), "=")
	e.set(marker, value)
	if server, err := url.Parse(node.config.Host); err == nil {
		// Not the Service's address, which nothing forwards.
		e.set("KUBERNETES_SERVICE_HOST", server.Hostname())
		e.set("KUBERNETES_SERVICE_PORT", server.Port())
	}
	s := &sources{ctx, node, pod.Namespace, map[string]map[string]string{}, map[string]map[string]string{}}
	for _, from := range c.spec.EnvFrom {
		data, err := s.all(from)
		if err != nil {
			return nil, err
		}
		keys := make([]string, 0, len(data))
		for key := range data {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		for _, key := range keys {
			e.set(from.Prefix+key, data[key])
		}
	}
	for _, variable := range c.spec.Env {
		if variable.ValueFrom == nil {
			e.set(variable.Name, e.expand(variable.Value))
			continue
		}
		value, found, err := s.one(c, pod, variable.ValueFrom)
		if err != nil {
			return nil, err
		}
		if found {
			e.set(variable.Name, value)
		}
	}
	return e, nil
}

// all gives the data of an `envFrom`, none of an optional object that is not there.
func (s *sources) all(from corev1.EnvFromSource) (map[string]string, error) {
	var data map[string]string
	var err error
	var optional *bool
	switch {
	case from.SecretRef != nil:
		data, err = s.secret(from.SecretRef.Name)
		optional = from.SecretRef.Optional
	case from.ConfigMapRef != nil:
		data, err = s.configMap(from.ConfigMapRef.Name)
		optional = from.ConfigMapRef.Optional
	}
	if apierrors.IsNotFound(err) && isTrue(optional) {
		return nil, nil
	}
	return data, err
}

// one gives the value of a `valueFrom`; false for an optional one that is not there.
func (s *sources) one(c *container, pod *corev1.Pod, from *corev1.EnvVarSource) (string, bool, error) {
	key := func(kind, object, key string, optional *bool, data map[string]string, err error) (string, bool, error) {
		if apierrors.IsNotFound(err) && isTrue(optional) {
			return "", false, nil
		}
		if err != nil {
			return "", false, err
		}
		value, found := data[key]
		if !found && !isTrue(optional) {
			return "", false, fmt.Errorf("couldn't find key %s in %s %s/%s", key, kind, s.namespace, object)
		}
		return value, found, nil
	}
	switch {
	case from.SecretKeyRef != nil:
		data, err := s.secret(from.SecretKeyRef.Name)
		return key("Secret", from.SecretKeyRef.Name, from.SecretKeyRef.Key, from.SecretKeyRef.Optional, data, err)
	case from.ConfigMapKeyRef != nil:
		data, err := s.configMap(from.ConfigMapKeyRef.Name)
		return key("ConfigMap", from.ConfigMapKeyRef.Name, from.ConfigMapKeyRef.Key, from.ConfigMapKeyRef.Optional, data, err)
	case from.FieldRef != nil:
		value, err := c.field(pod, from.FieldRef.FieldPath)
		return value, true, err
	case from.ResourceFieldRef != nil:
		value, err := resource.ExtractContainerResourceValue(from.ResourceFieldRef, c.spec)
		return value, true, err
	default:
		return "", false, fmt.Errorf("a variable's source is of a kind that this node does not know")
	}
}

// field is a field of the pod, some of which the object that the node has does not hold yet.
func (c *container) field(pod *corev1.Pod, path string) (string, error) {
	switch path {
	case "status.podIP", "status.podIPs":
		return c.pod.address, nil
	case "status.hostIP", "status.hostIPs":
		return nodeIP, nil
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	default:
		return fieldpath.ExtractFieldPathAsString(pod, path)
	}
}

func isTrue(flag *bool) bool { return flag != nil && *flag }
