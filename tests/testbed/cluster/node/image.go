package node

import (
	_ "embed"
	"path/filepath"
	"regexp"
	"strings"
)

// The folders that every container has on its PATH.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// postgresEntrypoint is what an image of PostgreSQL runs when the pod names no command.
//
//go:embed postgres-entrypoint.sh
var postgresEntrypoint string

// postgresImage knows the images of PostgreSQL by their usual names, with or without a registry:
// postgres:16, postgres:16.4-alpine, docker.io/library/postgres:18, pgvector/pgvector:pg16.
var postgresImage = regexp.MustCompile(`(?:^|/)(?:postgres:|pgvector:(?:[0-9.]+-)?pg)(1[68])(?:$|[^0-9])`)

// image is what the name of an image is taken for.
type image struct {
	// The PATH of its containers.
	path string
	// What is run for a container without a command.
	entrypoint []string
	// Whether its server refuses to run as root, so that the entrypoint is run as nobody.
	notRoot bool
}

// imageOf gives false for an image that no registry has: those of the top-level domain that never is.
func imageOf(name, tools string) (image, bool) {
	if registry, _, found := strings.Cut(name, "/"); found && strings.HasSuffix(registry, ".invalid") {
		return image{}, false
	}
	if version := postgresImage.FindStringSubmatch(name); version != nil {
		programs := filepath.Join(tools, "postgres-"+version[1], "bin")
		return image{
			path:       programs + ":" + systemPath,
			entrypoint: []string{"/bin/sh", "-c", postgresEntrypoint, "postgres-entrypoint"},
			notRoot:    true,
		}, true
	}
	return image{path: systemPath, entrypoint: []string{"/bin/sh"}}, true
}
